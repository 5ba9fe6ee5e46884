#include "plugin.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "fault.h"

typedef void apply_fn(uint8_t *px, uint32_t w, uint32_t h, int forgetful);
typedef const char *counted_fn(int at, uint64_t *counts);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(apply_fn *) apply;
static counted_fn *counted; /* set before apply */

const char *plugin_load(const char *path) {
  const char *why = NULL;
  pthread_mutex_lock(&lock);
  if (atomic_load(&apply) == NULL) {
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    apply_fn *found = lib == NULL ? NULL : (apply_fn *)dlsym(lib, "watermark_apply");
    counted = lib == NULL ? NULL : (counted_fn *)dlsym(lib, "watermark_counted");
    if (found == NULL || counted == NULL)
      why = dlerror();
    else
      atomic_store(&apply, found);
  }
  pthread_mutex_unlock(&lock);
  return why;
}

OWN_FRAME bool plugin_apply(struct image *im) {
  apply_fn *f = atomic_load(&apply);
  if (f == NULL) return false;
  f(im->px, im->w, im->h, fault_on(FAULT_DLOPEN_LEAK));
  KEEP_FRAME();
  return true;
}

const char *plugin_counted(int at, struct counts *to) {
  uint64_t four[4];
  const char *name = atomic_load(&apply) == NULL ? NULL : counted(at, four);
  if (name != NULL) *to = (struct counts){four[0], four[1], four[2], four[3]};
  return name;
}
