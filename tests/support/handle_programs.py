"""A Go program that makes handles with a shared library of its own, and gives some of them up."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

from support.live_programs import OBEY, build_program

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OBJECTS_TOML", "THINGS_TOML", "build_objects", "build_things"]

_THINGS_H: Final = r"""
typedef struct thing thing;
thing *thing_new(int kind);
void thing_free(thing *one);
int thing_open(const char *name, int how, double much, thing **out);
int thing_close(thing *one);
void thing_end(thing *one);
long thing_wide(int a, int b, int c, int d, int e, int f, long g, long h, long i,
                double x, double y, thing **out);
"""

_THINGS_C: Final = r"""
#include <errno.h>
#include <stdlib.h>
#include "things.h"

struct thing { int kind, busy; char room[40]; };

thing *thing_new(int kind) {
	thing *one = malloc(sizeof *one);
	one->kind = kind;
	one->busy = 0;
	return one;
}
void thing_free(thing *one) { free(one); }

/* how 0: as it should be; 1: it fails, and leaves something behind in *out. */
int thing_open(const char *name, int how, double much, thing **out) {
	*out = (thing *)0x10;
	if (how != 0 || much != 2.5) { errno = 97; return 14; }
	*out = thing_new(name[0]);
	return 0;
}

/* Refuses once. */
int thing_close(thing *one) {
	if (one->busy++ == 0) return 5;
	free(one);
	return 0;
}

/* The library's own way: no caller could tell that it frees. */
void thing_end(thing *one) { free(one); }

long thing_wide(int a, int b, int c, int d, int e, int f, long g, long h, long i,
                double x, double y, thing **out) {
	*out = thing_new(a);
	return a + b * 2 + c * 3 + d * 4 + e * 5 + f * 6 + g * 7 + h * 8 + i * 9 +
		(long)(x * 10) + (long)(y * 100);
}
"""

_MAIN_GO: Final = r"""
package main

//LINK
// #include <stdlib.h>
// #include "things.h"
import "C"

import (
	"fmt"
	"syscall"

	"example.org/prog/obey"
)

var name = C.CString("x")

func keepNew(n int) {
	for i := 0; i < n; i++ {
		C.thing_new(C.int(i))
	}
}

func freeNew(n int) {
	for i := 0; i < n; i++ {
		C.thing_free(C.thing_new(C.int(i)))
	}
}

func keepOpened(n int) {
	for i := 0; i < n; i++ {
		var one *C.thing
		if C.thing_open(name, 0, 2.5, &one) != 0 {
			fmt.Println("wrong")
		}
	}
}

func failOpening(n int) {
	for i := 0; i < n; i++ {
		var one *C.thing
		got, err := C.thing_open(name, 1, 2.5, &one)
		if got != 14 || err != syscall.EAFNOSUPPORT {
			fmt.Println("wrong", got, err)
		}
	}
}

func closeOpened(n int) {
	for i := 0; i < n; i++ {
		var one *C.thing
		C.thing_open(name, 0, 2.5, &one)
		if C.thing_close(one) != 5 || C.thing_close(one) != 0 {
			fmt.Println("wrong")
		}
	}
}

func refused(n int) {
	for i := 0; i < n; i++ {
		var one *C.thing
		C.thing_open(name, 0, 2.5, &one)
		C.thing_close(one)
	}
}

func ended(n int) {
	for i := 0; i < n; i++ {
		C.thing_end(C.thing_new(C.int(i)))
	}
}

func keepWide(n int) {
	for i := 0; i < n; i++ {
		var one *C.thing
		if got := C.thing_wide(1, 2, 3, 4, 5, 6, 7, 8, 9, 1.5, 2.5, &one); got != 550 {
			fmt.Println("wrong", got)
		}
	}
}

var does = map[string]func(int){
	"keepNew": keepNew, "freeNew": freeNew, "keepOpened": keepOpened, "failOpening": failOpening,
	"closeOpened": closeOpened, "refused": refused, "ended": ended, "keepWide": keepWide,
}

