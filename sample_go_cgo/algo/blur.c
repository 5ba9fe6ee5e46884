#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "fault.h"
#include "image.h"

enum { TAPS = 5 };

OWN_FRAME static uint8_t *blur_row_new(uint32_t w) {
  uint8_t *row = malloc(w);
  if (row != NULL) count_alloc(AT_blur_row_new, w);
  return row;
}

OWN_FRAME static uint16_t *blur_kernel_new(void) {
  uint16_t *k = malloc(TAPS * sizeof *k);
  if (k == NULL) return NULL;
  count_alloc(AT_blur_kernel_new, TAPS * sizeof *k);
  for (int i = 0; i < TAPS; i++) k[i] = (uint16_t)(1U << (i < 3 ? i : 4 - i));
  return k;
}

OWN_FRAME static void blur_row(struct image *im, uint32_t y, const uint16_t *kernel) {
  uint8_t *from = blur_row_new(im->w), *to = im->px + (size_t)y * im->w;
  if (from == NULL) return;
  memcpy(from, to, im->w);
  for (uint32_t x = 2; x + 2 < im->w; x++) {
    unsigned sum = 0;
    for (unsigned i = 0; i < TAPS; i++) sum += kernel[i] * from[x + i - 2];
    to[x] = (uint8_t)(sum / 10);
  }
  count_free(AT_blur_row_new, im->w);
  free(from);
}

OWN_FRAME void image_blur(struct image *im, unsigned passes) {
  for (unsigned pass = 0; pass < passes; pass++) {
    uint16_t *kernel = blur_kernel_new();
    if (kernel == NULL) return;
    for (uint32_t y = 0; y < im->h; y++) blur_row(im, y, kernel);
    count_free(AT_blur_kernel_new, TAPS * sizeof *kernel);
    free(kernel);
  }
}
