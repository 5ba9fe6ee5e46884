#include "hammer.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "counters.h"
#include "fault.h"

enum { KINDS = 4 };

static const enum counted at[KINDS] = {AT_hammer_small, AT_hammer_medium, AT_hammer_zeroed,
                                       AT_hammer_grown};

struct kept {
  struct kept *next;
  uint32_t kind;
  uint32_t bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept *all_kept;

/* One thread's part: its counts go to the shared ones at its end, so that the loop shares no cache line. */
struct part {
  struct counts counts[KINDS];
  struct kept *first, *last;
  uint64_t pairs, keep_every;
};

static void born(struct part *p, int kind, size_t bytes) {
  p->counts[kind].allocs++;
  p->counts[kind].alloc_bytes += bytes;
}

static void died(struct part *p, int kind, size_t bytes) {
  p->counts[kind].frees++;
  p->counts[kind].free_bytes += bytes;
}

OWN_FRAME static void *hammer_small(struct part *p, size_t *bytes) {
  void *b = malloc(*bytes = sizeof(struct kept) + (*bytes & 63));
  if (b != NULL) born(p, 0, *bytes);
  return b;
}

OWN_FRAME static void *hammer_medium(struct part *p, size_t *bytes) {
  void *b = malloc(*bytes = 256 + (*bytes & 1023));
  if (b != NULL) born(p, 1, *bytes);
  return b;
}

OWN_FRAME static void *hammer_zeroed(struct part *p, size_t *bytes) {
  *bytes = (1 + (*bytes & 15)) * 24;
  void *b = calloc(*bytes / 24, 24);
  if (b != NULL) born(p, 2, *bytes);
  return b;
}

OWN_FRAME static void *hammer_grown(struct part *p, size_t *bytes) {
  const size_t first = sizeof(struct kept) + (*bytes & 31);
  *bytes = first * 3;
  void *b = malloc(first);
  if (b == NULL) return NULL;
  born(p, 3, first);
  void *bigger = realloc(b, *bytes);
  if (bigger == NULL) abort();
  died(p, 3, first);
  born(p, 3, *bytes);
  return bigger;
}

OWN_FRAME static uint64_t hammer_loop(struct part *p) {
  static void *(*const make[KINDS])(struct part *, size_t *) = {hammer_small, hammer_medium,
                                                                hammer_zeroed, hammer_grown};
  uint64_t seed = 88172645463325252u;
  for (uint64_t i = 0; i < p->pairs; i++) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    const int kind = (int)(seed >> 20 & 3);
    size_t bytes = seed >> 32;
    void *b = make[kind](p, &bytes);
    if (b == NULL) continue;
    if (p->keep_every > 0 && i % p->keep_every == 0) {
      struct kept *k = b;
      *k = (struct kept){p->first, (uint32_t)kind, (uint32_t)bytes};
      p->first = k;
      if (p->last == NULL) p->last = k;
    } else {
      died(p, kind, bytes);
      free(b);
    }
  }
  return seed;
}

/* depth frames, and the loop below the last. */
OWN_FRAME static uint64_t hammer_deep(struct part *p, unsigned depth) {
  const uint64_t got = depth == 0 ? hammer_loop(p) : hammer_deep(p, depth - 1);
  KEEP_FRAME();
  return got;
}

OWN_FRAME uint64_t hammer_run(uint64_t pairs, unsigned depth, uint64_t keep_every) {
  struct timespec from, to;
  struct part p = {.pairs = pairs, .keep_every = keep_every};
  clock_gettime(CLOCK_MONOTONIC, &from);
  hammer_deep(&p, depth);
  clock_gettime(CLOCK_MONOTONIC, &to);
  for (int kind = 0; kind < KINDS; kind++) count_many(at[kind], &p.counts[kind]);
  if (p.last != NULL) {
    pthread_mutex_lock(&lock);
    p.last->next = all_kept;
    all_kept = p.first;
    pthread_mutex_unlock(&lock);
  }
  return (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000u + (uint64_t)to.tv_nsec - (uint64_t)from.tv_nsec;
}

void hammer_release(void) {
  pthread_mutex_lock(&lock);
  struct kept *k = all_kept;
  all_kept = NULL;
  pthread_mutex_unlock(&lock);
  while (k != NULL) {
    struct kept *next = k->next;
    count_free(at[k->kind], k->bytes);
    free(k);
    k = next;
  }
}
