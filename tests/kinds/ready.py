"""Builds the program of ``worker/`` in every kind: each C part, libc and malloc, in each root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support import containers
from support.go_programs import go_commands
from support.live_programs import OWN_MALLOC, build_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["WORKER", "Missing", "Ready"]

WORKER: Final = Path(__file__).with_name("worker")
_PREFIXED: Final = (
    "malloc",
    "free",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
)


class Missing(Exception):
    """What it takes is not there; its text is a package of Debian's, or what the system lacks."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A program that can be started.

    Attributes:
        words: its command; the mode is to follow.
        inside: the executable of the child that is meant, where the command starts one.
    """

    words: tuple[str, ...]
    inside: Path | None = None


def build(
    folder: Path,
    c: str,
    *flags: str,
    compiler: str | None = None,
    cflags: str = "",
    ldflags: str = "",
    more: Sequence[str] = (),
) -> Path:
    """Build it with one of the C parts in it, or with none: ``c`` is empty then."""
    names = ["main.go", "work.h", *more, *([c] if c else [])]
    sources = {name: (WORKER / name).read_text(encoding="utf-8") for name in names}
    return build_program(
        folder,
        go_commands()[0],
        sources,
        *flags,
        compiler=compiler,
        cflags=cflags,
        ldflags=ldflags,
    )


def build_library(folder: Path, name: str, *words: str, cc: str = "cc") -> Path:
    """Build ``lib{name}.so`` beside the program's source; ``words``: flags and files of worker/."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"lib{name}.so"
    paths = [str(WORKER / word) if (WORKER / word).is_file() else word for word in words]
    flags = ("-O2", "-g", "-fPIC", "-shared", "-pthread", f"-Wl,-soname,lib{name}.so")
    command = [_tool(cc, "build-essential"), *flags, "-o", str(library), *paths]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    return library


def linked_with(library: Path) -> str:
    """Give the linker's flags for a library that lies beside the program."""
    name = library.name.removeprefix("lib").removesuffix(".so")
    return f"-L{library.parent} -l{name} -Wl,-rpath,{library.parent}"


def _tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(package)
    return found


def _found(name: str, package: str) -> str:
    """Give the base name of a library's file."""
    found = find_library(name)
    if found is None:
        raise Missing(package)
    return found


