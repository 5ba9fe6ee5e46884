/* Sharpening runs on threads that the module makes for itself: no Go frame is on their stacks. */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "fault.h"
#include "image.h"

enum { SHARPENERS = 2, SCRATCH = 8192 };

struct job {
  struct image *im;
  bool done;
  struct job *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t submitted = PTHREAD_COND_INITIALIZER, finished = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct job *queue;
static int sharpeners;

OWN_FRAME static uint8_t *job_scratch_new(void) {
  uint8_t *s = malloc(SCRATCH);
  if (s != NULL) count_alloc(AT_job_scratch_new, SCRATCH);
  return s;
}

OWN_FRAME static void sharpen_job(struct job *j) {
  uint8_t *before = job_scratch_new();
  if (before == NULL) return;
  const size_t all = (size_t)j->im->w * j->im->h, n = all < SCRATCH ? all : SCRATCH;
  memcpy(before, j->im->px, n);
  for (size_t i = 1; i + 1 < n; i++) {
    const int v = 3 * before[i] - before[i - 1] - before[i + 1];
    j->im->px[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
  }
  if (fault_on(FAULT_THREAD_LEAK)) return; /* The bug. */
  count_free(AT_job_scratch_new, SCRATCH);
  free(before);
}

OWN_FRAME static void *sharpener_main(void *unused) {
  (void)unused;
  pthread_mutex_lock(&lock);
  for (;;) {
    while (queue == NULL) pthread_cond_wait(&submitted, &lock);
    struct job *j = queue;
    queue = j->next;
    pthread_mutex_unlock(&lock);
    sharpen_job(j);
    pthread_mutex_lock(&lock);
    j->done = true;
    pthread_cond_broadcast(&finished);
  }
  return NULL;
}

static void start_sharpeners(void) {
  sigset_t all, old;
  sigfillset(&all); /* Signals are for Go's own threads. */
  pthread_sigmask(SIG_SETMASK, &all, &old);
  for (int i = 0; i < SHARPENERS; i++) {
    pthread_t t;
    if (pthread_create(&t, NULL, sharpener_main, NULL) != 0) continue;
    pthread_detach(t);
    sharpeners++;
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void image_sharpen(struct image *im) {
  struct job j = {im, false, NULL};
  pthread_once(&once, start_sharpeners);
  if (sharpeners == 0) return;
  pthread_mutex_lock(&lock);
  j.next = queue;
  queue = &j;
  pthread_cond_signal(&submitted);
  while (!j.done) pthread_cond_wait(&finished, &lock);
  pthread_mutex_unlock(&lock);
}
