#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "fault.h"
#include "keep.h"

enum { MOST_THREADS = 32 };

struct plan {
  unsigned blocks, keep_every;
  size_t bytes;
  pthread_barrier_t *all_here;
};

/* Blocks hold the list themselves, so that the storm allocates nothing but its blocks. */
struct block {
  struct block *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *kept;

OWN_FRAME static struct block *storm_block_new(size_t bytes, struct block *next) {
  struct block *b = malloc(bytes);
  if (b == NULL) return NULL;
  count_alloc(AT_storm_block_new, bytes);
  memset(b, 1, bytes);
  b->next = next;
  return b;
}

OWN_FRAME static struct block *storm_fill(const struct plan *p) {
  struct block *all = NULL;
  for (unsigned i = 0; i < p->blocks; i++) {
    struct block *b = storm_block_new(p->bytes, all);
    if (b == NULL) break;
    all = b;
  }
  return all;
}

/* Keeps the first (which is the topmost in its arena) and every keep_every-th: malloc can give nothing back. */
OWN_FRAME static void storm_thin_out(const struct plan *p, struct block *all) {
  for (unsigned i = 0; all != NULL; i++) {
    struct block *b = all;
    all = b->next;
    if (i % p->keep_every == 0) {
      pthread_mutex_lock(&lock);
      b->next = kept;
      kept = b;
      pthread_mutex_unlock(&lock);
    } else {
      count_free(AT_storm_block_new, p->bytes);
      free(b);
    }
  }
}

/* All threads are there before the first block, so that each has an arena of its own. */
static void *storm_main(void *plan) {
  const struct plan *p = plan;
  pthread_barrier_wait(p->all_here);
  struct block *all = storm_fill(p);
  pthread_barrier_wait(p->all_here);
  storm_thin_out(p, all);
  return NULL;
}

void storm_run(unsigned threads, unsigned blocks, size_t bytes, unsigned keep_every) {
  pthread_t running[MOST_THREADS];
  pthread_barrier_t all_here;
  struct plan p = {blocks, keep_every > 0 ? keep_every : 1, bytes, &all_here};
  sigset_t all, old;
  if (threads == 0) return;
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  if (pthread_barrier_init(&all_here, NULL, threads) != 0) return;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  for (unsigned i = 0; i < threads; i++)
    if (pthread_create(&running[i], NULL, storm_main, &p) != 0) abort(); /* The others would wait for ever. */
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  for (unsigned i = 0; i < threads; i++) pthread_join(running[i], NULL);
  pthread_barrier_destroy(&all_here);
}
