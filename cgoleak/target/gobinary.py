"""What the target's ELF files say: Go or not, with C or not, which libc.

/proc/PID/exe and the mapped files → facts. Files are opened through the process's own links and
root, so that a target in a container, or one whose file was replaced, is read and not its
namesake. Foreign bytes: whatever a file holds, the answer is a fact, None or a CgoleakError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from cgoleak.errors import NoSuchProcess, NotPermitted, SymbolError
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.symbols.go.buildinfo import read_build_info
from cgoleak.target.kernel.procfs import PROC, exe_path, process_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cgoleak.target.kernel.procfs import Region

__all__ = ["GoBinary", "Libc", "contains", "find_libc", "godebug_of", "read_binary"]

_MACHINES: Final = {3: "386", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64"}
"""``e_machine`` → Go's name for it (``GOARCH``)."""

_MAX_LIBC: Final = 16 << 20
_MAX_SCAN: Final = 1 << 30
_CHUNK: Final = 1 << 20

_CGO_MARKS: Final = (b"runtime/cgo.", b"_Cfunc_")
"""Function names that only a program linked with cgo has; pclntab keeps them when stripped."""

_GO_SECTIONS: Final = frozenset({".go.buildinfo", ".gopclntab", ".note.go.buildid"})

_GLIBC_FILE: Final = re.compile(r"libc(?:-2\.\d+)?\.so(?:\.6)?$")
_MUSL_FILE: Final = re.compile(r"(?:ld-musl-[\w-]+\.so\.1|libc\.musl-[\w-]+\.so\.1)$")
_GLIBC_VERSION: Final = re.compile(rb"GNU C Library [^\0]{0,200}?version (\d+\.\d+(?:\.\d+)?)")
_MUSL_VERSION: Final = re.compile(rb"\0(\d\.\d{1,2}\.\d{1,2}(?:-git-[\w-]{1,40})?)\0")
_MUSL_SIGN: Final = b"musl libc ("


@dataclass(frozen=True, slots=True)
class GoBinary:
    """The executable of a process.

    Attributes:
        path: in the target's own root; the empty string for a kernel thread.
        arch: Go's name of the machine, such as ``amd64``; None if it is not ELF or not known.
        bits: 32 or 64; None if it is not ELF.
        position_independent: linked as a PIE.
        interpreter: the dynamic loader (PT_INTERP), or None for a static program.
        stripped: has no ``.symtab``.
        has_dwarf: has debug sections.
        is_go: carries Go build information or a Go section.
        go_version: such as ``go1.24.3``, or None where the build information is missing or old.
        settings: build settings, such as ``CGO_ENABLED`` → ``1``.
        uses_cgo: the linked program contains cgo code, whatever ``CGO_ENABLED`` says.
    """

    path: str
    arch: str | None = None
    bits: int | None = None
    position_independent: bool = False
    interpreter: str | None = None
    stripped: bool = True
    has_dwarf: bool = False
    is_go: bool = False
    go_version: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    uses_cgo: bool = False


@dataclass(frozen=True, slots=True)
class Libc:
    """The C library mapped in the target; ``kind`` is ``glibc`` or ``musl``."""

    kind: str
    version: str | None
    path: str

    def __str__(self) -> str:
        """Give the words of a report: ``glibc 2.39``."""
        return f"{self.kind} {self.version}" if self.version else self.kind


def read_binary(pid: int, root: Path = PROC) -> GoBinary:
    """Read the executable of a process.

    Raises:
        NoSuchProcess: the process is gone.
        NotPermitted: the process is another user's and we may not look.
    """
    path = exe_path(pid, root)
    if path is None:
        return GoBinary(path="")
    try:
        return _parse(path, root / str(pid) / "exe")
    except PermissionError as error:
        raise NotPermitted(f"cannot read the executable of process {pid}") from error
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NoSuchProcess(f"process {pid} ended while it was looked at") from error
    except OSError:
        return GoBinary(path=path)


def godebug_of(pid: int, binary: GoBinary, root: Path = PROC) -> str:
    """Give the settings of Go's runtime: ``//go:debug`` lines first, then GODEBUG, which wins.

    Changes that the program makes to its own environment are not seen.
    """
    built_in = binary.settings.get("DefaultGODEBUG", "")
    try:
        variables = process_file(pid, "environ", root).split(b"\0")
    except (NoSuchProcess, NotPermitted):
        variables = []
    prefix = b"GODEBUG="
    found = next((one for one in variables if one.startswith(prefix)), prefix)
    given = found.removeprefix(prefix).decode("utf-8", "replace")
    return ",".join(part for part in (built_in, given) if part)


