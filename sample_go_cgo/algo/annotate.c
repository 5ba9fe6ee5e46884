#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "fault.h"
#include "thumb.h"

enum { TEXT = 6 << 10 };

struct annotation {
  uint64_t seq;
  unsigned mean;
  char text[TEXT];
};

OWN_FRAME static struct annotation *annotation_new(uint64_t seq) {
  struct annotation *a = malloc(sizeof *a);
  if (a == NULL) return NULL;
  count_alloc(AT_annotation_new, sizeof *a);
  memset(a, 0, sizeof *a);
  a->seq = seq;
  return a;
}

OWN_FRAME static struct annotation *annotation_attach(uint64_t seq, unsigned mean) {
  struct annotation *a = annotation_new(seq);
  if (a != NULL) a->mean = mean;
  return a;
}

OWN_FRAME void annotate(uint64_t seq, unsigned mean) {
  struct annotation *a = annotation_attach(seq, mean);
  if (a == NULL || fault_on(FAULT_CALLBACK_LEAK)) return; /* The bug. */
  count_free(AT_annotation_new, sizeof *a);
  free(a);
}
