"""Builds real ELF files with the machine's compilers, and asks binutils about them."""

from __future__ import annotations

import posixpath
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LIBRARY_C = """\
#include <stdlib.h>
#include <string.h>

__thread int per_thread = 7;
int shared_counter = 3;

static inline __attribute__((always_inline)) char *grow(size_t size) {
    char *block = malloc(size + 1);
    if (block) block[0] = (char)size;
    return block;
}

static __attribute__((noinline)) char *keep(const char *text) {
    char *copy = grow(strlen(text));
    if (copy) strcpy(copy, text);
    return copy;
}

char *library_entry(const char *text, int times) {
    char *last = 0;
    for (int i = 0; i < times; i++) {
        free(last);
        last = keep(text);
        shared_counter += per_thread;
    }
    return last;
}

int library_unused(void) { return shared_counter; }
"""

PROGRAM_CPP = """\
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace alg {
struct Item {
  std::string name;
  std::vector<int> data;
};
static std::map<std::string, std::unique_ptr<Item>> items;
namespace {
int weigh(const Item &item) {
  int sum = 0;
  for (int value : item.data) sum += value;
  return sum;
}
}  // namespace
__attribute__((noinline)) void add(const char *name, int count) {
  auto item = std::make_unique<Item>();
  item->name = name;
  for (int i = 0; i < count; i++) item->data.push_back(i);
  if (weigh(*item) < 0) throw std::string("negative");
  items[item->name] = std::move(item);
}
}  // namespace alg
int main(int argc, char **argv) {
  for (int i = 0; i < argc + 3; i++) alg::add(argv[0], i);
  std::printf("%zu\\n", alg::items.size());
}
"""


def require(*tools: str) -> None:
    """Skip the test unless these programs are on the PATH."""
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def run(*command: str | Path, text: str | None = None) -> str:
    """Run a program to its end and return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(folder: Path, name: str, source: str, *flags: str) -> Path:
    """Compile one source; C++ if the name of the result ends in ``++``."""
    compiler, suffix = ("g++", ".cc") if name.endswith("++") else ("gcc", ".c")
    require(compiler)
    path = folder / (name + suffix)
    path.write_text(source)
    run(compiler, *flags, path, "-o", folder / name)
    return folder / name


def build_library(folder: Path, name: str = "liball.so", *flags: str) -> Path:
    """Compile ``LIBRARY_C`` to a shared library with debug information."""
    flags = flags or ("-O2", "-g", "-gdwarf-4")
    return build(folder, name, LIBRARY_C, "-shared", "-fPIC", "-Wl,--build-id", *flags)


def addr2line(path: Path, addresses: Iterable[int]) -> dict[int, list[tuple[str, str]]]:
    """Ask binutils for the frames at addresses: (function, file:line), innermost first."""
    require("addr2line")
    asked = "\n".join(f"{address:#x}" for address in addresses)
    found: dict[int, list[tuple[str, str]]] = {}
    lines = iter(run("addr2line", "-afi", "-e", path, text=asked).splitlines())
    for line in lines:
        if line.startswith("0x"):
            frames = found[int(line, 16)] = []
        else:
            place = next(lines).split(" (discriminator", 1)[0]
            frames.append((line, posixpath.normpath(place)))
    return found


def without_section_headers(content: bytes) -> bytes:
    """Wipe the section header table's place, count and names from the ELF header."""
    changed = bytearray(content)
    changed[0x28:0x30] = bytes(8)  # e_shoff
    changed[0x3A:0x40] = bytes(6)  # e_shentsize, e_shnum, e_shstrndx
    return bytes(changed)
