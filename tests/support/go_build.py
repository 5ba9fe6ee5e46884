"""Builds a small Go program with cgo, by every Go at hand, and lets it tell its own frames."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pytest

from support.go_programs import go_commands

if TYPE_CHECKING:
    from pathlib import Path

STRIPPED_PIE = ("-buildmode=pie", "-ldflags=-s -w")

GO_MOD = "module example.com/worker\n\ngo 1.18\n"

MAIN_GO = """\
package main

/*
#include <stdlib.h>
#include "alg.h"
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"path/filepath"
	"strings"
	"unsafe"
)

// tell prints where the program is mapped and, per return address, what the runtime says of it.
func tell() {
	maps, _ := os.ReadFile("/proc/self/maps")
	for _, line := range strings.Split(string(maps), "\\n") {
		if strings.HasSuffix(line, filepath.Base(os.Args[0])) {
			fmt.Println("mapped", strings.SplitN(line, "-", 2)[0])
			break
		}
	}
	pcs := make([]uintptr, 64)
	for _, pc := range pcs[:runtime.Callers(1, pcs)] {
		frames := runtime.CallersFrames([]uintptr{pc})
		for more := true; more; {
			var frame runtime.Frame
			frame, more = frames.Next()
			fmt.Printf("%x\\t%s\\t%s\\t%d\\n", pc, frame.Function, frame.File, frame.Line)
		}
	}
}

func inner(n int) int { tell(); return n + 1 }

func middle(n int) int { return inner(n) * 2 }

type box struct{ p unsafe.Pointer }

func (b *box) fill(n int) { b.p = C.malloc(C.size_t(n)) }

//export goCallback
func goCallback(n C.int) C.int { return C.int(middle(int(n))) }

func main() {
	b := &box{}
	b.fill(8)
	func() { fmt.Println("sum", C.alg_run(3)) }()
	C.free(b.p)
}
"""

ALG_H = "int alg_run(int n);\n"

ALG_C = """\
#include <stdlib.h>
#include "alg.h"
extern int goCallback(int);
static inline __attribute__((always_inline)) void *grow(int n) {
    char *block = malloc((size_t)n + 1);
    if (block) block[0] = (char)n;
    return block;
}
static __attribute__((noinline)) int step(int n, int depth) {
    void *block = grow(n);
    int result = depth > 0 ? step(n + 1, depth - 1) : goCallback(n);
    free(block);
    return result + 1;
}
int alg_run(int n) { return step(n, 2); }
"""


@dataclass(frozen=True, slots=True)
class ToldFrame:
    """A frame as the Go runtime prints it."""

    pc: int
    function: str
    file: str
    line: int


@cache
def go_programs() -> tuple[str, ...]:
    """Return the Go commands to test with: on the PATH, and in ``CGOLEAK_GO_ROOTS``."""
    return tuple(go_commands())


def build_worker(folder: Path, go: str, *flags: str, only: str = "") -> Path:
    """Build the program; the name of the result is told by the flags.

    ``only``: build one that does nothing but import this package.
    """
    if shutil.which("gcc") is None:
        pytest.skip("cgo needs gcc")
    sources = {"main.go": MAIN_GO, "alg.h": ALG_H, "alg.c": ALG_C}
    if only:
        sources = {"main.go": f'package main\n\nimport _ "{only}"\n\nfunc main() {{}}\n'}
    for name, text in {"go.mod": GO_MOD, **sources}.items():
        (folder / name).write_text(text)
    target = folder / ("worker" + "".join(flags).replace("=", "").replace(" ", ""))
    environment = {
        **os.environ,
        "CGO_ENABLED": "1",
        "GO111MODULE": "on",
        "GOFLAGS": "-buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    done = subprocess.run(
        [go, "build", *flags, "-o", str(target), "."],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return target


def told_frames(worker: Path) -> tuple[int, list[ToldFrame]]:
    """Run the program; return where it is mapped and what it says of its own stack."""
    done = subprocess.run([str(worker)], capture_output=True, text=True, check=True, timeout=60)
    lowest, told = 0, []
    for line in done.stdout.splitlines():
        if line.startswith("mapped "):
            lowest = int(line.split()[1], 16)
        elif line.count("\t") == 3:
            pc, function, file, number = line.split("\t")
            told.append(ToldFrame(int(pc, 16), function, file, int(number)))
    assert told
    return lowest, told


class WorkerBuilds:
    """The program as one Go builds it; each way of linking is built when first asked for.

    The flag ``strip`` stands for the default program after ``strip`` has been over it.
    """

    def __init__(self, folder: Path, go: str) -> None:
        self.go = go
        self._folder = folder
        self._built: dict[tuple[str, ...], Path] = {}

    def get(self, *flags: str) -> Path:
        """Return the program built with these flags."""
        if flags == ("strip",) and flags not in self._built:
            stripped = self.get().with_name("worker-strip")
            subprocess.run(["strip", "-o", str(stripped), str(self.get())], check=True, timeout=60)
            self._built[flags] = stripped
        if flags not in self._built:
            self._built[flags] = build_worker(self._folder, self.go, *flags)
        return self._built[flags]

    @property
    def minor(self) -> int:
        """N of ``go1.N``."""
        said = subprocess.run([self.go, "version"], capture_output=True, text=True, check=True)
        return int(said.stdout.split("go1.")[1].split(".")[0].split()[0])
