#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "fault.h"
#include "image.h"

enum { BANDS = 16 };

struct histogram {
  uint32_t bins[BANDS][256];
};

OWN_FRAME struct histogram *histogram_new(void) {
  struct histogram *h = malloc(sizeof *h);
  if (h == NULL) return NULL;
  count_alloc(AT_histogram_new, sizeof *h);
  memset(h, 0, sizeof *h);
  return h;
}

static void histogram_free(struct histogram *h) {
  count_free(AT_histogram_new, sizeof *h);
  free(h);
}

/* Inlined into image_analyse: a stack shows it as an inlined frame. */
static inline __attribute__((always_inline)) struct histogram *scan_bands(const struct image *im) {
  struct histogram *h = histogram_new();
  if (h == NULL) return NULL;
  for (uint32_t y = 0; y < im->h; y++)
    for (uint32_t x = 0; x < im->w; x++)
      h->bins[(uint64_t)y * BANDS / im->h][im->px[(size_t)y * im->w + x]]++;
  return h;
}

OWN_FRAME unsigned image_analyse(const struct image *im, uint64_t seq) {
  struct histogram *h = scan_bands(im);
  if (h == NULL) return 0;
  uint64_t sum = 0;
  for (int band = 0; band < BANDS; band++)
    for (unsigned v = 0; v < 256; v++) sum += (uint64_t)h->bins[band][v] * v;
  const unsigned mean = (unsigned)(sum / ((uint64_t)im->w * im->h));
  /* The bug: an early return for "flat" pictures, one in four, that forgets the histogram. */
  if (fault_on(FAULT_C_LEAK) && seq % 4 == 0) return mean;
  histogram_free(h);
  return mean;
}
