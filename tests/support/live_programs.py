"""Small Go programs with C, each for one question of the live tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ASKED",
    "EARLY",
    "EXEC",
    "HALF_LOADED",
    "LOSING",
    "OBEY",
    "OWN_MALLOC",
    "PLUGGING",
    "build_library",
    "build_program",
]

_BLOCKS_C: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *kept[64];

__attribute__((noinline)) void in_constructor(void) { kept[0] = malloc(4321); }
__attribute__((noinline)) void in_go_init(void) { kept[1] = malloc(1234); }
__attribute__((noinline)) void in_main(int i) { kept[2 + i] = calloc(1, 777); }

__attribute__((constructor)) static void constructor(void) { in_constructor(); }

void die_of_segv(void) {
	signal(SIGSEGV, SIG_DFL);
	*(volatile int *)0 = 1;
}
"""

_OBEY: Final = Path(__file__).with_name("obey") / "obey.go"
OBEY: Final = {"obey/obey.go": _OBEY.read_text(encoding="utf-8")}
"""A package of a program that is asked, by lines, which of its functions to call."""

EARLY: Final[Mapping[str, str]] = {
    "blocks.c": _BLOCKS_C,
    "main.go": r"""
package main

// void in_go_init(void);
// void in_main(int i);
// void die_of_segv(void);
import "C"

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
)

func init() { C.in_go_init() }

func main() {
	for i := 0; i < 5; i++ {
		C.in_main(C.int(i))
	}
	fmt.Println("words of the command")
	_, _ = io.Copy(os.Stdout, os.Stdin)
	switch how := os.Args[1]; how {
	case "sigkill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "sigsegv":
		C.die_of_segv()
	case "panic":
		panic("meant")
	default:
		status, _ := strconv.Atoi(how)
		os.Exit(status)
	}
}
""",
}
"""Allocates in a constructor, in init and in main; says what it is given; ends as it is told."""

PLUGGING: Final[Mapping[str, str]] = {
    "plug.c": r"""
#include <dlfcn.h>
#include <stdlib.h>
#include <stdio.h>

typedef void *make_fn(unsigned long);

/* One round: load, allocate twice, free one of them; the other is kept; unload. */
int plug(const char *path) {
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) return 1;
	make_fn *make = (make_fn *)dlsym(library, "plugged_new");
	if (make == NULL) return 2;
	free(make(100));
	if (make(60) == NULL) return 3;
	return dlclose(library) == 0 ? 0 : 4;
}
""",
    "main.go": r"""
package main

// #cgo LDFLAGS: -ldl
// int plug(const char *path);
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
)

func main() {
	path := C.CString(os.Args[1])
	lines := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for lines.Scan() {
		rounds, _ := strconv.Atoi(lines.Text())
		for i := 0; i < rounds; i++ {
			if why := C.plug(path); why != 0 {
				fmt.Println("failed", why)
				return
			}
		}
		fmt.Println("done", rounds)
	}
}
""",
}
"""For every line with a number: as many rounds of dlopen and dlclose of the library given."""

HALF_LOADED: Final[Mapping[str, str]] = {
    "half.c": r"""
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

/* As the loader has it for a moment: mapped, bound, and all data closed. */
char *map_half(const char *path, unsigned long slot) {
	int fd = open(path, O_RDONLY);
	Elf64_Ehdr *header = mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	Elf64_Phdr *part = (Elf64_Phdr *)((char *)header + header->e_phoff);
	char *base = mmap(0, 1 << 20, PROT_READ, MAP_PRIVATE, fd, 0);
	for (int i = 0; i < header->e_phnum; i++) {
		unsigned long low = part[i].p_vaddr & ~4095ul;
		if (part[i].p_type != PT_LOAD) continue;
		int rights = part[i].p_flags & PF_W ? PROT_READ | PROT_WRITE
			: part[i].p_flags & PF_X ? PROT_READ | PROT_EXEC : PROT_READ;
		mmap(base + low, part[i].p_vaddr + part[i].p_filesz - low, rights,
			MAP_PRIVATE | MAP_FIXED, fd, part[i].p_offset & ~4095ul);
	}
	*(uintptr_t *)(base + slot) = (uintptr_t)malloc;
	mprotect(base + (slot & ~4095ul), 4096, PROT_READ);
	return base;
}
""",
    "main.go": r"""
package main

// #include <stdlib.h>
// char *map_half(const char *path, unsigned long slot);
import "C"

import (
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"
)

func main() {
	slot, _ := strconv.ParseUint(os.Args[2], 10, 64)
	fmt.Println(uintptr(unsafe.Pointer(C.map_half(C.CString(os.Args[1]), C.ulong(slot)))))
	for {
		C.free(C.malloc(100))
		time.Sleep(time.Millisecond)
	}
}
""",
}
"""Has a library mapped as it is in mid-load, its slot of malloc at the place given."""

PLUGGED_C: Final = """
#include <stdlib.h>
void *plugged_new(unsigned long n) {
	void *made = malloc(n);
	__asm__ volatile("" : : "r"(made) : "memory");
	return made;
}
"""

