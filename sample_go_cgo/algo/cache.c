#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "fault.h"
#include "keep.h"

enum { ENTRIES = 4000, ENTRY = 4096 };

struct entry {
  uint64_t key;
  uint8_t sample[ENTRY - sizeof(uint64_t)];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *table[ENTRIES];

OWN_FRAME static struct entry *cache_entry_new(uint64_t key) {
  struct entry *e = malloc(sizeof *e);
  if (e == NULL) return NULL;
  count_alloc(AT_cache_entry_new, sizeof *e);
  e->key = key;
  return e;
}

OWN_FRAME static void cache_store(uint64_t key, const uint8_t *body, size_t len) {
  struct entry **at = &table[key % ENTRIES];
  if (*at == NULL) *at = cache_entry_new(key);
  if (*at == NULL) return;
  (*at)->key = key;
  memset((*at)->sample, 0, sizeof (*at)->sample);
  memcpy((*at)->sample, body, len < sizeof (*at)->sample ? len : sizeof (*at)->sample);
}

OWN_FRAME void cache_remember(uint64_t key, const uint8_t *body, size_t len) {
  pthread_mutex_lock(&lock);
  cache_store(key, body, len);
  pthread_mutex_unlock(&lock);
}
