/* A grey image, and the steps that make a thumbnail of it. */
#ifndef THUMB_IMAGE_H
#define THUMB_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct image {
  uint32_t w, h;
  uint8_t px[]; /* w * h */
};

struct image *image_new(uint32_t w, uint32_t h);
void image_free(struct image *im);

/* decode.c: a binary PGM (P5), or any other bytes taken as a square of pixels. NULL when there is nothing in it.
 * The comment lines of the PGM header are at [*comments, *comments + *comments_len). */
struct image *decode_body(const uint8_t *body, size_t len, const char **comments,
                          size_t *comments_len);

/* scale.c */
struct image *scale_to_fit(const struct image *im, uint32_t box);

/* histogram.c: mean brightness, 0 to 255. */
unsigned image_analyse(const struct image *im, uint64_t seq);

/* blur.c: in place, passes times; churns through many short-lived rows. */
void image_blur(struct image *im, unsigned passes);

/* tiles.c: sum of the pixels by way of SIMD-aligned tiles. */
uint64_t tiles_checksum(const struct image *im);

/* sharpen.c: on a thread of the module's own. */
void image_sharpen(struct image *im);

/* mapped.c: sum of the pixels by way of a scratch mapping. */
uint64_t mapped_checksum(const struct image *im, uint64_t seq);

/* overlay.cc */
void overlay_render(struct image *im, const char *title, uint64_t seq);

#ifdef __cplusplus
}
#endif
#endif
