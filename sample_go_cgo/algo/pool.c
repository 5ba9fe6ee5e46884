#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "counters.h"
#include "fault.h"
#include "keep.h"

enum { SLAB = 32 << 10, FEWEST = 20, MOST = 220, PERIOD_MS = 6000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *slabs[MOST];
static unsigned in_pool;

OWN_FRAME static uint8_t *pool_slab_new(void) {
  uint8_t *s = malloc(SLAB);
  if (s == NULL) return NULL;
  count_alloc(AT_pool_slab_new, SLAB);
  memset(s, 1, SLAB);
  return s;
}

/* Up and down again once in a period, between FEWEST and MOST. */
static unsigned demand_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  const unsigned ms = (unsigned)(((uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000) % PERIOD_MS);
  const unsigned up = ms < PERIOD_MS / 2 ? ms : PERIOD_MS - ms;
  return FEWEST + (MOST - FEWEST) * up / (PERIOD_MS / 2);
}

OWN_FRAME static void pool_resize(unsigned want) {
  while (in_pool < want) {
    uint8_t *s = pool_slab_new();
    if (s == NULL) return;
    slabs[in_pool++] = s;
  }
  while (in_pool > want) {
    count_free(AT_pool_slab_new, SLAB);
    free(slabs[--in_pool]);
  }
}

OWN_FRAME void pool_follow_demand(void) {
  pthread_mutex_lock(&lock);
  pool_resize(demand_now());
  pthread_mutex_unlock(&lock);
}
