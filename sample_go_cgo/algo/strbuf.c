#include "strbuf.h"

#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "fault.h"

OWN_FRAME static bool strbuf_grow(struct strbuf *b, size_t cap) {
  char *data = realloc(b->data, cap);
  if (data == NULL) return false;
  if (b->cap > 0) count_free(AT_strbuf_grow, b->cap);
  count_alloc(AT_strbuf_grow, cap);
  b->data = data;
  b->cap = cap;
  return true;
}

OWN_FRAME bool strbuf_append(struct strbuf *b, const void *bytes, size_t n) {
  if (n == 0) return true;
  if (b->cap - b->len < n) {
    size_t cap = b->cap > 0 ? b->cap : 256;
    while (cap - b->len < n) cap *= 2;
    if (!strbuf_grow(b, cap)) return false;
  }
  memcpy(b->data + b->len, bytes, n);
  b->len += n;
  return true;
}

void strbuf_free(struct strbuf *b) {
  if (b->cap > 0) count_free(AT_strbuf_grow, b->cap);
  free(b->data);
  *b = (struct strbuf){NULL, 0, 0};
}
