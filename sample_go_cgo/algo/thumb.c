#include "thumb.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"
#include "counters.h"
#include "fault.h"
#include "image.h"
#include "keep.h"
#include "meta.h"
#include "plugin.h"
#include "strbuf.h"

enum { BOX = 128, CACHED_PER_PICTURE = 8 };

/* One picture on its way through the stages. */
struct picture {
  const uint8_t *body;
  size_t len;
  uint64_t seq;
  unsigned churn;
  const char *comments;
  size_t comments_len;
  struct image *whole, *thumb;
  struct meta meta;
  struct thumb_result *result;
};

OWN_FRAME static bool stage_decode(struct picture *p) {
  p->whole = decode_body(p->body, p->len, &p->comments, &p->comments_len);
  return p->whole != NULL;
}

OWN_FRAME static bool stage_meta(struct picture *p) {
  meta_read(&p->meta, p->comments, p->comments_len, p->seq);
  return comments_flatten(p->comments, p->comments_len) <= p->comments_len;
}

OWN_FRAME static bool stage_analyse(struct picture *p) {
  p->result->mean = image_analyse(p->whole, p->seq);
  p->result->checksum = tiles_checksum(p->whole) + mapped_checksum(p->whole, p->seq);
  return true;
}

OWN_FRAME static bool stage_scale(struct picture *p) {
  p->thumb = scale_to_fit(p->whole, BOX);
  return p->thumb != NULL;
}

OWN_FRAME static bool stage_effects(struct picture *p) {
  image_blur(p->thumb, p->churn);
  image_sharpen(p->thumb);
  plugin_apply(p->thumb);
  return true;
}

OWN_FRAME static bool stage_overlay(struct picture *p) {
  overlay_render(p->thumb, p->meta.title != NULL ? p->meta.title : "untitled", p->seq);
  return true;
}

OWN_FRAME static bool stage_tell(struct picture *p) {
  goPictureDone(p->seq, p->result->mean);
  KEEP_FRAME();
  return true;
}

OWN_FRAME static bool stage_remember(struct picture *p) {
  if (fault_on(FAULT_CACHE_FILLS))
    for (uint64_t i = 0; i < CACHED_PER_PICTURE; i++)
      cache_remember(p->seq * CACHED_PER_PICTURE + i, p->body, p->len);
  if (fault_on(FAULT_POOL)) pool_follow_demand();
  if (fault_on(FAULT_RESTART)) session_open(p->body, p->len);
  return true;
}

/* Where each row of the answer starts; what a client with slow memory asks for. */
OWN_FRAME static uint32_t *row_index_grow(uint32_t *index, size_t old, size_t rows) {
  uint32_t *bigger = reallocarray(index, rows, sizeof *bigger);
  if (bigger == NULL) return NULL;
  if (old > 0) count_free(AT_row_index_grow, old * sizeof *bigger);
  count_alloc(AT_row_index_grow, rows * sizeof *bigger);
  return bigger;
}

OWN_FRAME static bool stage_encode(struct picture *p) {
  struct strbuf out = {NULL, 0, 0};
  char header[64];
  uint32_t *index = NULL;
  size_t rows = 0;
  const struct image *t = p->thumb;
  bool fine = strbuf_append(&out, header,
                            (size_t)snprintf(header, sizeof header, "P5\n%u %u\n255\n", t->w, t->h));
  for (uint32_t y = 0; fine && y < t->h; y++) {
    if (y == rows) {
      const size_t more = rows > 0 ? rows * 2 : 32;
      uint32_t *bigger = row_index_grow(index, rows, more);
      if (bigger == NULL) break;
      index = bigger;
      rows = more;
    }
    index[y] = (uint32_t)out.len;
    fine = strbuf_append(&out, t->px + (size_t)y * t->w, t->w);
  }
  if (rows > 0) count_free(AT_row_index_grow, rows * sizeof *index);
  free(index);
  p->result->data = (uint8_t *)out.data;
  p->result->len = out.len;
  p->result->cap = out.cap;
  p->result->w = t->w;
  p->result->h = t->h;
  return fine;
}

static bool (*const stages[])(struct picture *) = {
    stage_decode, stage_meta,    stage_analyse, stage_scale,
    stage_effects, stage_overlay, stage_tell,    stage_remember, stage_encode,
};

OWN_FRAME static bool run_stages(struct picture *p) {
  for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
    if (!stages[i](p)) return false;
  return true;
}

OWN_FRAME int thumb_process(const uint8_t *body, size_t len, uint64_t seq, unsigned churn,
                            struct thumb_result *result) {
  struct picture p;
  memset(&p, 0, sizeof p);
  memset(result, 0, sizeof *result);
  p.body = body;
  p.len = len;
  p.seq = seq;
  p.churn = churn;
  p.result = result;
  const bool fine = run_stages(&p);
  image_free(p.whole);
  image_free(p.thumb);
  meta_free(&p.meta);
  if (!fine) thumb_result_free(result);
  return fine ? 0 : -1;
}

void thumb_result_free(struct thumb_result *result) {
  struct strbuf b = {(char *)result->data, result->len, result->cap};
  strbuf_free(&b);
  result->data = NULL;
  result->len = result->cap = 0;
}
