#include "counters.h"

#include <stdalign.h>
#include <stdatomic.h>

/* One cache line each: the counted functions run on many threads. */
struct slot {
  alignas(64) _Atomic uint64_t allocs;
  _Atomic uint64_t alloc_bytes, frees, free_bytes;
};

static struct slot slots[COUNTED_TOTAL];

static const char *const names[COUNTED_TOTAL] = {
#define X(id, name) [AT_##id] = (name),
    COUNTED_FUNCTIONS(X)
#undef X
};

static void add(_Atomic uint64_t *to, uint64_t n) {
  atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

void count_alloc(enum counted at, size_t bytes) {
  add(&slots[at].allocs, 1);
  add(&slots[at].alloc_bytes, bytes);
}

void count_free(enum counted at, size_t bytes) {
  add(&slots[at].frees, 1);
  add(&slots[at].free_bytes, bytes);
}

void count_many(enum counted at, const struct counts *more) {
  add(&slots[at].allocs, more->allocs);
  add(&slots[at].alloc_bytes, more->alloc_bytes);
  add(&slots[at].frees, more->frees);
  add(&slots[at].free_bytes, more->free_bytes);
}

const char *counted_name(int at) { return at >= 0 && at < COUNTED_TOTAL ? names[at] : NULL; }

struct counts counted_read(int at) {
  struct counts now = {0, 0, 0, 0};
  if (at < 0 || at >= COUNTED_TOTAL) return now;
  /* Frees first: read in the middle of the traffic, the outstanding number may be too high, never negative. */
  now.frees = atomic_load(&slots[at].frees);
  now.free_bytes = atomic_load(&slots[at].free_bytes);
  now.allocs = atomic_load(&slots[at].allocs);
  now.alloc_bytes = atomic_load(&slots[at].alloc_bytes);
  return now;
}