EXEC: Final[Mapping[str, str]] = {
    "main.go": r"""
package main

/*
#include <stdlib.h>
static void *some(void) { return malloc(100); }
*/
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"syscall"
)

func main() {
	fmt.Println("ready", len(os.Args))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		C.some()
		if lines.Text() == "exec" {
			_ = syscall.Exec("/proc/self/exe", []string{os.Args[0], "again"}, os.Environ())
		}
		fmt.Println("did", lines.Text())
	}
}
""",
}
"""Leaves a block behind for every line; becomes itself anew when the line says so."""


LOSING: Final[Mapping[str, str]] = {
    "losing.c": r"""
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) void *make_record(unsigned size) {
	char *record = malloc(size);
	if (record) memset(record, 1, size);
	return record;
}

void lose(void) { static void *volatile last; last = make_record(1000); }
void use(void) { free(make_record(700)); }
void use_aligned(void) {
	void *block = NULL;
	if (posix_memalign(&block, 64, 700) == 0) free(block);
	free(aligned_alloc(64, 704));
	free(memalign(32, 100));
}
""",
    "main.go": r"""
package main

// void lose(void);
// void use(void);
// void use_aligned(void);
import "C"

import (
	"fmt"
	"time"
)

func main() {
	fmt.Println("running")
	for i := 0; i < 12000; i++ {
		for j := 0; j < 20; j++ {
			C.use()
		}
		if i > 1000 {
			C.use_aligned()
		}
		C.lose()
		time.Sleep(5 * time.Millisecond)
	}
}
""",
}
"""Loses a block of 1,000 bytes every 5 ms; a minute long.

After five seconds it calls functions for the first time that nothing was bound to before.
"""


OWN_MALLOC: Final = (Path(__file__).parent / "own_malloc.c").read_text(encoding="utf-8")
"""A malloc to be linked into a program."""

ASKED: Final[Mapping[str, str]] = {
    "asked.c": r"""
#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *volatile last;

__attribute__((noinline)) char *make_record(unsigned size) {
	char *record = malloc(size);
	if (record) memset(record, 1, size);
	return record;
}

__attribute__((noinline)) void *make_table(void) { return calloc(10, 70); }
/* Nothing comes after the call: compilers jump. */
__attribute__((noinline)) void drop(void *block) { free(block); }

void lose(void) { last = make_record(1000); }

/* Every way to allocate, from the program and from libraries, and all of it is given back. */
void use(void) {
	drop(make_record(700));
	drop(make_table());
	char *grown = realloc(make_record(50), 5000);
	grown[0] = 'x';
	grown[1] = 0;
	drop(strdup(grown)); /* allocated by libc, freed here */
	char *line = grown;
	size_t room = 5000;
	FILE *file = fopen("/proc/self/cmdline", "r");
	if (file != NULL) {
		while (getdelim(&line, &room, 0, file) > 0) { } /* grown by libc */
		fclose(file);
	}
	free(line);
	void *block = NULL;
	if (posix_memalign(&block, 64, 700) == 0) free(block);
	free(aligned_alloc(64, 704));
	free(memalign(32, 100));
}
""",
    "main.go": r"""
package main

// void lose(void);
// void use(void);
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
)

func give(lose, use int) {
	for i := 0; i < lose; i++ {
		C.lose()
	}
	for i := 0; i < use; i++ {
		C.use()
	}
}

func main() {
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var lose, use int
		fmt.Sscan(lines.Text(), &lose, &use)
		give(lose, use)
		fmt.Println("did", strconv.Itoa(lose), strconv.Itoa(use))
	}
}
""",
}
"""Loses and uses as many blocks as each line says: two numbers."""


def build_program(
    folder: Path,
    go: str,
    sources: Mapping[str, str],
    *flags: str,
    compiler: str | None = None,
    cflags: str = "",
    ldflags: str = "",
) -> Path:
    """Build a program with cgo; it is called ``prog``.

    ``cflags`` and ``ldflags`` go to the C compiler.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "go.mod").write_text("module example.org/prog\n\ngo 1.19\n", encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if k not in {"GOROOT", "GOFLAGS"}}
    settings = {"CGO_ENABLED": "1", "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOWORK": "off"}
    if compiler is not None:
        settings["CC"] = compiler
    done = subprocess.run(
        [go, "build", "-buildvcs=false", "-o", "prog", *flags, "."],
        cwd=folder,
        env=kept | settings | {"CGO_CFLAGS": f"-O2 -g {cflags}", "CGO_LDFLAGS": ldflags},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder / "prog"


def build_library(folder: Path) -> Path:
    """Build the library that ``PLUGGING`` loads."""
    source, library = folder / "plugged.c", folder / "libplugged.so"
    source.write_text(PLUGGED_C, encoding="utf-8")
    subprocess.run(
        ["gcc", "-O2", "-g", "-fPIC", "-shared", "-o", library, source], check=True, timeout=60
    )
    return library
