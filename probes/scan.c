/* Reading the tables, on the driver's side: the same object, loaded by the driver itself.
 *
 * A million blocks are looked at in a few milliseconds, which Python cannot do. The memfd is
 * sparse, and reading a hole through a mapping would fill it: so the holes are stepped over. */
#include "state.h"

#define CG_SEEK_DATA 3
#define CG_SEEK_HOLE 4

/* The next stretch of [*at, end) that holds data, as [*lo, *hi); 0 if there is none. */
static int cg_next_data(int fd, uint64_t *at, uint64_t end, uint64_t *lo, uint64_t *hi)
{
    if (*at >= end)
        return 0;
    long data = cg_sys3(CG_NR_LSEEK, fd, *at, CG_SEEK_DATA);
    if (cg_is_error(data) || (uint64_t)data >= end)
        return 0;
    long hole = cg_sys3(CG_NR_LSEEK, fd, data, CG_SEEK_HOLE);
    *lo = (uint64_t)data > *at ? (uint64_t)data : *at;
    *hi = cg_is_error(hole) || (uint64_t)hole > end ? end : (uint64_t)hole;
    *at = *hi;
    return *hi > *lo;
}

/* Adds rows to out, for stacks in [0, count). */
static void cg_add_rows(int fd, const char *tables, uint64_t begin, struct cg_row *out, uint32_t count)
{
    uint64_t at = begin, end = begin + count * sizeof(struct cg_row), lo, hi;
    while (cg_next_data(fd, &at, end, &lo, &hi)) {
        const struct cg_row *row = (const struct cg_row *)(tables + begin);
        for (uint64_t i = (lo - begin) / sizeof *row; i < (hi - begin) / sizeof *row; i++) {
            out[i].born_blocks += CG_LOAD(&row[i].born_blocks);
            out[i].born_bytes += CG_LOAD(&row[i].born_bytes);
            out[i].freed_blocks += CG_LOAD(&row[i].freed_blocks);
            out[i].freed_bytes += CG_LOAD(&row[i].freed_bytes);
            out[i].cleaned_blocks += CG_LOAD(&row[i].cleaned_blocks);
            out[i].lifetime_sum += CG_LOAD(&row[i].lifetime_sum);
            out[i].spare += CG_LOAD(&row[i].spare);
            uint64_t longest = CG_LOAD(&row[i].lifetime_max);
            if (longest > out[i].lifetime_max)
                out[i].lifetime_max = longest;
        }
    }
}

static uint32_t cg_no_rows(struct cg_row *out, uint32_t count)
{
    if (count > CG_MAX_STACKS)
        count = CG_MAX_STACKS;
    for (uint32_t i = 0; i < count; i++)
        out[i] = (struct cg_row){0, 0, 0, 0, 0, 0, 0, 0};
    return count;
}

/* Rows of sampled blocks: out[stack] for stack in [0, count), in the units of layout.h. */
__attribute__((visibility("default"))) uint32_t cgoleak_weighted_rows(int fd, const char *tables, struct cg_row *out,
                                                                      uint32_t count)
{
    count = cg_no_rows(out, count);
    cg_add_rows(fd, tables, ((const struct cg_shared *)tables)->weighted_at, out, count);
    return count;
}

/* Sums the shards: out[stack] for stack in [0, count). Returns the number of stacks written. */
__attribute__((visibility("default"))) uint32_t cgoleak_sum_rows(int fd, const char *tables, struct cg_row *out,
                                                                 uint32_t count)
{
    const struct cg_shared *s = (const struct cg_shared *)tables;
    count = cg_no_rows(out, count);
    for (uint32_t shard = 0; shard < CG_SHARDS; shard++)
        cg_add_rows(fd, tables, s->rows_at + (uint64_t)shard * CG_MAX_STACKS * sizeof(struct cg_row), out, count);
    return count;
}

/* What single blocks tell about a stack. */
struct cg_ages {
    uint64_t blocks;
    uint64_t bytes;
    uint64_t oldest;     /* tick of birth of the oldest block outstanding, 0: none */
    uint64_t old_blocks; /* born at or before the tick that was asked for */
    /* Sampled ones are not among those above, but here. */
    uint64_t samples;
    uint64_t sample_blocks;     /* what they stand for, in 65536ths */
    uint64_t sample_old_blocks;
    uint64_t blocks_variance[2]; /* of the estimate, in 65536ths of blocks squared; low word first */
    uint64_t bytes_variance[2];  /* of their bytes */
};

