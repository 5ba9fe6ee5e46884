/* The way in from Go. */
#ifndef THUMB_THUMB_H
#define THUMB_THUMB_H

#include <stddef.h>
#include <stdint.h>

/* What came of one picture. data belongs to the caller: thumb_result_free. */
struct thumb_result {
  uint8_t *data;
  size_t len, cap;
  uint32_t w, h;
  unsigned mean;
  uint64_t checksum;
};

/* 0, or -1 when the body holds no picture. churn: how many times over the thumbnail is blurred, which is where the short-lived
 * blocks come from. */
int thumb_process(const uint8_t *body, size_t len, uint64_t seq, unsigned churn,
                  struct thumb_result *result);
void thumb_result_free(struct thumb_result *result);

/* annotate.c: called by Go while Go is called by thumb_process. */
void annotate(uint64_t seq, unsigned mean);

#endif
