#include "image.h"

#include <stdlib.h>

#include "counters.h"
#include "fault.h"

static size_t image_bytes(uint32_t w, uint32_t h) {
  return sizeof(struct image) + (size_t)w * h;
}

OWN_FRAME struct image *image_new(uint32_t w, uint32_t h) {
  struct image *im = malloc(image_bytes(w, h));
  if (im == NULL) return NULL;
  count_alloc(AT_image_new, image_bytes(w, h));
  im->w = w;
  im->h = h;
  return im;
}

void image_free(struct image *im) {
  if (im == NULL) return;
  count_free(AT_image_new, image_bytes(im->w, im->h));
  free(im);
}
