#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "fault.h"
#include "keep.h"

enum { NOTE = 64, BLOB = 256 << 10 };

struct texture {
  size_t bytes;
  uint8_t px[];
};

/* Reachable for ever and never read again: a leak that no search for lost pointers finds. */
struct link {
  struct link *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct link *notes, *blobs;

static void remember(struct link **list, void *block) {
  struct link *l = block;
  pthread_mutex_lock(&lock);
  l->next = *list;
  *list = l;
  pthread_mutex_unlock(&lock);
}

OWN_FRAME struct texture *texture_new(size_t bytes) {
  struct texture *t = malloc(sizeof *t + bytes);
  if (t == NULL) return NULL;
  count_alloc(AT_texture_new, sizeof *t + bytes);
  t->bytes = bytes;
  memset(t->px, 1, bytes);
  return t;
}

void texture_free(struct texture *t) {
  if (t == NULL) return;
  count_free(AT_texture_new, sizeof *t + t->bytes);
  free(t);
}

OWN_FRAME static void *session_note_new(void) {
  void *n = malloc(NOTE);
  if (n == NULL) return NULL;
  count_alloc(AT_session_note_new, NOTE);
  return memset(n, 1, NOTE);
}

OWN_FRAME static void *session_blob_new(const uint8_t *body, size_t len) {
  uint8_t *b = malloc(BLOB);
  if (b == NULL) return NULL;
  count_alloc(AT_session_blob_new, BLOB);
  memset(b, 1, BLOB);
  memcpy(b, body, len < BLOB ? len : BLOB);
  return b;
}

OWN_FRAME void session_tick(void) {
  void *n = session_note_new();
  if (n != NULL) remember(&notes, n);
}

OWN_FRAME void session_open(const uint8_t *body, size_t len) {
  void *b = session_blob_new(body, len);
  if (b != NULL) remember(&blobs, b);
}
