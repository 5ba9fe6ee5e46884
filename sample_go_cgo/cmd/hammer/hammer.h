/* The tight loop of the hammer program. */
#ifndef HAMMER_H
#define HAMMER_H

#include <stdint.h>

/* pairs of malloc and free below depth frames more; bytes of each block, or 0 for a mix from 16 to 1 KiB. Returns nanoseconds. */
uint64_t pound(uint64_t pairs, unsigned depth, uint64_t bytes);

#endif