func main() { obey.Lines(does) }
"""

THINGS_TOML: Final = """\
[thing]
create = [
  "thing_new",
  { function = "thing_open", handle = "*arg3", success = "zero" },
  { function = "thing_wide", handle = "*arg10" },
]
destroy = ["thing_free", { function = "thing_close", success = "zero" }]
"""
"""Arguments are counted as integers are passed: those that are floating do not count."""


_OBJECTS_H: Final = r"""
typedef struct object object;
object *object_new(void);
object *object_ref(object *one);
void object_unref(object *one);
"""

_OBJECTS_C: Final = r"""
#include <stdlib.h>
#include "objects.h"

struct object { int references; char room[60]; };

__attribute__((noinline)) object *instance_make(void) { return calloc(1, sizeof(object)); }
__attribute__((noinline)) void instance_end(object *one) { free(one); }

object *object_new(void) {
	object *one = instance_make();
	one->references = 1;
	return one;
}
object *object_ref(object *one) {
	one->references++;
	return one;
}
/* The last reference is given up by a jump: nothing follows it. */
void object_unref(object *one) {
	if (--one->references == 0) instance_end(one);
}
"""

_OBJECTS_GO: Final = r"""
package main

// #cgo LDFLAGS: -L${SRCDIR} -lobjects -Wl,-rpath,${SRCDIR}
// #include "objects.h"
import "C"

import "example.org/prog/obey"

func keep() { C.object_new() }

func giveUp() { C.object_unref(C.object_new()) }

// keepReference gives one up of two.
func keepReference() { C.object_unref(C.object_ref(C.object_new())) }

func giveUpBoth() {
	one := C.object_ref(C.object_new())
	C.object_unref(one)
	C.object_unref(one)
}

func main() {
	obey.Lines(map[string]func(int){
		"keep": obey.Each(keep), "giveUp": obey.Each(giveUp),
		"keepReference": obey.Each(keepReference), "giveUpBoth": obey.Each(giveUpBoth),
	})
}
"""

OBJECTS_TOML: Final = """\
[object]
create = { function = "instance_make", within = true }
destroy = { function = "instance_end", within = true }
"""
"""Nobody but the library itself calls these."""


def build_objects(folder: Path, go: str, *, cc: str = "cc") -> Path:
    """Build a library whose objects are counted by reference, and a program; both in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    _build_library(folder, "objects", _OBJECTS_H, _OBJECTS_C, cc=cc)
    program = {"main.go": _OBJECTS_GO, "objects.h": _OBJECTS_H} | OBEY
    return build_program(folder, go, program)


def _build_library(folder: Path, name: str, header: str, source: str, *, cc: str) -> None:
    (folder / f"{name}.c").write_text(source)
    (folder / f"{name}.h").write_text(header)
    library = f"lib{name}.so"
    # -Bsymbolic: the library calls its own functions directly, as large libraries do.
    flags = ("-shared", "-fPIC", "-O1", "-foptimize-sibling-calls", "-g", "-Wl,-Bsymbolic")
    subprocess.run(
        [cc, *flags, f"-Wl,-soname,{library}", "-o", folder / library, folder / f"{name}.c"],
        check=True,
        timeout=120,
        env=os.environ,
    )
    (folder / f"{name}.c").unlink()


def build_things(folder: Path, go: str, *, linked_in: bool = False, cc: str = "cc") -> Path:
    """Build library and program; the library lies beside the program's source, or is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    link = "" if linked_in else "// #cgo LDFLAGS: -L${SRCDIR} -lthings -Wl,-rpath,${SRCDIR}"
    main_go = _MAIN_GO.replace("//LINK", link)
    program = {"main.go": main_go, "things.h": _THINGS_H} | OBEY
    if linked_in:
        return build_program(folder, go, program | {"things.c": _THINGS_C})
    _build_library(folder, "things", _THINGS_H, _THINGS_C, cc=cc)
    return build_program(folder, go, program)
