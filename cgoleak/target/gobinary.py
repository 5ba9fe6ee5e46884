"""What the target's ELF files say: Go or not, with C or not, which libc, which allocator.

/proc/PID/exe and the mapped files → facts. Files are opened through the process's own links and
root, so that a target in a container, or one whose file was replaced, is read and not its
namesake. Foreign bytes: whatever a file holds, the answer is a fact, None or a CgoleakError.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from cgoleak.errors import NoSuchProcess, NotPermitted
from cgoleak.target.procfs import PROC, exe_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

    from cgoleak.target.procfs import Region

__all__ = ["GoBinary", "Libc", "find_allocator", "find_libc", "read_binary"]

_MACHINES: Final = {3: "386", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64"}
"""``e_machine`` → Go's name for it (``GOARCH``)."""

_PT_LOAD: Final = 1
_PT_INTERP: Final = 3
_ET_DYN: Final = 3
_MAX_HEADERS: Final = 4096
_MAX_BUILD_INFO: Final = 1 << 20
_MAX_LIBC: Final = 16 << 20
_MAX_SCAN: Final = 1 << 30
_CHUNK: Final = 1 << 20

_BUILD_INFO_MAGIC: Final = b"\xff Go buildinf:"
"""Start of the record that ``debug/buildinfo`` looks for; 16-byte aligned."""

_CGO_MARKS: Final = (b"runtime/cgo.", b"_Cfunc_")
"""Function names that only a program linked with cgo has; pclntab keeps them when stripped."""

_GO_SECTIONS: Final = frozenset({".go.buildinfo", ".gopclntab", ".note.go.buildid"})

_GLIBC_FILE: Final = re.compile(r"libc(?:-2\.\d+)?\.so(?:\.6)?$")
_MUSL_FILE: Final = re.compile(r"(?:ld-musl-[\w-]+\.so\.1|libc\.musl-[\w-]+\.so\.1)$")
_GLIBC_VERSION: Final = re.compile(rb"GNU C Library [^\0]{0,200}?version (\d+\.\d+(?:\.\d+)?)")
_MUSL_VERSION: Final = re.compile(rb"\0(\d\.\d{1,2}\.\d{1,2}(?:-git-[\w-]{1,40})?)\0")
_MUSL_SIGN: Final = b"musl libc ("

_ALLOCATORS: Final = (
    ("jemalloc", re.compile(r"libjemalloc[\w.-]*\.so")),
    ("tcmalloc", re.compile(r"libtcmalloc[\w.-]*\.so")),
    ("mimalloc", re.compile(r"libmimalloc[\w.-]*\.so")),
    ("snmalloc", re.compile(r"libsnmalloc[\w.-]*\.so")),
)


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
        with _Bytes(root / str(pid) / "exe") as exe:
            return _parse(path, exe)
    except PermissionError as error:
        raise NotPermitted(f"cannot read the executable of process {pid}") from error
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NoSuchProcess(f"process {pid} ended while it was looked at") from error
    except OSError:
        return GoBinary(path=path)


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
    return None


def find_allocator(regions: Iterable[Region], libc: Libc | None) -> str | None:
    """Name the malloc in use, as far as file names tell: a preloaded one hides libc's."""
    for path in _executable_files(regions):
        base = path.rpartition("/")[2]
        for name, pattern in _ALLOCATORS:
            if pattern.match(base):
                return name
    return libc.kind if libc else None


def _executable_files(regions: Iterable[Region]) -> tuple[str, ...]:
    """List each mapped file with code once, in order of address."""
    found = {region.path: None for region in regions if region.is_file and region.executable}
    return tuple(found)


def _version_in(pid: int, path: str, root: Path, pattern: re.Pattern[bytes]) -> str | None:
    return _first_group(pattern, _library_bytes(pid, path, root))


def _library_bytes(pid: int, path: str, root: Path) -> bytes:
    """Read a mapped library through the target's root; empty if that fails."""
    try:
        with _Bytes(root / str(pid) / "root" / path.lstrip("/")) as file:
            return file.at(0, min(file.size, _MAX_LIBC)) or b""
    except OSError:
        return b""


def _first_group(pattern: re.Pattern[bytes], content: bytes) -> str | None:
    match = pattern.search(content)
    return match[1].decode("ascii") if match else None


