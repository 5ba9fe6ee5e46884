/* Which bugs this worker has today, and the two attributes that keep its stacks true to its source. */
#ifndef THUMB_FAULT_H
#define THUMB_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FAULTS(X)                                                                                  \
  X(C_LEAK) X(CPP_LEAK) X(REALLOC_LEAK) X(CALLBACK_LEAK) X(THREAD_LEAK) X(DLOPEN_LEAK)             \
  X(ALIGNED_LEAK) X(STRDUP_LEAK) X(MMAP_LEAK) X(CACHE_FILLS) X(POOL) X(RESTART)

enum fault {
#define X(name) FAULT_##name,
  FAULTS(X)
#undef X
};

void fault_switch_on(enum fault f);
bool fault_on(enum fault f);

#ifdef __cplusplus
}
#endif

/* OWN_FRAME: a function that scenarios.toml names stays a function: not inlined, not cloned under another name. */
#if defined(__clang__)
#define OWN_FRAME __attribute__((noinline))
#else
#define OWN_FRAME __attribute__((noipa))
#endif

/* Something left to do after a call, so that the compiler cannot turn it into a jump and lose the frame of the caller. */
#define KEEP_FRAME() __asm__ volatile("" ::: "memory")

#endif
