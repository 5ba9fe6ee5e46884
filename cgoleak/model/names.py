"""Function and module names without what a compiler or a rebuild adds to them."""

from __future__ import annotations

import re
from functools import lru_cache

from cgoleak.model.frames import Frame, Language

__all__ = ["brief_name", "plain_function", "plain_module", "readable_name", "short_name"]

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
_LONG_NAME = 60
_STD_VERSION = re.compile(r"\bstd::__(?:cxx11|1|ndk1)::")
"""Inline namespaces of libstdc++ and of libc++ (clang's, Android's): no program writes them."""
_STD_STRING = re.compile(
    r"std::basic_(string|string_view)<(char|wchar_t)(?:, std::char_traits<\2 ?>)?"
    r"(?:, std::allocator<\2 ?>)? ?>"
)
_STD_ALLOCATOR = re.compile(r"<((?:[^<>]|<[^<>]{0,200}>){1,200}), std::allocator<\1 ?> ?>")
_GO_MAJOR = re.compile(r"v\d+\.")
"""Last element of a module's path from its second major version on: ``example.org/x/v2.Do``."""


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
    if name.isidentifier() and not name.startswith("__"):
        return name  # as most names of C are: nothing was appended
    if frame.module is None or not name.startswith(f"{frame.module}+0x"):
        name = _OFFSET.sub("", name)
    name = _C_VERSION.sub("", _C_CLONE.sub("", name))
    return _C_INTERNAL.sub("", name) or frame.function


@lru_cache(maxsize=32768)
def readable_name(frame: Frame) -> str:
    """Return a function's name as its source has it: ``std::string``, and no default allocators.

    A demangler writes out what typedefs and default arguments stand for. For people only: formats
    that other tools read, and suppressions, keep the name as the symbol has it.
    """
    name = frame.function
    if "std::" not in name or len(name) > _LONGEST or frame.lang is Language.GO:
        return name
    name = _STD_STRING.sub(_typedef, _STD_VERSION.sub("std::", name))
    while (shorter := _STD_ALLOCATOR.sub(r"<\1>", name)) != name:
        name = shorter  # from the inside out: vectors of vectors
    return name


def _typedef(found: re.Match[str]) -> str:
    """Name ``basic_string`` and ``basic_string_view`` of a type of character as C++ does."""
    return f"std::{'w' if found[2] == 'wchar_t' else ''}{found[1]}"


def short_name(frame: Frame) -> str:
    """Return a function's name; of a long one in C++ neither parameters nor template arguments."""
    name = frame.function
    if frame.lang is Language.GO or len(name) <= _LONG_NAME or "::" not in name:
        return name
    kept: list[str] = []
    depth = 0
    for sign in name.replace("(anonymous namespace)", "{anonymous}").replace("operator()", "call"):
        if sign in ")>":
            depth -= 1
        if depth <= 0:
            kept.append(sign)
        if sign in "(<":
            kept += "…" if depth == 0 else ""
            depth += 1
    return "".join(kept)


def brief_name(frame: Frame) -> str:
    """Return a function's name as people say it: ``png.Encode``, without the path of the package.

    Beside a file and a line nobody needs the whole path of a Go package; a table that is searched
    or compared does.
    """
    if frame.lang is not Language.GO:
        return short_name(frame)
    path, bracket, arguments = frame.function.partition("[")
    head, slash, name = path.rpartition("/")
    if _GO_MAJOR.match(name):
        name = f"{head.rpartition('/')[2]}{slash}{name}"
    return f"{name}{bracket}{arguments}"


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
