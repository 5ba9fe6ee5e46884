from __future__ import annotations

import string

import pytest

from cgoleak.symbols import demangle as module
from cgoleak.symbols.demangle import demangle


def a_bomb(levels: int) -> str:
    """A name whose every level is a pair of the level before: 2 ** levels long when spelled out."""
    digits = string.digits + string.ascii_uppercase
    name, previous = "_Z1f1AIiiE", "S0_"
    for level in range(1, levels):
        name += f"S_I{previous}{previous}E"
        previous = f"S{digits[level // 36] if level >= 36 else ''}{digits[level % 36]}_"
    return name


@pytest.fixture
def _with_a_cpp_runtime() -> None:
    if demangle("_Z1fv") == "_Z1fv":
        pytest.skip("this machine has no C++ runtime")


@pytest.mark.usefixtures("_with_a_cpp_runtime")
@pytest.mark.parametrize(
    ("mangled", "name"),
    [
        ("_ZN3alg3addEPKci", "alg::add(char const*, int)"),
        ("_Znwm", "operator new(unsigned long)"),
        (
            "_ZNSt6vectorIiSaIiEE9push_backERKi",
            "std::vector<int, std::allocator<int> >::push_back(int const&)",
        ),
        ("_ZZN3alg3runEvENKUlvE_clEv", "alg::run()::{lambda()#1}::operator()() const"),
        ("_ZN12_GLOBAL__N_15weighEv", "(anonymous namespace)::weigh()"),
    ],
)
def test_cpp_names_read_as_people_write_them(mangled: str, name: str) -> None:
    assert demangle(mangled) == name


@pytest.mark.parametrize(
    "name", ["malloc", "main.deep", "_Z", "_Znonsense!", "_ZN", "", "_Zé", "_Z1\0f"]
)
def test_names_that_are_not_mangled_stay(name: str) -> None:
    assert demangle(name) == name


def test_a_name_of_a_megabyte_stays() -> None:
    name = "_Z1f" + "i" * (1 << 20)

    assert demangle(name) == name


@pytest.mark.usefixtures("_with_a_cpp_runtime")
def test_a_name_that_stands_for_gigabytes_stays() -> None:
    assert demangle(a_bomb(3)) != a_bomb(3)
    assert demangle(a_bomb(36)) == a_bomb(36)


def test_without_a_cpp_runtime_names_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LIBRARIES", ("libdoesnotexist.so.0",))
    module._translator.cache_clear()
    demangle.cache_clear()
    try:
        assert demangle("_Z1gv") == "_Z1gv"
    finally:
        monkeypatch.undo()
        module._translator.cache_clear()
        demangle.cache_clear()
