"""A Go program with several heaps: libc's, and those that its libraries keep to themselves."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

from support.live_programs import OBEY, OWN_MALLOC, build_program

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["build_heap_library", "build_heaps"]

_FAMILY: Final = ("malloc", "free", "calloc", "realloc", "posix_memalign", "aligned_alloc")
_LIBRARY_C: Final = r"""
#include <stddef.h>
#include <string.h>
void *ALLOCATE(size_t size);
void RELEASE(void *block);
static void *volatile last;
__attribute__((noinline)) void NAME(_make)(size_t size)
{
	last = memset(ALLOCATE(size), 1, size);
}
void NAME(_lose)(void) { NAME(_make)(700000); __asm__ volatile(""); }
void NAME(_use)(void) { NAME(_make)(700000); RELEASE(last); last = NULL; }
"""
_HEAPS_C: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

static void *volatile last;
__attribute__((noinline)) void libc_make(size_t size) { last = malloc(size); }
void libc_lose(void) { libc_make(1000); __asm__ volatile(""); }

static void (*lose_there)(void), (*use_there)(void);
void later_open(const char *path) {
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) abort();
	lose_there = (void (*)(void))dlsym(library, "later_lose");
	use_there = (void (*)(void))dlsym(library, "later_use");
}
void later_lose(void) { lose_there(); __asm__ volatile(""); }
"""
_MAIN_GO: Final = r"""
package main

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
void libc_lose(void);
void one_lose(void);
void one_use(void);
void two_lose(void);
void two_use(void);
void later_open(const char *path);
void later_lose(void);
*/
import "C"

import (
	"os"

	"example.org/prog/obey"
)

func libcLose()  { C.libc_lose() }
func oneLose()   { C.one_lose() }
func oneUse()    { C.one_use() }
func twoLose()   { C.two_lose() }
func twoUse()    { C.two_use() }
func laterLose() { C.later_lose() }
func laterOpen() { C.later_open(path) }

var path = C.CString(os.Args[1])

var does = map[string]func(int){
	"libcLose": obey.Each(libcLose), "oneLose": obey.Each(oneLose), "oneUse": obey.Each(oneUse),
	"twoLose": obey.Each(twoLose), "twoUse": obey.Each(twoUse),
	"laterOpen": obey.Each(laterOpen), "laterLose": obey.Each(laterLose),
}

func main() { obey.Lines(does) }
"""


def build_heap_library(folder: Path, name: str, *, hidden: bool) -> Path:
    """Build a library with a malloc of its own that only it calls.

    ``hidden``: nobody can see that it has one; else it is exported by the name of malloc, and bound
    to within the library, as ``-Bsymbolic`` does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f"{name}_inner_" if hidden else ""
    defines = [f"-D{one}={prefix}{one}" for one in _FAMILY if hidden]
    calls = [f"-DALLOCATE={prefix}malloc", f"-DRELEASE={prefix}free", f"-DNAME(x)={name}##x"]
    objects = []
    for part, text, flags in (
        ("heap", OWN_MALLOC, [*defines, *(["-DPRIVATE_MALLOC"] if hidden else [])]),
        ("work", _LIBRARY_C, calls),
    ):
        source = folder / f"{name}-{part}.c"
        source.write_text(text, encoding="utf-8")
        objects.append(str(source.with_suffix(".o")))
        command = ["cc", "-O2", "-g", "-fPIC", *flags, "-c", str(source), "-o", objects[-1]]
        subprocess.run(command, check=True, timeout=60)
    library = folder / f"lib{name}.so"
    flags = ["-shared", "-Wl,-Bsymbolic", f"-Wl,-soname,lib{name}.so"]
    subprocess.run(["cc", *flags, "-o", str(library), *objects], check=True, timeout=60)
    return library


def build_heaps(folder: Path, go: str) -> Path:
    """Build the program with two libraries that hide their heaps; it is given a third's path."""
    libraries = folder / "lib"
    for name in ("one", "two"):
        build_heap_library(libraries, name, hidden=True)
    linked = f"-L{libraries} -lone -ltwo -Wl,-rpath,{libraries}"
    sources = {"heaps.c": _HEAPS_C, "main.go": _MAIN_GO} | OBEY
    return build_program(folder / "prog", go, sources, "-gcflags=-l", ldflags=linked)
