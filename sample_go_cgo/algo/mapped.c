#include <string.h>
#include <sys/mman.h>

#include "counters.h"
#include "fault.h"
#include "image.h"

enum { MAPPED = 1 << 16 };

OWN_FRAME static uint8_t *map_tile(void) {
  uint8_t *m = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) return NULL;
  count_alloc(AT_map_tile, MAPPED);
  return m;
}

OWN_FRAME uint64_t mapped_checksum(const struct image *im, uint64_t seq) {
  uint8_t *m = map_tile();
  if (m == NULL) return 0;
  const size_t all = (size_t)im->w * im->h, n = all < MAPPED ? all : MAPPED;
  uint64_t sum = 0;
  memset(m, 1, MAPPED);
  memcpy(m, im->px, n);
  for (size_t i = 0; i < MAPPED; i++) sum += m[i];
  /* The bug: one in four is left mapped. */
  if (fault_on(FAULT_MMAP_LEAK) && seq % 4 == 0) return sum;
  count_free(AT_map_tile, MAPPED);
  munmap(m, MAPPED);
  return sum;
}
