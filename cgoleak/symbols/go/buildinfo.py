"""What the Go linker wrote about the build: version, modules, settings.

``.go.buildinfo`` begins with a magic at a 16-byte boundary and survives ``-s -w`` and strip;
without section headers the data segments are searched for it, as ``debug/buildinfo`` does. Its
two strings stand in line since Go 1.18 (``cmd/link/internal/ld/data.go``, buildinfo); older files
give None.
"""

from __future__ import annotations

import re
from ast import literal_eval
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cgoleak.symbols.elf.object_file import ObjectFile

__all__ = ["GoBuildInfo", "read_build_info"]

_MAGIC: Final = b"\xff Go buildinf:"
_ALIGNMENT: Final = 16
_HEADER_BYTES: Final = 32
_INLINE_STRINGS: Final = 2
"""Flag: version and module information follow as varint length and bytes."""
_MAX_BYTES: Final = 1 << 20
_SENTINEL_BYTES: Final = 16
"""Before and after the module information (``runtime/debug/mod.go`` and ``modload``, infoStart)."""
_RELEASE: Final = re.compile(r"go1\.(\d{1,4})(?:\.(\d{1,4}))?")


@dataclass(frozen=True, slots=True)
class GoBuildInfo:
    """The build of one binary.

    Attributes:
        go_version: such as ``go1.27.3``, with experiments behind it (``go1.26.8 X:nodwarf5``).
        path: import path of the main package, or the empty string.
        module: path of the main module, or the empty string.
        module_version: its version, such as ``(devel)``, or the empty string.
        settings: ``CGO_ENABLED``, ``-buildmode``, ``-ldflags``, ``vcs.revision`` and so on.
    """

    go_version: str
    path: str = ""
    module: str = ""
    module_version: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def release(self) -> tuple[int, int] | None:
        """Minor and patch of Go 1, such as (27, 3), or None for a version that is not told so."""
        found = _RELEASE.search(self.go_version)
        return None if found is None else (int(found[1]), int(found[2] or 0))

    @property
    def uses_cgo(self) -> bool | None:
        """What CGO_ENABLED was, or None if it is not recorded."""
        value = self.settings.get("CGO_ENABLED")
        return None if value is None else value == "1"


def read_build_info(obj: ObjectFile) -> GoBuildInfo | None:
    """Read the build information of a file; None if it is not Go, or older than Go 1.18."""
    for at in _places(obj):
        blob = bytes(obj.view(at, _MAX_BYTES))
        if len(blob) < _HEADER_BYTES or not blob[len(_MAGIC) + 1] & _INLINE_STRINGS:
            continue
        version, rest = _string(blob, _HEADER_BYTES)
        modules, _ = _string(blob, rest)
        if version:
            return _parse(version.decode("utf-8", "replace"), modules)
    return None


def _places(obj: ObjectFile) -> Iterator[int]:
    """Yield the addresses where the magic stands."""
    section = obj.sections.get(".go.buildinfo")
    if section is not None and obj.read(section.vaddr, len(_MAGIC)) == _MAGIC:
        yield section.vaddr
    for segment in obj.segments:
        if segment.type != "PT_LOAD" or segment.is_executable:
            continue
        content = bytes(obj.view(segment.vaddr, segment.filesz))
        at = content.find(_MAGIC)
        while at >= 0:
            if (segment.vaddr + at) % _ALIGNMENT == 0:
                yield segment.vaddr + at
            at = content.find(_MAGIC, at + 1)


def _string(blob: bytes, at: int) -> tuple[bytes, int]:
    """Decode a varint length and that many bytes; empty if cut short."""
    size = shift = 0
    while at < len(blob) and shift < 35:
        byte = blob[at]
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found = blob[at : at + size]
            return (found, at + size) if len(found) == size else (b"", at)
    return b"", at


def _parse(version: str, modules: bytes) -> GoBuildInfo:
    """Read the lines between the sentinels: ``path``, ``mod``, ``dep`` and ``build``."""
    path = module = module_version = ""
    settings: dict[str, str] = {}
    text = modules[_SENTINEL_BYTES:-_SENTINEL_BYTES].decode("utf-8", "replace")
    for line in text.splitlines():
        kind, _, value = line.partition("\t")
        if kind == "path":
            path = value
        elif kind == "mod":
            module, module_version, *_ = [*value.split("\t"), ""]
        elif kind == "build":
            key, setting = _unquoted_pair(value)
            settings[key] = setting
    return GoBuildInfo(version, path, module, module_version, settings)


def _unquoted_pair(text: str) -> tuple[str, str]:
    """Split ``key=value``; either may be quoted (``runtime/debug/mod.go``, quoteKey)."""
    if text.startswith('"'):
        end = text.find('"=', 1)
        key, value = text[: end + 1], text[end + 2 :]
    else:
        key, _, value = text.partition("=")
    return _unquoted(key), _unquoted(value)


def _unquoted(text: str) -> str:
    """Undo ``strconv.Quote``, whose escapes are among Python's."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        return str(literal_eval(text))
    except (SyntaxError, ValueError):
        return text
