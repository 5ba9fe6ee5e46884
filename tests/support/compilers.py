"""C compilers with flags of their own, as commands that ``go build`` takes for ``CC`` and ``CXX``.

What a package's ``#cgo`` lines ask for comes after ``CGO_CFLAGS`` and would win, so that a wrapper
puts the flags last. Where cgo itself asks for ``-fno-lto``, to read an object's DWARF, it gets it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["COMPILERS", "GCC_O2", "jumps", "wrap"]

GCC_O2: Final = "gcc-O2"
"""What everything else is built with; the compiler itself, not wrapped."""

_WRAPPER: Final = """\
#!/bin/sh
for word; do
  if [ "$word" = -fno-lto ]; then exec {command} "$@" {plain}; fi
done
exec {command} "$@" {flags}
"""
# Of a jump in objdump's listing: the function it stands in, and where it leads.
_LABEL: Final = re.compile(r"^[0-9a-f]+ <(?P<name>[^>]+)>:$")
_JUMP: Final = re.compile(r"\tjmp\s+[0-9a-f]+ <(?P<name>[^>+]+)>$")


@dataclass(frozen=True, slots=True)
class _Compiler:
    cc: str
    cxx: str
    flags: tuple[str, ...]

    @property
    def links(self) -> bool:
        """Whether the linker compiles."""
        return "-flto" in self.flags


_FLAGS: Final = {
    "O0": ("-O0", "-fno-omit-frame-pointer"),
    "O2": ("-O2",),
    "O3": ("-O3", "-fomit-frame-pointer"),
    "lto": ("-O2", "-flto"),
}
COMPILERS: Final = {
    f"{cc}-{name}": _Compiler(cc, cxx, flags)
    for cc, cxx in (("gcc", "g++"), ("clang", "clang++"))
    for name, flags in _FLAGS.items()
}


def wrap(name: str, folder: Path) -> dict[str, str]:
    """Write the two commands into ``folder``; give ``CC`` and ``CXX``, or skip the test."""
    if name == GCC_O2:
        return {}
    chosen = COMPILERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for variable, command in (("CC", chosen.cc), ("CXX", chosen.cxx)):
        path = shutil.which(command)
        if path is None:
            pytest.skip(f"not installed: {command}")
        plain = [flag for flag in chosen.flags if flag != "-flto"]
        wrapper = folder / command
        wrapper.write_text(
            _WRAPPER.format(command=path, plain=" ".join(plain), flags=" ".join(chosen.flags))
        )
        wrapper.chmod(0o755)
        found[variable] = str(wrapper)
    empty = folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    tried = subprocess.run(
        [found["CC"], str(empty), "-o", str(folder / "empty")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if tried.returncode:
        pytest.skip(f"{name} does not work here: {tried.stderr.strip()[:200]}")
    return found


def jumps(program: Path) -> set[tuple[str, str]]:
    """Give (function, function it jumps to) of the machine code: a call at the end leaves no frame.

    Skips the test where there is no objdump.
    """
    objdump = shutil.which("objdump")
    if objdump is None:
        pytest.skip("not installed: objdump")
    listing = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", "-j", ".text", str(program)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found, within = set(), ""
    for line in listing.stdout.splitlines():
        if label := _LABEL.match(line):
            within = label["name"]
        elif (jump := _JUMP.search(line)) and jump["name"] != within:
            found.add((within, jump["name"]))
    return found
