#include <stdlib.h>

#include "counters.h"
#include "fault.h"
#include "image.h"

OWN_FRAME static uint32_t *row_sums_new(uint32_t w) {
  uint32_t *sums = calloc(w, sizeof *sums);
  if (sums != NULL) count_alloc(AT_row_sums_new, w * sizeof *sums);
  return sums;
}

static void row_sums_free(uint32_t *sums, uint32_t w) {
  count_free(AT_row_sums_new, w * sizeof *sums);
  free(sums);
}

/* The mean of the source pixels under each pixel of a row of the thumbnail. */
static void scale_row(const struct image *im, struct image *to, uint32_t y) {
  uint32_t *sums = row_sums_new(to->w);
  if (sums == NULL) return;
  const uint32_t y0 = (uint32_t)((uint64_t)y * im->h / to->h);
  const uint32_t y1 = (uint32_t)((uint64_t)(y + 1) * im->h / to->h);
  for (uint32_t x = 0; x < to->w; x++) {
    const uint32_t x0 = (uint32_t)((uint64_t)x * im->w / to->w);
    const uint32_t x1 = (uint32_t)((uint64_t)(x + 1) * im->w / to->w);
    uint32_t n = 0;
    for (uint32_t sy = y0; sy < y1; sy++)
      for (uint32_t sx = x0; sx < x1; sx++, n++) sums[x] += im->px[(size_t)sy * im->w + sx];
    to->px[(size_t)y * to->w + x] = (uint8_t)(n == 0 ? 0 : sums[x] / n);
  }
  row_sums_free(sums, to->w);
}

OWN_FRAME struct image *scale_to_fit(const struct image *im, uint32_t box) {
  const uint32_t longest = im->w > im->h ? im->w : im->h;
  const uint32_t side = longest < box ? longest : box;
  uint32_t w = (uint32_t)((uint64_t)im->w * side / longest);
  uint32_t h = (uint32_t)((uint64_t)im->h * side / longest);
  struct image *to = image_new(w > 0 ? w : 1, h > 0 ? h : 1);
  if (to == NULL) return NULL;
  for (uint32_t y = 0; y < to->h; y++) scale_row(im, to, y);
  return to;
}
