/* Sampling by bytes: which blocks are kept, and for how many each of them stands.
 *
 * Points lie on the bytes that a thread allocates as a Poisson process has them, one per `rate`
 * bytes in the mean; a block with a point on it is kept. So a block is kept with the probability
 * p = 1 - exp(-size/rate), whatever came before it, and stands for 1/p blocks of its size: sums over
 * kept blocks then have the sums over all blocks as their mean, whatever the sizes are.
 *
 * Whole numbers only: a program may have floating-point exceptions unmasked. No division of 128
 * bits, which would be a function of libgcc. */
#include "state.h"

static inline uint32_t cg_stack_in(uint64_t who)
{
    return (uint32_t)(who & ((1u << CG_STACK_BITS) - 1));
}

static inline uint64_t cg_epoch_in(uint64_t who)
{
    return who >> CG_STACK_BITS & (CG_EPOCHS - 1);
}

static inline uint64_t cg_times(uint64_t a, uint64_t b, unsigned shift)
{
    return (uint64_t)((unsigned __int128)a * b >> shift);
}

/* 1/(1 - exp(-size/rate)) in 65536ths. Good to eight digits for rates up to 2^32. */
static uint64_t cg_weight(uint64_t size, uint64_t rate)
{
    if (rate == 0 || size == 0 || size / rate >= 32)
        return CG_WEIGHT_ONE;
    uint64_t x = size * ((1ull << 57) / rate); /* size/rate in 2^-57ths, below 32 */
    uint64_t f = (x & ((1ull << 57) - 1)) << 6;
    /* 1 - exp(-f) for f below 1, in 2^-63rds: f - f^2/2! + f^3/3! - ... */
    uint64_t p = 0, term = f;
    for (uint64_t n = 2; term != 0; n++) {
        p = n & 1 ? p - term : p + term;
        term = cg_times(term, f, 63) / n;
    }
    if (x >> 57 != 0) {
        uint64_t q = (1ull << 63) - p;
        for (uint64_t whole = x >> 57; whole != 0; whole--)
            q = cg_times(q, 0x5e2d58d8b3bcdf1bull, 64); /* 1/e */
        p = (1ull << 63) - q;
    }
    if (p == 0)
        return CG_WEIGHT_ONE;
    /* 2^79/p, from 2^95 over the p that is shifted up to its 63 bits. */
    unsigned up = (unsigned)__builtin_clzll(p) - 1;
    if (p >> 63)
        return CG_WEIGHT_ONE;
    uint64_t r = (1ull << 63) / (p << up >> 32);
    return up >= 16 ? r << (up - 16) : r >> (16 - up);
}

/* What a sampled value stands for. */
static inline uint64_t cg_weighted(uint64_t value, uint64_t weight)
{
    return (uint64_t)(((unsigned __int128)value * weight + CG_WEIGHT_ONE / 2) >> 16);
}

static uint64_t cg_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* Bytes to the next point: an exponential variate, rounded up, so that a block of n bytes reaches it
 * with the probability 1 - exp(-n/rate) to the bit. */
static int64_t cg_draw(uint64_t *random, uint64_t rate)
{
    uint64_t u = cg_random(random) | 1; /* u/2^64 is uniform in (0, 1) */
    unsigned zeros = (unsigned)__builtin_clzll(u);
    uint64_t m = u << zeros, fraction = 0; /* m/2^63 in [1, 2): its logarithm, bit by bit */
    for (unsigned bit = 0; bit < 32; bit++) {
        unsigned __int128 square = (unsigned __int128)m * m;
        uint64_t two = (uint64_t)(square >> 127);
        fraction = fraction << 1 | two;
        m = (uint64_t)(square >> (63 + two));
    }
    uint64_t bits = ((uint64_t)(zeros + 1) << 32) - fraction; /* -log2(u/2^64) */
    uint64_t natural = cg_times(bits, 2977044472ull, 32);     /* times ln 2 */
    return (int64_t)cg_times(natural, rate, 32) + 1;
}

/* --- the filter ------------------------------------------------------------------------------ */

/* Counts of the blocks in the table by hash of their address. Lies in the resident part, so that a
 * free may look at it without entering. Twice: while few blocks are followed, nearly every look ends
 * in the small one, of one page; in a large one it would be a cache line and a page of its own each time. */
static inline uint64_t cg_filter_hash(uint64_t address)
{
    return (address >> 4) * 0x9e3779b97f4a7c15ull >> 32;
}

static inline uint16_t *cg_filter_small(uint64_t address)
{
    return &R->filter_small[cg_filter_hash(address) & (CG_FILTER_SMALL - 1)];
}

static inline uint16_t *cg_filter_cell(uint64_t address)
{
    return &R->filter[cg_filter_hash(address) & CG_LOAD(&R->filter_mask)];
}

static inline uint32_t cg_filter_ready(void)
{
    return CG_LOAD_ACQUIRE(&R->filter_ready);
}

static void cg_filter_add(uint64_t address)
{
    __atomic_fetch_add(cg_filter_cell(address), 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(cg_filter_small(address), 1, __ATOMIC_RELAXED);
}

static void cg_filter_drop(uint64_t address)
{
    __atomic_fetch_sub(cg_filter_small(address), 1, __ATOMIC_RELAXED);
    __atomic_fetch_sub(cg_filter_cell(address), 1, __ATOMIC_RELAXED);
}

/* True where the table may hold the block. */
static inline int cg_may_be_known(uint64_t address)
{
    return CG_UNLIKELY(!cg_filter_ready()) ||
           (CG_UNLIKELY(CG_LOAD(cg_filter_small(address)) != 0) && CG_LOAD(cg_filter_cell(address)) != 0);
}

/* --- the clock ------------------------------------------------------------------------------- */

static inline uint64_t cg_clock(void)
{
#if defined(__x86_64__)
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
#else
    uint64_t now;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(now));
    return now;
#endif
}
