from __future__ import annotations

import pytest

from cgoleak.model.frames import Language
from cgoleak.symbols.language import language_of_c, language_of_go


@pytest.mark.parametrize(
    ("function", "lang"),
    [
        ("main.main.func1", Language.GO),
        ("example.com/runtime.Run", Language.GO),
        ("main.(*runtimeBox).fill", Language.GO),
        ("type:.eq.main.box", Language.GO),
        ("main._Cfunc_alg_run", Language.BRIDGE),
        ("example.com/img/png._Cfunc__CMalloc", Language.BRIDGE),
        ("main._cgo_cmalloc", Language.BRIDGE),
        ("_cgoexp_e1bc12ae01dc_goCallback", Language.BRIDGE),
        ("crosscall2", Language.BRIDGE),
        ("runtime.cgocall", Language.RUNTIME),
        ("runtime/cgo.Handle.Value", Language.RUNTIME),
        ("internal/runtime/maps.(*Map).Iter", Language.RUNTIME),
    ],
)
def test_go_code_cgo_plumbing_and_the_runtime_are_told_apart(function: str, lang: Language) -> None:
    assert language_of_go(function) is lang


@pytest.mark.parametrize(
    ("function", "file", "lang"),
    [
        ("alg_run", "/src/alg.c", Language.C),
        ("_ZN3alg3addEPKci", None, Language.CPP),
        ("_cgo_901a61a976e7_Cfunc_alg_run", "/tmp/go-build/cgo-gcc-prolog", Language.BRIDGE),
        ("x_cgo_thread_start", None, Language.BRIDGE),
        ("goCallback", "/tmp/go-build/_cgo_export.c", Language.BRIDGE),
        ("my_cgo_helper", None, Language.C),
    ],
)
def test_c_cpp_and_cgo_plumbing_are_told_apart(
    function: str, file: str | None, lang: Language
) -> None:
    assert language_of_c(function, file, is_cpp=False, is_export=False) is lang


def test_what_the_debug_information_or_go_says_counts_more_than_the_name() -> None:
    assert language_of_c("plain", "/src/x.cc", is_cpp=True, is_export=False) is Language.CPP
    assert language_of_c("goCallback", None, is_cpp=False, is_export=True) is Language.BRIDGE
