/* libwatermark.so: what the worker loads with dlopen some seconds into its life. Knows nothing of the worker. */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__clang__)
#define OWN_FRAME __attribute__((noinline))
#else
#define OWN_FRAME __attribute__((noipa))
#endif

enum { MASK_W = 96, MASK_H = 85, MASK = MASK_W * MASK_H };

static _Atomic uint64_t allocs, alloc_bytes, frees, free_bytes;

OWN_FRAME static uint8_t *watermark_mask_new(void) {
  uint8_t *mask = calloc(MASK_W, MASK_H);
  if (mask == NULL) return NULL;
  atomic_fetch_add(&allocs, 1);
  atomic_fetch_add(&alloc_bytes, MASK);
  return mask;
}

static void watermark_mask_free(uint8_t *mask) {
  atomic_fetch_add(&frees, 1);
  atomic_fetch_add(&free_bytes, MASK);
  free(mask);
}

OWN_FRAME static void watermark_blend(uint8_t *px, uint32_t w, uint32_t h, int forgetful) {
  uint8_t *mask = watermark_mask_new();
  if (mask == NULL) return;
  for (uint32_t i = 0; i < MASK_W && i < MASK_H; i++) mask[i * MASK_W + i] = 200;
  for (uint32_t y = 0; y < h && y < MASK_H; y++)
    for (uint32_t x = 0; x < w && x < MASK_W; x++) px[(size_t)y * w + x] |= mask[y * MASK_W + x];
  if (forgetful) return; /* The bug. */
  watermark_mask_free(mask);
}

void watermark_apply(uint8_t *px, uint32_t w, uint32_t h, int forgetful);
const char *watermark_counted(int at, uint64_t *four);

OWN_FRAME void watermark_apply(uint8_t *px, uint32_t w, uint32_t h, int forgetful) {
  watermark_blend(px, w, h, forgetful);
  __asm__ volatile("" ::: "memory"); /* Keeps this frame. */
}

const char *watermark_counted(int at, uint64_t *four) {
  if (at != 0) return NULL;
  four[2] = atomic_load(&frees);
  four[3] = atomic_load(&free_bytes);
  four[0] = atomic_load(&allocs);
  four[1] = atomic_load(&alloc_bytes);
  return "watermark_mask_new";
}
