"""What kind of code a function is, by its name and file.

Go's own names are those of ``cmd/cgo`` (``out.go``, ``main.go``) and ``runtime/cgo``; the export
wrapper is the C function that ``//export`` makes, in ``_cgo_export.c``, under the exported name.
"""

from __future__ import annotations

import re
from typing import Final

from cgoleak.model.frames import Language

__all__ = ["language_of_c", "language_of_go"]

_GO_BRIDGE: Final = re.compile(
    r"(?:^|[./])_C(?:func|macro)_|(?:^|\.)_cgo_cmalloc$|^_?cgoexp_|^crosscall2|^_cgo_"
)
_GO_RUNTIME: Final = re.compile(r"^(?:internal/)?runtime[./]")
_C_BRIDGE: Final = re.compile(r"^_cgo_|^x_cgo_|^_cgoexp_|^crosscall(?:1|2|_amd64)$|^threadentry$")
_EXPORT_FILE: Final = "_cgo_export.c"


def language_of_go(function: str) -> Language:
    """Tell Go code from cgo's plumbing and from the runtime."""
    if _GO_BRIDGE.search(function):
        return Language.BRIDGE
    return Language.RUNTIME if _GO_RUNTIME.match(function) else Language.GO


def language_of_c(function: str, file: str | None, *, is_cpp: bool, is_export: bool) -> Language:
    """Tell C, C++ and cgo's plumbing apart; ``function`` is the linker's name."""
    in_export_file = file is not None and file.endswith(_EXPORT_FILE)
    if _C_BRIDGE.match(function) or is_export or in_export_file:
        return Language.BRIDGE
    return Language.CPP if is_cpp or function.startswith("_Z") else Language.C