static void cg_add_wide(uint64_t words[2], unsigned __int128 more)
{
    more += (unsigned __int128)words[1] << 64 | words[0];
    words[0] = (uint64_t)more;
    words[1] = (uint64_t)(more >> 64);
}

static void cg_age_sample(struct cg_ages *a, uint64_t size, uint64_t born, uint64_t before, uint64_t rate)
{
    /* The variance of a sum over blocks that are each kept with p is estimated without bias by the
     * sum of x^2 (1-p)/p^2 over those that were (Horvitz and Thompson); 1/p is the weight. */
    uint64_t weight = cg_weight(size, rate), more = weight - CG_WEIGHT_ONE;
    a->samples++;
    a->sample_blocks += weight;
    if (born <= before)
        a->sample_old_blocks += weight;
    cg_add_wide(a->blocks_variance, (unsigned __int128)weight * more >> 16);
    cg_add_wide(a->bytes_variance, (unsigned __int128)cg_weighted(size, weight) * cg_weighted(size, more));
    if (a->oldest == 0 || born < a->oldest)
        a->oldest = born;
}

static void cg_age(struct cg_ages *a, uint64_t size, uint64_t born, uint64_t before)
{
    a->blocks++;
    a->bytes += size;
    if (a->oldest == 0 || born < a->oldest)
        a->oldest = born;
    if (born <= before)
        a->old_blocks++;
}

/* Looks at every outstanding block; out[stack] as above. Returns the number of blocks. */
__attribute__((visibility("default"))) uint64_t cgoleak_scan_blocks(int fd, const char *tables, struct cg_ages *out,
                                                                    uint32_t count, uint64_t before)
{
    const struct cg_shared *s = (const struct cg_shared *)tables;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < count; i++)
        out[i] = (struct cg_ages){0, 0, 0, 0, 0, 0, 0, {0, 0}, {0, 0}};
    uint32_t levels = CG_LOAD(&s->levels_used);
    for (uint32_t level = 0; level < levels && level < CG_LEVELS; level++) {
        uint64_t at = s->levels_at[level], lo, hi;
        uint64_t end = at + (sizeof(struct cg_block) << (CG_LEVEL0_BITS + level));
        while (cg_next_data(fd, &at, end, &lo, &hi))
            for (const struct cg_block *b = (const struct cg_block *)(tables + lo);
                 b < (const struct cg_block *)(tables + hi); b++) {
                uint64_t who = CG_LOAD(&b->who);
                uint64_t what = CG_LOAD(&b->what);
                if (who == 0 || what == 0) /* nobody's, or being entered this moment */
                    continue;
                uint32_t stack = cg_stack_in(who);
                if (stack < count && cg_epoch_in(who) != 0)
                    cg_age_sample(&out[stack], cg_size_in(what), what & ((1u << CG_TICK_BITS) - 1), before,
                                  s->rates[cg_epoch_in(who)]);
                else if (stack < count)
                    cg_age(&out[stack], cg_size_in(what), what & ((1u << CG_TICK_BITS) - 1), before);
                seen++;
            }
    }
    uint64_t at = s->regions_at, lo, hi;
    uint64_t end = at + CG_REGIONS * sizeof(struct cg_region);
    while (cg_next_data(fd, &at, end, &lo, &hi))
        for (const struct cg_region *r = (const struct cg_region *)(tables + lo);
             r < (const struct cg_region *)(tables + hi); r++) {
            uint64_t start = CG_LOAD_ACQUIRE(&r->start), stack = CG_LOAD(&r->stack);
            if (start > 1 && stack < count) {
                cg_age(&out[stack], CG_LOAD(&r->size), CG_LOAD(&r->tick), before);
                seen++;
            }
        }
    levels = CG_LOAD(&s->handle_levels_used);
    for (uint32_t level = 0; level < levels && level < CG_HANDLE_LEVELS; level++) {
        at = s->handles_at[level];
        end = at + (sizeof(struct cg_handle) << (CG_HANDLE_LEVEL0_BITS + level));
        while (cg_next_data(fd, &at, end, &lo, &hi))
            for (const struct cg_handle *h = (const struct cg_handle *)(tables + lo);
                 h < (const struct cg_handle *)(tables + hi); h++) {
                uint64_t who = CG_LOAD_ACQUIRE(&h->who);
                if ((uint32_t)who != 0 && (uint32_t)who < count) {
                    cg_age(&out[(uint32_t)who], CG_LOAD(&h->size), who >> 32, before);
                    seen++;
                }
            }
    }
    return seen;
}