def find_libc(pid: int, regions: Iterable[Region], root: Path = PROC) -> Libc | None:
    """Find the C library among the mapped files; None without one.

    musl's library and loader are one file, glibc's two; Bionic and others are not served. The
    version is None if the file cannot be read or was replaced since.
    """
    for path in _executable_files(regions):
        base = path.rpartition("/")[2]
        if _MUSL_FILE.search(base):
            return Libc("musl", _version_in(pid, path, root, _MUSL_VERSION), path)
        if _GLIBC_FILE.fullmatch(base):
            content = _library_bytes(pid, path, root)
            if _MUSL_SIGN in content:
                return Libc("musl", _first_group(_MUSL_VERSION, content), path)
            return Libc("glibc", _first_group(_GLIBC_VERSION, content), path)
    return _static_libc(pid, root)


_STATIC_LIBC: Final = (("glibc", "__libc_setup_tls"), ("musl", "__init_tp"))
"""A function that is in every static program with it: csu/libc-tls.c, and src/env/__init_tls.c."""


def _static_libc(pid: int, root: Path) -> Libc | None:
    """Find the C library within a program that has no loader; None if it has no symbols."""
    exe = root / str(pid) / "exe"
    try:
        obj = ObjectFile.open(exe)
    except SymbolError:
        return None
    path = exe_path(pid, root)
    if not obj.is_static_program or path is None:
        return None
    for kind, function in _STATIC_LIBC:
        if obj.symbols.find(function) is not None:
            return Libc(kind, None, path)
    return None


def _executable_files(regions: Iterable[Region]) -> tuple[str, ...]:
    """List each mapped file with code once, in order of address."""
    found = {region.path: None for region in regions if region.is_file and region.executable}
    return tuple(found)


def _version_in(pid: int, path: str, root: Path, pattern: re.Pattern[bytes]) -> str | None:
    return _first_group(pattern, _library_bytes(pid, path, root))


def _library_bytes(pid: int, path: str, root: Path) -> bytes:
    """Read a mapped library through the target's root; empty if that fails."""
    try:
        with (root / str(pid) / "root" / path.lstrip("/")).open("rb") as file:
            return file.read(_MAX_LIBC)
    except OSError:
        return b""


def _first_group(pattern: re.Pattern[bytes], content: bytes) -> str | None:
    match = pattern.search(content)
    return match[1].decode("ascii") if match else None


def _parse(path: str, exe: Path) -> GoBinary:
    """Read headers, section names and the build information; a torn file gives fewer facts."""
    with exe.open("rb") as file:
        ident = file.read(20)
    if len(ident) < 20 or ident[:4] != b"\x7fELF" or ident[4] not in (1, 2):
        return GoBinary(path=path)
    order: Literal["little", "big"] = "big" if ident[5] == 2 else "little"
    bits = 32 * ident[4]
    arch = _MACHINES.get(int.from_bytes(ident[18:20], order))
    try:
        obj = ObjectFile.open(exe)
    except SymbolError:
        # Of another architecture, or damaged: that is all that can be said, and all that matters.
        return GoBinary(path=path, arch=arch, bits=bits)
    info = read_build_info(obj)
    is_go = info is not None or not _GO_SECTIONS.isdisjoint(obj.sections)
    return GoBinary(
        path=path,
        arch=arch,
        bits=bits,
        position_independent=obj.is_pie,
        interpreter=obj.interpreter,
        stripped=obj.is_stripped,
        has_dwarf=".debug_info" in obj.sections or ".zdebug_info" in obj.sections,
        is_go=is_go,
        go_version=info.go_version if info else None,
        settings=info.settings if info else {},
        uses_cgo=is_go and contains(exe, _CGO_MARKS),
    )


def contains(path: Path, needles: tuple[bytes, ...]) -> bool:
    """Tell if a file holds one of some byte strings, 1 GiB at most; it may raise OSError.

    Each piece begins with the end of the one before. It decides whether a program has cgo:
    ``CGO_ENABLED`` in the build information tells only that cgo was allowed, and the symbols of
    cgo are gone from a stripped program, so that names in pclntab decide.
    """
    overlap = max(map(len, needles)) - 1
    before = b""
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            if any(needle in before + piece for needle in needles):
                return True
            before = piece[-overlap:]
            if file.tell() > _MAX_SCAN:
                break
    return False