def _archive(name: str, package: str) -> None:
    """See that a static library is there."""
    asked = [_tool("cc", "build-essential"), f"-print-file-name={name}"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
    if "/" not in said:
        raise Missing(package)


# --- programs ------------------------------------------------------------------------------------


def plain(folder: Path, c: str = "blocks.c", flags: Sequence[str] = ()) -> Ready:
    return Ready((str(build(folder, c, *flags)),))


def musl(folder: Path, flags: Sequence[str] = ()) -> Ready:
    compiler = _tool("musl-gcc", "musl-tools")
    return Ready((str(build(folder, "blocks.c", *flags, compiler=compiler)),))


def preloaded(folder: Path, name: str, package: str) -> Ready:
    library = _found(name, package)
    return Ready(("env", f"LD_PRELOAD={library}", *plain(folder).words))


def with_library(folder: Path, name: str, package: str) -> Ready:
    """Link it with an allocator as a library; no header of it is needed."""
    linked = f"-Wl,--no-as-needed -l:{_found(name, package)} -Wl,--as-needed"
    return Ready((str(build(folder, "blocks.c", ldflags=linked)),))


def with_archive(folder: Path) -> Ready:
    _archive("libjemalloc.a", "libjemalloc-dev")
    linked = "-l:libjemalloc.a -lm -lstdc++"
    return Ready((str(build(folder, "blocks.c", ldflags=linked)),))


def with_own_malloc(folder: Path) -> Ready:
    return Ready((str(build(folder, "blocks.c", ldflags=_own_archive(folder))),))


def _own_archive(folder: Path, *flags: str) -> str:
    """Compile our own malloc; give the archive's path, as a flag of the linker."""
    source, compiled = folder / "own" / "own.c", folder / "own" / "own.o"
    source.parent.mkdir(parents=True)
    source.write_text(OWN_MALLOC, encoding="utf-8")
    command = ["cc", "-O2", "-g", "-fPIC", *flags, "-c", str(source), "-o", str(compiled)]
    subprocess.run(command, check=True, timeout=60)
    archive = source.with_name("libown.a")
    subprocess.run(["ar", "rcs", str(archive), str(compiled)], check=True, timeout=60)
    return str(archive)


def _prefix(prefix: str) -> tuple[str, ...]:
    return tuple(f"-D{name}={prefix}{name}" for name in _PREFIXED)


_CALLS_PREFIXED: Final = "-DMALLOC=je_malloc -DREALLOC=je_realloc -DFREE=je_free"


def prefixed(folder: Path) -> Ready:
    """Have the program's C call je_malloc of a library, beside libc's malloc for all the rest."""
    whole = ("-Wl,--whole-archive", _own_archive(folder, *_prefix("je_")), "-Wl,--no-whole-archive")
    linked = linked_with(build_library(folder, "je", *whole))
    return Ready((str(build(folder, "blocks.c", cflags=_CALLS_PREFIXED, ldflags=linked)),))


def prefixed_inside(folder: Path) -> Ready:
    """Have je_malloc linked in, as vendored jemallocs are."""
    linked = _own_archive(folder, *_prefix("je_"))
    return Ready((str(build(folder, "blocks.c", cflags=_CALLS_PREFIXED, ldflags=linked)),))


def private_malloc(folder: Path) -> Ready:
    """Have a library that keeps a malloc to itself."""
    inner = _own_archive(folder, *_prefix("inner_"), "-DPRIVATE_MALLOC")
    calls = [f"-D{name.upper()}=inner_{name}" for name in ("malloc", "realloc", "free")]
    hidden = ("-DRECORD=60000", "-Wl,--exclude-libs,ALL")
    library = build_library(folder, "work", "blocks.c", *calls, *hidden, inner)
    return Ready((str(build(folder, "", ldflags=linked_with(library))),))


def cpp_library(folder: Path) -> Ready:
    """Have a library of C++ with its runtime linked in."""
    flags = ("objects.cc", "-static-libstdc++", "-static-libgcc")
    library = build_library(folder, "work", *flags, cc="c++")
    return Ready((str(build(folder, "", ldflags=linked_with(library))),))


def loaded_later(folder: Path) -> Ready:
    library = build_library(folder, "work", "blocks.c")
    found = build(folder, "loads.c", ldflags=f"-ldl -Wl,-rpath,{library.parent}")
    return Ready((str(found),))


def handles(folder: Path) -> Ready:
    library = build_library(folder, "handles", "libhandles.c")
    found = build(folder, "handles.c", more=["handles.h"], ldflags=linked_with(library))
    return Ready((str(found),))


def statements(folder: Path) -> Ready:
    _archive("libsqlite3.so", "libsqlite3-dev")
    return Ready((str(build(folder, "statements.c", ldflags="-lsqlite3")),))


# --- containers ----------------------------------------------------------------------------------


def in_container(folder: Path, how: Sequence[str]) -> Ready:
    if lacking := containers.lacks(how):
        raise Missing(lacking)
    program = build(folder, "blocks.c")
    root = containers.build_small_root(folder / "root", program)
    words = containers.contained(how, program, root)
    inside = root / "prog" if containers.runs_in_root(how) else program
    return Ready(tuple(words), inside)


def without_exec_gain(folder: Path) -> Ready:
    if not containers.can_refuse_exec_gain():
        raise Missing("PR_SET_MDWE (Linux 6.3)")
    return Ready(tuple(containers.without_exec_gain(build(folder, "blocks.c"))))


def with_filter(folder: Path, numbers: Iterable[int], *, kills: bool = False) -> Ready:
    program = build(folder, "blocks.c")
    return Ready(tuple(containers.with_filter(program, numbers, kills=kills)))


# --- what is refused -----------------------------------------------------------------------------


def without_c(folder: Path, machine: str = "") -> Ready:
    """Build Go alone; ``machine`` is another than this one."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "main.go"
    source.write_text(
        'package main\nimport "time"\nfunc main() { println("running"); time.Sleep(time.Hour) }\n'
    )
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GO111MODULE": "off"}
    command = [go_commands()[0], "build", "-o", "prog", "main.go"]
    environment = os.environ | settings | ({"GOARCH": machine} if machine else {})
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300)
    return Ready(("sh", "-c", 'exec "$0" 2>&1', str(folder / "prog")))


def not_go(folder: Path) -> Ready:
    del folder
    code = "import time; print('running', flush=True); time.sleep(3600)"
    return Ready((sys.executable, "-c", code))
