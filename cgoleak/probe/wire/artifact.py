"""The compiled probe: its bytes for the target, its symbols, and its scanner for ourselves."""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cgoleak.errors import ProbeError, ProtocolMismatch
from cgoleak.probe.wire.layout import MAGIC, VERSION, Ages, Header, Row
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.target.kernel.mounts import is_noexec

__all__ = ["Artifact", "load_artifact"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One build of ``probes/``.

    Attributes:
        path: the shared object, as Frida takes it.
        build: number that differs whenever source or flags do.
        header_vaddr: where ``struct cg_header`` lies in the image.
        library: the same object loaded here, for its scanner.
    """

    path: Path
    build: int
    header_vaddr: int
    library: ctypes.CDLL


@cache
def load_artifact(path: Path | None = None) -> Artifact:
    """Load the probe that was built with this package.

    Raises:
        ProbeError: it is missing: the package was not built; or it lies where nothing may be run.
        ProtocolMismatch: it was built from another version of the wire layout.
    """
    found = path or Path(__file__).resolve().parents[2] / "_probes" / f"{platform.machine()}.so"
    try:
        library = ctypes.CDLL(str(found))
    except OSError as exc:
        if is_noexec(found):
            raise ProbeError(
                "the probe cannot be loaded",
                cause=f"{found} lies on a file system that is mounted noexec ({exc})",
                fix="install cgoleak on another, or: mount -o remount,exec its mount point",
            ) from exc
        raise ProbeError(
            "the probe is not built",
            cause=str(exc),
            fix="install cgoleak with a C compiler present (make install in a checkout)",
        ) from exc
    symbol = ObjectFile.open(found).symbol("cgoleak_header_at")
    if symbol is None:
        raise ProbeError("the probe is damaged", cause=f"{found} lacks its header symbol")
    header = Header.in_dll(library, "cgoleak_header_at")
    if header.magic != MAGIC or header.version != VERSION:
        raise ProtocolMismatch(
            "the probe and cgoleak are of different versions",
            cause=f"wire layout {header.version} in {found}, {VERSION} here",
            fix="install again: make install",
        )
    for rows in (library.cgoleak_sum_rows, library.cgoleak_weighted_rows):
        rows.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Row), ctypes.c_uint32)
        rows.restype = ctypes.c_uint32
    library.cgoleak_scan_blocks.argtypes = (
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.POINTER(Ages),
        ctypes.c_uint32,
        ctypes.c_uint64,
    )
    library.cgoleak_scan_blocks.restype = ctypes.c_uint64
    return Artifact(found, header.build, symbol[0], library)
