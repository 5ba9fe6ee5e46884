#include "meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "fault.h"
#include "strbuf.h"

enum { LONGEST_TITLE = 1600 };

OWN_FRAME static char *meta_title(const char *comments, size_t len) {
  char title[LONGEST_TITLE + 1];
  const size_t n = len < LONGEST_TITLE ? len : LONGEST_TITLE;
  memcpy(title, comments, n);
  title[n] = '\0';
  char *copy = strdup(title);
  if (copy != NULL) count_alloc(AT_meta_title, strlen(copy) + 1);
  return copy;
}

OWN_FRAME static char *meta_caption(const char *title, uint64_t seq) {
  char *caption = NULL;
  if (asprintf(&caption, "picture %llu: %s", (unsigned long long)seq, title) < 0) return NULL;
  count_alloc(AT_meta_caption, strlen(caption) + 1);
  return caption;
}

OWN_FRAME static char *meta_first_line(FILE *from, size_t *cap) {
  char *line = NULL;
  *cap = 0;
  const ssize_t n = getline(&line, cap, from);
  if (line != NULL) count_alloc(AT_meta_first_line, *cap);
  if (n > 0 && line[n - 1] == '\n') line[n - 1] = '\0';
  return line;
}

static void read_first_line(struct meta *m, const char *comments, size_t len) {
  char buffer[512]; /* So that the stream allocates none inside getline. */
  FILE *from = fmemopen((void *)(uintptr_t)comments, len, "r");
  if (from == NULL) return;
  setvbuf(from, buffer, _IOFBF, sizeof buffer);
  m->first_line = meta_first_line(from, &m->first_line_cap);
  fclose(from);
}

OWN_FRAME void meta_read(struct meta *m, const char *comments, size_t len, uint64_t seq) {
  memset(m, 0, sizeof *m);
  if (len == 0) return;
  m->title = meta_title(comments, len);
  if (m->title != NULL) m->caption = meta_caption(m->title, seq);
  read_first_line(m, comments, len);
  KEEP_FRAME();
}

void meta_free(struct meta *m) {
  if (fault_on(FAULT_STRDUP_LEAK)) return; /* The bug: "the arena frees these", but there is no arena any more. */
  if (m->title != NULL) count_free(AT_meta_title, strlen(m->title) + 1);
  if (m->caption != NULL) count_free(AT_meta_caption, strlen(m->caption) + 1);
  if (m->first_line != NULL) count_free(AT_meta_first_line, m->first_line_cap);
  free(m->title);
  free(m->caption);
  free(m->first_line);
}

OWN_FRAME static size_t flatten_into(struct strbuf *to, const char *comments, size_t len) {
  for (size_t at = 0; at < len;) {
    const char *eol = memchr(comments + at, '\n', len - at);
    const size_t n = eol == NULL ? len - at : (size_t)(eol - comments) - at;
    const size_t skip = n > 0 && comments[at] == '#' ? 1 : 0;
    if (!strbuf_append(to, comments + at + skip, n - skip)) break;
    at += n + 1;
  }
  return to->len;
}

/* The bug: the buffer is passed by value. What the callee makes of it with realloc is lost when it returns. */
OWN_FRAME static size_t flatten_into_copy(struct strbuf to, const char *comments, size_t len) {
  const size_t n = flatten_into(&to, comments, len);
  KEEP_FRAME();
  return n;
}

OWN_FRAME size_t comments_flatten(const char *comments, size_t len) {
  struct strbuf flat = {NULL, 0, 0};
  const size_t n = fault_on(FAULT_REALLOC_LEAK) ? flatten_into_copy(flat, comments, len)
                                                : flatten_into(&flat, comments, len);
  strbuf_free(&flat);
  return n;
}
