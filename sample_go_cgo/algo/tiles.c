#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "fault.h"
#include "image.h"

enum { TILE = 4096, LINE = 64 };

OWN_FRAME static uint8_t *tile_new_posix(void) {
  void *tile = NULL;
  if (posix_memalign(&tile, LINE, TILE) != 0) return NULL;
  count_alloc(AT_tile_new_posix, TILE);
  return tile;
}

OWN_FRAME static uint8_t *tile_new_c11(void) {
  uint8_t *tile = aligned_alloc(LINE, TILE);
  if (tile != NULL) count_alloc(AT_tile_new_c11, TILE);
  return tile;
}

OWN_FRAME static uint8_t *tile_new_memalign(void) {
  uint8_t *tile = memalign(TILE, TILE);
  if (tile != NULL) count_alloc(AT_tile_new_memalign, TILE);
  return tile;
}

static void tile_free(enum counted at, uint8_t *tile) {
  if (tile == NULL) return;
  count_free(at, TILE);
  free(tile);
}

OWN_FRAME static uint64_t tile_sum(uint8_t *tile, const struct image *im) {
  const size_t all = (size_t)im->w * im->h, n = all < TILE ? all : TILE;
  uint64_t sum = 0;
  if (tile == NULL) return 0;
  memcpy(tile, im->px, n);
  for (size_t i = 0; i < n; i++) sum += tile[i];
  return sum;
}

OWN_FRAME uint64_t tiles_checksum(const struct image *im) {
  uint8_t *a = tile_new_posix(), *b = tile_new_c11(), *c = tile_new_memalign();
  const uint64_t sum = tile_sum(a, im) + tile_sum(b, im) + tile_sum(c, im);
  /* The bug: these were once a static array, and nobody wrote the free when they moved to the heap. */
  if (fault_on(FAULT_ALIGNED_LEAK)) return sum;
  tile_free(AT_tile_new_posix, a);
  tile_free(AT_tile_new_c11, b);
  tile_free(AT_tile_new_memalign, c);
  return sum;
}
