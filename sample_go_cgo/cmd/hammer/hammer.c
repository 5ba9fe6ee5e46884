#include "hammer.h"

#include <stdlib.h>
#include <time.h>

#if defined(__clang__)
#define OWN_FRAME __attribute__((noinline))
#else
#define OWN_FRAME __attribute__((noipa))
#endif

OWN_FRAME static uint64_t pound_loop(uint64_t pairs, uint64_t bytes) {
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (uint64_t i = 0; i < pairs; i++) {
    const uint64_t n = bytes > 0 ? bytes : 16 + ((i * 2654435761u) >> 7 & 1007);
    char *volatile b = malloc(n); /* volatile: or the pair would be optimised away. */
    if (b != NULL) *b = 1;
    free(b);
  }
  clock_gettime(CLOCK_MONOTONIC, &to);
  return (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000u + (uint64_t)to.tv_nsec - (uint64_t)from.tv_nsec;
}

OWN_FRAME static uint64_t pound_deep(uint64_t pairs, unsigned depth, uint64_t bytes) {
  const uint64_t took =
      depth == 0 ? pound_loop(pairs, bytes) : pound_deep(pairs, depth - 1, bytes);
  __asm__ volatile("" ::: "memory"); /* Keeps this frame. */
  return took;
}

OWN_FRAME uint64_t pound(uint64_t pairs, unsigned depth, uint64_t bytes) {
  const uint64_t took = pound_deep(pairs, depth, bytes);
  __asm__ volatile("" ::: "memory");
  return took;
}
