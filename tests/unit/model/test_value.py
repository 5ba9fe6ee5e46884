"""Values are those of the standard library's dataclasses, whoever made their class."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from dataclasses import field
from typing import Any

import pytest

from cgoleak.model import value


class _Body:
    """What both classes are made of."""

    name: str
    size: int = 3
    parts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("negative")

    @property
    def double(self) -> int:
        return 2 * self.size


def _class(make: Any) -> Any:
    names = ("__annotations__", "name", "size", "parts", "__post_init__", "double", "__doc__")
    members = {name: vars(_Body)[name] for name in names if name in vars(_Body)}
    return make(frozen=True, slots=True)(type("Made", (), members))


_OURS = _class(value.dataclass)
_STANDARD = _class(dataclasses.dataclass)


@pytest.mark.parametrize("arguments", [("a",), ("a", 5), ("a", 5, {"b": 1})])
def test_a_value_shows_and_has_what_the_standard_one_has(arguments: tuple[object, ...]) -> None:
    ours, standard = _OURS(*arguments), _STANDARD(*arguments)
    assert repr(ours) == repr(standard)
    assert dataclasses.asdict(ours) == dataclasses.asdict(standard)
    assert ours.double == standard.double


def test_its_parameters_are_those_of_the_standard_one() -> None:
    ours, standard = (inspect.signature(one).parameters for one in (_OURS, _STANDARD))
    assert list(ours) == list(standard)
    assert ours["size"].default == standard["size"].default == 3
    with pytest.raises(TypeError, match="name"):
        _OURS()
    assert _OURS.__match_args__ == _STANDARD.__match_args__
    assert not hasattr(_OURS("a"), "__dict__")


def test_what_a_factory_makes_is_each_value_s_own() -> None:
    assert _OURS("a").parts is not _OURS("a").parts


def test_equal_values_are_equal_and_hash_alike() -> None:
    parts = ("x",)
    assert _OURS("a", 5, parts) == _OURS("a", 5, parts)
    assert hash(_OURS("a", 5, parts)) == hash(_OURS("a", 5, parts))
    assert _OURS("a") != _OURS("b")
    assert _OURS("a") != _STANDARD("a")


@pytest.mark.parametrize("name", ["size", "other"])
def test_nothing_of_a_value_can_be_changed(name: str) -> None:
    one = _OURS("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(one, name, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(one, name)
    assert one == _OURS("a")


def test_replace_and_copies_make_values_anew() -> None:
    one = _OURS("a", 5, {"b": 1})
    assert dataclasses.replace(one, size=6) == _OURS("a", 6, {"b": 1})
    assert copy.copy(one) == copy.deepcopy(one) == one
    with pytest.raises(ValueError, match="negative"):
        dataclasses.replace(one, size=-1)


def test_values_without_slots_or_that_change_are_not_made_here() -> None:
    with pytest.raises(TypeError, match="frozen"):
        value.dataclass(frozen=False, slots=True)
