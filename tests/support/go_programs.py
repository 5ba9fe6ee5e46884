"""Real Go programs with C in them: built with each Go at hand, run, watched from outside, ended.

Every program stops in C, in a ``read`` of its standard input, after it has said on its standard
output what it knows of itself: the runtime's own numbers and where the thread's stack is. Between
the two it allocates nothing, so that the numbers are still exact.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["SELF_REPORTING", "Running", "build_go", "go_commands", "missing_tools", "running"]

# The thread-local array moves the runtime's own slot away from its usual place.
_C = r"""
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

extern void goInner(void);

static __thread volatile char beside_g[104];

void say_and_wait(void) {
	char line[128], byte;
	unsigned long tp, sp = (unsigned long)__builtin_frame_address(0);
#if defined(__x86_64__)
	__asm__("movq %%fs:0, %0" : "=r"(tp));
#else
	__asm__("mrs %0, tpidr_el0" : "=r"(tp));
#endif
	beside_g[0] = 1;
	int n = snprintf(line, sizeof line, "{\"tp\": %lu, \"sp\": %lu}\n", tp, sp);
	if (write(1, line, n) == n && read(0, &byte, 1) < 0) _exit(3);
}

void call_back(void) { goInner(); }

static void *on_thread(void *unused) { goInner(); return unused; }

void call_back_on_thread(void) {
	pthread_t thread;
	if (pthread_create(&thread, NULL, on_thread, NULL) == 0) pthread_join(thread, NULL);
}
"""

_GO = r"""
package main

/*
#cgo LDFLAGS: -lpthread
void say_and_wait(void);
void call_back(void);
void call_back_on_thread(void);
*/
import "C"

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"
)

var (
	kept    [][]byte
	cleanup func()
	mem     runtime.MemStats
	line    = make([]byte, 0, 1<<16)
	samples []metrics.Sample
	records = make([]runtime.MemProfileRecord, 1000)
)

func add(name string, value uint64) {
	line = append(line, '"')
	line = append(line, name...)
	line = append(line, '"', ':')
	line = strconv.AppendUint(line, value, 10)
	line = append(line, ',')
}

func report() {
	for _, d := range metrics.All() {
		if d.Kind == metrics.KindUint64 {
			samples = append(samples, metrics.Sample{Name: d.Name})
		}
	}
	var objects, bytes uint64
	n, _ := runtime.MemProfile(records, true)
	for _, r := range records[:n] {
		objects += uint64(r.InUseObjects())
		bytes += uint64(r.InUseBytes())
	}
	for i := 0; i < 2; i++ {
		metrics.Read(samples)
		runtime.ReadMemStats(&mem)
	}
	line = append(line, `{"Version":"`...)
	line = append(line, runtime.Version()...)
	line = append(line, `",`...)
	for i := range samples {
		add(samples[i].Name, samples[i].Value.Uint64())
	}
	add("ProfileObjects", objects)
	add("ProfileBytes", bytes)
	add("HeapInuse", mem.HeapInuse)
	add("HeapIdle", mem.HeapIdle)
	add("HeapReleased", mem.HeapReleased)
	add("HeapAlloc", mem.HeapAlloc)
	add("TotalAlloc", mem.TotalAlloc)
	add("StackInuse", mem.StackInuse)
	add("StackSys", mem.StackSys)
	add("MSpanSys", mem.MSpanSys)
	add("MCacheSys", mem.MCacheSys)
	add("BuckHashSys", mem.BuckHashSys)
	add("GCSys", mem.GCSys)
	add("OtherSys", mem.OtherSys)
	add("NextGC", mem.NextGC)
	add("LastGC", mem.LastGC)
	add("NumGC", uint64(mem.NumGC))
	add("NumForcedGC", uint64(mem.NumForcedGC))
	line = append(line, `"Stack":"`...)
	n = runtime.Stack(line[len(line):cap(line)], false)
	stack := line[len(line) : len(line)+n]
	for i := range stack {
		if stack[i] < ' ' || stack[i] == '"' || stack[i] == '\\' {
			stack[i] = '|'
		}
	}
	line = append(line[:len(line)+n], '"', '}', '\n')
	os.Stdout.Write(line)
}

//export goInner
func goInner() {
	report()
	C.say_and_wait()
}

func plain() {
	report()
	C.say_and_wait()
}

//go:noinline
func finalized() {
	p := new([64]byte)
	runtime.SetFinalizer(p, func(*[64]byte) { plain() })
}

