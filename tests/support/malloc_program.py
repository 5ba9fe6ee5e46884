"""A C program that fills malloc's arenas from many threads and says what malloc says of itself."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

from support.live import Program
from support.native_build import tool

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MallocProgram", "build_malloc_program"]

_SOURCE: Final = r"""
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BLOCKS = 8000, THREADS = 8 };
static pthread_barrier_t filled, parked;
static void *kept[THREADS + 1][BLOCKS];

/* Sizes of all kinds; two in three are freed again, so that chunks coalesce and bins fill. */
static void fill(void **block, unsigned seed, int largest) {
  for (int i = 0; i < BLOCKS; i++) {
    size_t size = 1 + rand_r(&seed) % largest;
    block[i] = malloc(size);
    memset(block[i], 1, size);
  }
  for (int i = 0; i < BLOCKS; i++)
    if (rand_r(&seed) % 3) { free(block[i]); block[i] = NULL; }
}

static void *thread_main(void *arg) {
  long n = (long)arg;
  fill(kept[n], n, n % 2 ? 200 : 2000);
  pthread_barrier_wait(&filled);
  pthread_barrier_wait(&parked);
  return NULL;
}

/* One system call, and no malloc between the question and the answer. */
static void say(void) {
  static char text[256];
  struct mallinfo2 m = mallinfo2();
  int n = snprintf(text, sizeof text, "%zu %zu %zu %zu\n", m.arena, m.fordblks, m.uordblks,
                   m.hblkhd);
  if (write(1, text, n) != n) _exit(3);
}

int main(void) {
  static char word[16];
  pthread_t threads[THREADS];
  pthread_barrier_init(&filled, NULL, THREADS + 1);
  pthread_barrier_init(&parked, NULL, THREADS + 1);
  void *large[3], *small[7], *untouched = NULL;
  for (long n = 0; n < THREADS; n++)
    if (pthread_create(&threads[n], NULL, thread_main, (void *)(n + 1))) return 2;
  fill(kept[0], 99, 500);
  for (int i = 0; i < 3; i++) large[i] = memset(malloc(1 << 20), 1, 1 << 20);
  pthread_barrier_wait(&filled);
  say();
  while (read(0, word, sizeof word) > 0) {
    if (word[0] == 'm') {
      for (int i = 0; i < 7; i++) small[i] = malloc(1000);  /* no more are cached of this size */
    } else if (word[0] == 'c') {
      for (int i = 0; i < 5; i++) free(small[i]);
    } else if (word[0] == 't') {  /* give the kernel what is free */
      malloc_trim(0);
    } else if (word[0] == 'l') {
      for (int i = 0; i < 3; i++) free(large[i]);
    } else if (word[0] == 'f') {
      for (int n = 0; n <= THREADS; n++)
        for (int i = 0; i < BLOCKS; i++) { free(kept[n][i]); kept[n][i] = NULL; }
    } else if (word[0] == 'u') {
      mallopt(M_MMAP_THRESHOLD, 64 << 20);
      untouched = malloc(32 << 20);
    }
    say();
  }
  return untouched != NULL && large[0] == NULL;
}
"""


class Said:
    """What ``mallinfo2`` says of all arenas; bytes."""

    def __init__(self, line: str) -> None:
        self.system, self.free, self.in_use, self.mapped = map(int, line.split())


class MallocProgram(Program):
    """The program, its threads filled and parked, waiting for a letter."""

    def __init__(self, program: Path, tunables: str = "") -> None:
        super().__init__([program], environment={"GLIBC_TUNABLES": tunables} if tunables else {})
        self.said = Said(self.line())

    def ask(self, letter: str) -> Said:
        self.say(letter)
        self.said = Said(self.line())
        return self.said


def build_malloc_program(folder: Path) -> Path:
    source, program = folder / "fills.c", folder / "fills"
    source.write_text(_SOURCE)
    subprocess.run(
        [tool("cc"), "-O1", "-g0", str(source), "-o", str(program), "-pthread"],
        check=True,
        timeout=60,
    )
    return program
