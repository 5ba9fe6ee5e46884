/* A string that grows. Give back with strbuf_free. */
#ifndef THUMB_STRBUF_H
#define THUMB_STRBUF_H

#include <stdbool.h>
#include <stddef.h>

struct strbuf {
  char *data;
  size_t len, cap;
};

bool strbuf_append(struct strbuf *b, const void *bytes, size_t n);
void strbuf_free(struct strbuf *b);

#endif
