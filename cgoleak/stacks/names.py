"""Function and module names without what a compiler or a rebuild adds to them."""

from __future__ import annotations

import re
from functools import lru_cache

from cgoleak.model.frames import Frame, Language

__all__ = ["plain_function", "plain_module"]

# gcc: foo.part.0, foo.cold, foo.constprop.3, foo.isra.0, foo.lto_priv.0; clang: foo.llvm.123;
# c++filt writes them as foo() [clone .part.0].
# The alternatives exclude each other, so that a hostile name costs no backtracking.
_C_CLONE = re.compile(
    r"(?: \[clone [^\]]*\]"
    r"|\.(?:part|cold|constprop|isra|lto_priv|llvm|localalias|clone)(?![^. ])|\.\d+)+$"
)
_C_VERSION = re.compile(r"@@?[A-Z][\w.]*$")  # malloc@@GLIBC_2.2.5
_C_INTERNAL = re.compile(r"^__(?:GI|libc)_")  # glibc's own names for what it exports
_OFFSET = re.compile(r"\+0x[0-9a-f]+$")
# cmd/compile numbers closures in order of appearance: f.func1, f.func1.2, f.gowrap1, f-range2.
_GO_CLOSURE = re.compile(r"(?:\.func|\.gowrap|\.deferwrap|-range)\d+(?:\.\d+)*")
_LONGEST = 4096
"""Names beyond this are left as they are: no compiler writes them, and searching takes long."""
_SHARED = re.compile(r"\.so(?:\.\d+)+$")


@lru_cache(maxsize=65536)
def plain_function(frame: Frame) -> str:
    """Give the function's name such that moving code about or building anew does not change it.

    A place without a symbol keeps its ``module+0x1234``: there is nothing else to know it by.
    """
    name = frame.function
    if len(name) > _LONGEST:
        return name
    if frame.lang in (Language.GO, Language.RUNTIME):
        name = _GO_CLOSURE.sub(".func", _without_type_arguments(name))
        return name.removesuffix("-fm").removesuffix(".abi0")
    if frame.module is None or not name.startswith(f"{frame.module}+0x"):
        name = _OFFSET.sub("", name)
    name = _C_VERSION.sub("", _C_CLONE.sub("", name))
    return _C_INTERNAL.sub("", name) or frame.function


@lru_cache(maxsize=4096)
def plain_module(module: str | None) -> str:
    """Give ``libpng16.so`` for ``libpng16.so.16.37.0``; an update of the library stays the same."""
    if module is None or len(module) > _LONGEST:
        return module or ""
    return _SHARED.sub(".so", module.removesuffix(" (deleted)"))


def _without_type_arguments(name: str) -> str:
    """``main.Map[go.shape.int,go.shape.[]uint8]`` → ``main.Map[...]``; brackets may be nested."""
    start, end = name.find("["), name.rfind("]")
    return f"{name[:start]}[...]{name[end + 1 :]}" if 0 <= start < end else name