class _Bytes:
    """A file read by position, in bounded pieces; ``None`` past the end.

    Not a mapping: a file that somebody truncates while it is mapped kills the reader.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.size = os.fstat(self._fd).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def at(self, offset: int, size: int) -> bytes | None:
        """Return exactly ``size`` bytes, or None."""
        if offset < 0 or size < 0 or offset + size > self.size:
            return None
        pieces = bytearray()
        while len(pieces) < size:
            piece = os.pread(self._fd, size - len(pieces), offset + len(pieces))
            if not piece:
                return None
            pieces += piece
        return bytes(pieces)

    def contains(self, needles: tuple[bytes, ...]) -> bool:
        """Search the file piece by piece; each piece repeats the end of the one before."""
        overlap = max(map(len, needles)) - 1
        for offset in range(0, min(self.size, _MAX_SCAN), _CHUNK):
            piece = os.pread(self._fd, _CHUNK + overlap, offset)
            if any(needle in piece for needle in needles):
                return True
        return False


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    writable: bool
    offset: int
    size: int


def _parse(path: str, exe: _Bytes) -> GoBinary:
    """Read headers, section names and the build information of an ELF file."""
    ident = exe.at(0, 64)
    if ident is None or ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        return GoBinary(path=path)
    order = "<" if ident[5] == 1 else ">"
    bits = 32 * ident[4]
    kind, machine = struct.unpack_from(order + "HH", ident, 16)
    arch = _MACHINES.get(machine)
    if bits == 32 or order == ">":
        # No Go program of this kind can be measured; its architecture is all that matters.
        return GoBinary(path=path, arch=arch, bits=bits)
    segments = _segments(exe, ident)
    sections = _section_names(exe, ident)
    interpreter = next((_text(exe, part) for part in segments if part.kind == _PT_INTERP), None)
    info = _build_info(exe, sections.get(".go.buildinfo"), segments)
    is_go = info is not None or not _GO_SECTIONS.isdisjoint(sections)
    version, module_text = info or (None, "")
    return GoBinary(
        path=path,
        arch=arch,
        bits=bits,
        position_independent=kind == _ET_DYN,
        interpreter=interpreter,
        stripped=".symtab" not in sections,
        has_dwarf=".debug_info" in sections or ".zdebug_info" in sections,
        is_go=is_go,
        go_version=version,
        settings=_settings(module_text),
        uses_cgo=is_go and exe.contains(_CGO_MARKS),
    )


def _segments(exe: _Bytes, ident: bytes) -> list[_Segment]:
    """Read the program headers of a little-endian ELF64 file (``Elf64_Phdr``)."""
    (table,) = struct.unpack_from("<Q", ident, 32)
    entry, count = struct.unpack_from("<HH", ident, 54)
    content = exe.at(table, entry * count) if entry == 56 and count <= _MAX_HEADERS else None
    return [
        _Segment(kind, bool(flags & 2), offset, filesz)
        for kind, flags, offset, _, _, filesz, _, _ in struct.iter_unpack(
            "<IIQQQQQQ", content or b""
        )
    ]


def _section_names(exe: _Bytes, ident: bytes) -> dict[str, tuple[int, int]]:
    """Map section names to (file offset, size); empty where the table is missing or torn."""
    (table,) = struct.unpack_from("<Q", ident, 40)
    entry, count, names_index = struct.unpack_from("<HHH", ident, 58)
    content = exe.at(table, entry * count) if entry == 64 and 0 < count <= _MAX_HEADERS else None
    rows = list(struct.iter_unpack("<IIQQQQIIQQ", content or b""))
    if names_index >= len(rows):
        return {}
    names = exe.at(rows[names_index][4], min(rows[names_index][5], _CHUNK)) or b""
    return {
        names[row[0] : names.find(b"\0", row[0])].decode("utf-8", "replace"): (row[4], row[5])
        for row in rows
        if row[0] < len(names)
    }


def _text(exe: _Bytes, segment: _Segment) -> str:
    return os.fsdecode((exe.at(segment.offset, min(segment.size, 4096)) or b"").rstrip(b"\0"))


def _build_info(
    exe: _Bytes, section: tuple[int, int] | None, segments: list[_Segment]
) -> tuple[str | None, str] | None:
    """Return (Go version, module text), or None if the program carries no build information.

    Layout of Go 1.18 and newer (``debug/buildinfo``): magic, pointer size, flags with bit 1 set,
    and from byte 32 on two strings, each behind its length as a varint. Older ones hold pointers
    instead; cgoleak does not support those versions, so that they get version None.
    """
    where = [section] if section else []
    where += [
        (part.offset, part.size) for part in segments if part.kind == _PT_LOAD and part.writable
    ]
    for offset, size in where:
        content = exe.at(offset, min(size, _MAX_BUILD_INFO)) or b""
        start = content.find(_BUILD_INFO_MAGIC)
        while start >= 0 and start % 16:
            start = content.find(_BUILD_INFO_MAGIC, start + 1)
        if start < 0:
            continue
        if len(content) < start + 34 or not content[start + 15] & 2:
            return None, ""
        version, after = _varint_string(content, start + 32)
        module_text, _ = _varint_string(content, after)
        # The module text stands between two 16-byte marks.
        return version.decode("utf-8", "replace") or None, module_text[16:-16].decode(
            "utf-8", "replace"
        )
    return None


def _varint_string(content: bytes, offset: int) -> tuple[bytes, int]:
    """Read a length and that many bytes; what is missing at the end is left out."""
    length = shift = 0
    while offset < len(content) and shift < 35:
        byte = content[offset]
        offset += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return content[offset : offset + length], offset + length


def _settings(module_text: str) -> dict[str, str]:
    """Pick the ``build<tab>KEY=VALUE`` lines (``runtime/debug.BuildInfo.String``)."""
    settings = {}
    for line in module_text.split("\n"):
        if line.startswith("build\t"):
            key, _, value = line.removeprefix("build\t").partition("=")
            settings[key] = value
    return settings
