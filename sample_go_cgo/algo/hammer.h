/* Pairs of malloc and free as fast as a thread can make them, counted exactly. */
#ifndef THUMB_HAMMER_H
#define THUMB_HAMMER_H

#include <stdint.h>

/* pairs rounds below depth frames more, on the calling thread. One block in keep_every stays outstanding until hammer_release (0:
 * none). Returns the nanoseconds it took. */
uint64_t hammer_run(uint64_t pairs, unsigned depth, uint64_t keep_every);
/* Frees what the rounds have kept. */
void hammer_release(void);

#endif
