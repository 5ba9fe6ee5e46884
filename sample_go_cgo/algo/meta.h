/* What the comment lines of the picture say of it. */
#ifndef THUMB_META_H
#define THUMB_META_H

#include <stddef.h>
#include <stdint.h>

struct meta {
  char *title;      /* strdup */
  char *caption;    /* asprintf */
  char *first_line; /* getline */
  size_t first_line_cap;
};

void meta_read(struct meta *m, const char *comments, size_t len, uint64_t seq);
void meta_free(struct meta *m);
/* The comments as one line, without their # signs; the number of bytes in it. */
size_t comments_flatten(const char *comments, size_t len);

#endif
