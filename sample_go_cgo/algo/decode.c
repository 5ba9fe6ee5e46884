#include <string.h>

#include "fault.h"
#include "image.h"

enum { LARGEST_SIDE = 4096 };

struct cursor {
  const uint8_t *at, *end;
};

/* One decimal number of the header; comment lines before it are remembered. 0 when there is none. */
static uint32_t header_number(struct cursor *c, const char **comments, size_t *comments_len) {
  uint32_t n = 0;
  while (c->at < c->end && (*c->at == '#' || *c->at == ' ' || *c->at == '\n')) {
    if (*c->at != '#') {
      c->at++;
      continue;
    }
    const uint8_t *eol = memchr(c->at, '\n', (size_t)(c->end - c->at));
    if (eol == NULL) return 0;
    if (*comments == NULL) *comments = (const char *)c->at;
    *comments_len = (size_t)(eol + 1 - (const uint8_t *)*comments);
    c->at = eol + 1;
  }
  while (c->at < c->end && *c->at >= '0' && *c->at <= '9' && n <= LARGEST_SIDE)
    n = n * 10 + (uint32_t)(*c->at++ - '0');
  return n;
}

static struct image *decode_raw(const uint8_t *px, size_t len, uint32_t w, uint32_t h) {
  struct image *im = image_new(w, h);
  if (im == NULL) return NULL;
  const size_t want = (size_t)w * h, have = len < want ? len : want;
  memcpy(im->px, px, have);
  memset(im->px + have, 0, want - have);
  return im;
}

OWN_FRAME struct image *decode_body(const uint8_t *body, size_t len, const char **comments,
                                    size_t *comments_len) {
  struct cursor c = {body, body + len};
  *comments = NULL;
  *comments_len = 0;
  if (len > 3 && memcmp(body, "P5\n", 3) == 0) {
    c.at += 3;
    const uint32_t w = header_number(&c, comments, comments_len);
    const uint32_t h = header_number(&c, comments, comments_len);
    const uint32_t max = header_number(&c, comments, comments_len);
    if (w > 0 && h > 0 && w <= LARGEST_SIDE && h <= LARGEST_SIDE && max > 0 && c.at < c.end)
      return decode_raw(c.at + 1, (size_t)(c.end - c.at - 1), w, h);
  }
  uint32_t side = 1;
  while (side < LARGEST_SIDE && (size_t)(side + 1) * (side + 1) <= len) side++;
  return len == 0 ? NULL : decode_raw(body, len, side, side);
}