//go:noinline
func keep(n int) {
	for i := 0; i < n; i++ {
		b := make([]byte, 1<<20)
		for j := 0; j < len(b); j += 4096 {
			b[j] = 1
		}
		kept = append(kept, b)
	}
}

func churn() {
	var ring [64][]byte
	for i := 0; ; i++ {
		ring[i%len(ring)] = make([]byte, 1<<(8+i%15))
	}
}

func main() {
	keep(64)
	runtime.GC()
	kept = append([][]byte(nil), kept[:16]...)
	runtime.GC()
	if os.Getenv("FREE_OS_MEMORY") != "" {
		debug.FreeOSMemory()
	}
	switch os.Args[1] {
	case "plain":
		done := make(chan int)
		go func() { plain(); close(done) }()
		<-done
	case "callback":
		C.call_back()
	case "thread":
		C.call_back_on_thread()
	case "busy":
		go churn()
		go churn()
		plain()
	case "cleanup":
		if cleanup != nil {
			cleanup()
		}
	case "finalizer":
		finalized()
		runtime.GC()
		time.Sleep(time.Hour)
	}
}
"""

_CLEANUP = r"""
//go:build go1.24

package main

import (
	"runtime"
	"time"
)

func init() { cleanup = cleaned }

//go:noinline
func addCleanup() {
	p := new([64]byte)
	runtime.AddCleanup(p, func(int) { plain() }, 0)
}

func cleaned() {
	addCleanup()
	runtime.GC()
	time.Sleep(time.Hour)
}
"""

SELF_REPORTING = {"main.go": _GO, "main.c": _C, "cleanup.go": _CLEANUP}


@dataclass(frozen=True, slots=True)
class Running:
    """A program that is blocked in C: its pid, what its Go side said, what its C side said."""

    pid: int
    go: dict[str, Any]
    c: dict[str, int]

    def read(self, address: int, size: int) -> bytes | None:
        """Give memory of the process, or None."""
        try:
            with Path(f"/proc/{self.pid}/mem").open("rb", buffering=0) as memory:
                found = os.pread(memory.fileno(), size, address)
        except (OSError, OverflowError):
            return None
        return found if len(found) == size else None

    def word(self, address: int) -> int:
        """Give 8 bytes of the process as a number."""
        found = self.read(address, 8)
        assert found is not None, hex(address)
        return int.from_bytes(found, "little")

    def bias(self, exe: Path) -> int:
        """Give the lowest address at which the executable is mapped."""
        maps = Path(f"/proc/{self.pid}/maps").read_text(encoding="utf-8").splitlines()
        return min(int(line.split("-")[0], 16) for line in maps if line.endswith(str(exe)))


def go_commands() -> list[str]:
    """Give the Go on the PATH, then those of ``CGOLEAK_GO_ROOTS``: go commands, or their roots."""
    roots = [Path(r) for r in os.environ.get("CGOLEAK_GO_ROOTS", "").split(os.pathsep) if r]
    named = [root / "bin" / "go" if root.is_dir() else root for root in roots]
    candidates = [shutil.which("go"), *(shutil.which(str(path)) for path in named)]
    return list(dict.fromkeys(command for command in candidates if command))


def missing_tools() -> str | None:
    """Say which of Go and a C compiler is missing, for a test's reason to skip."""
    if not go_commands():
        return "no go command on the PATH"
    if not shutil.which("gcc"):
        return "no gcc on the PATH"
    return None


def build_go(
    directory: Path, go: str, sources: Mapping[str, str], flags: Sequence[str] = ()
) -> Path:
    """Compile a package with cgo; the program is called ``prog`` in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        (directory / name).write_text(text, encoding="utf-8")
    (directory / "go.mod").write_text("module prog\n\ngo 1.19\n", encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if k != "GOROOT"}  # every go knows its own
    environment = kept | {
        "CGO_ENABLED": "1",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOWORK": "off",
    }
    subprocess.run(
        [go, "build", "-o", "prog", *flags, "."],
        cwd=directory,
        env=environment,
        check=True,
        capture_output=True,
        timeout=600,
    )
    return directory / "prog"


@contextmanager
def running(
    exe: Path, mode: str = "plain", environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run until the program waits in C; it ends when the block is left."""
    with subprocess.Popen(
        [str(exe), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    ) as process:
        assert process.stdout is not None
        try:
            go = json.loads(process.stdout.readline())
            c = json.loads(process.stdout.readline())
            yield Running(process.pid, go, c)
        finally:
            process.kill()
