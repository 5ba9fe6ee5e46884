/* The probe's sources in a program of our own: no injection, no hooks in slots, a thread pointer
 * that the test may choose. */
#ifndef CGOLEAK_TEST_HOST_H
#define CGOLEAK_TEST_HOST_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* What the hook believes to be its thread pointer. */
static __thread uint64_t fake_thread_pointer;
#define cg_thread_pointer cg_real_thread_pointer
#include "sys.h"
#undef cg_thread_pointer
static inline uint64_t cg_thread_pointer(void)
{
    return fake_thread_pointer != 0 ? fake_thread_pointer : cg_real_thread_pointer();
}

#include "ehframe.c"
#include "sample.c"
#include "tables.c"
#include "unwind.c"
#include "hooks.c"
#include "pairs.c"
#include "control.c"
#include "scan.c"

#define CHECK(condition, ...) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__); \
            fprintf(stderr, "\n"); \
            _exit(1); \
        } \
    } while (0)
#define SAME(a, b) CHECK((a) == (b), "%llu and %llu", (unsigned long long)(a), (unsigned long long)(b))

static uint64_t host_seed = 1;

static inline uint64_t host_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static inline uint64_t host_random(uint64_t below)
{
    return host_next(&host_seed) % below;
}

/* New tables and a new set of threads; those from before are given back. */
static void host_tables(void)
{
    if (R != 0) {
        munmap(R, sizeof *R);
        munmap(T.shared, cgoleak_header.shared_size);
        close(cgoleak_header.shared_fd);
    }
    R = mmap(0, sizeof *R, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(R != MAP_FAILED, "no memory for the threads");
    cgoleak_header.owner_pid = getpid();
    CHECK(cg_make_tables(), "step %u: errno %d", cgoleak_header.step, cgoleak_header.error);
    T.go = (struct cg_go){0};
    T.shared->tick = 1;
    R->enabled = 1;
}

/* A thread as the hook would have entered it. */
static __attribute__((unused)) struct cg_thread *host_thread(uint64_t key)
{
    struct cg_thread *t = cg_claim(key);
    if (t != &R->overflow) {
        if (t->index == ~0u)
            t->index = CG_ADD_SHARED(&T.shared->threads_used, 1u);
        t->inside = 1;
    }
    return t;
}

static __attribute__((unused)) struct cg_shard host_shards(void)
{
    struct cg_shard sum = {0};
    for (uint32_t i = 0; i < CG_SHARDS; i++) {
        sum.unmatched_frees += T.shards[i].unmatched_frees;
        sum.unseen_frees += T.shards[i].unseen_frees;
        sum.dropped_blocks += T.shards[i].dropped_blocks;
        sum.dropped_stacks += T.shards[i].dropped_stacks;
        sum.walks += T.shards[i].walks;
    }
    return sum;
}

#endif
