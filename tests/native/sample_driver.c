/* Sampling: weights and draws against libm, and what is counted against what there was. */
#include "host.h"

#include <math.h>

static void mode_numbers(void)
{
    double worst = 0;
    for (uint64_t rate = 1; rate <= 1ull << 32; rate = rate * 3 + 1)
        for (uint64_t size = 1; size < 1ull << 36; size = size * 2 + 1) {
            double x = (double)size / (double)rate;
            double wanted = -1 / expm1(-x), got = (double)cg_weight(size, rate) / 65536;
            double off = fabs(got - wanted) / wanted;
            /* The last place of a weight is a 65536th. */
            off -= 1.0 / 65536 / wanted;
            worst = off > worst ? off : worst;
        }
    CHECK(worst < 2e-7, "weights are off by %g", worst);
    const uint32_t draws = 2000000;
    for (uint64_t rate = 1000; rate <= 1ull << 32; rate <<= 11) {
        double sum = 0, squares = 0;
        uint32_t beyond[3] = {0, 0, 0};
        for (uint32_t i = 0; i < draws; i++) {
            double d = ((double)cg_draw(&host_seed, rate) - 0.5) / (double)rate;
            sum += d;
            squares += d * d;
            for (int k = 0; k < 3; k++)
                beyond[k] += d > k + 1;
        }
        double root = sqrt(draws);
        CHECK(fabs(sum / draws - 1) < 5 / root, "rate %lu: mean %g", rate, sum / draws);
        CHECK(fabs(squares / draws - 2) < 5 * sqrt(20) / root, "rate %lu: second moment %g", rate, squares / draws);
        for (int k = 0; k < 3; k++) {
            double p = exp(-(k + 1));
            CHECK(fabs(beyond[k] / (double)draws - p) < 5 * sqrt(p * (1 - p)) / root, "rate %lu: %u beyond %d", rate,
                  beyond[k], k + 1);
        }
    }
    printf("weights are off by %.1e at most\n", worst);
}

/* --- what is counted ------------------------------------------------------------------------- */

#define SITES 3u
#define BLOCKS 4000u
static uint64_t addresses[BLOCKS], free_addresses;
static struct {
    uint64_t address, size;
    uint32_t site;
} live[BLOCKS];
static uint32_t outstanding;
static struct cg_row truth[SITES];
static uint64_t events;
static uint64_t other_seed = 0x1234567; /* not of those that choose the blocks */

static void birth(uint32_t site, uint64_t size)
{
    uint64_t address = addresses[--free_addresses];
    cg_born((void *)address, size, (uint64_t)__builtin_frame_address(0), 0x400000 + 16 * site, 0);
    live[outstanding].address = address;
    live[outstanding].size = size;
    live[outstanding++].site = site;
    truth[site].born_blocks++;
    truth[site].born_bytes += size;
    events++;
}

static void death(uint32_t which)
{
    struct cg_block old;
    int cleaned;
    cg_died((void *)live[which].address, &old, &cleaned);
    truth[live[which].site].freed_blocks++;
    truth[live[which].site].freed_bytes += live[which].size;
    addresses[free_addresses++] = live[which].address;
    live[which] = live[--outstanding];
    events++;
}

/* Small blocks, some as big as the rate, and few that are bigger; they come and go, on two threads. */
static void churn(uint32_t count, uint64_t rate)
{
    for (uint32_t i = 0; i < count; i++) {
        fake_thread_pointer = 0x7f6000000740 + 0x801000 * host_random(2);
        if (outstanding == BLOCKS || (outstanding > 0 && host_random(100) < 47))
            death((uint32_t)host_random(outstanding));
        else if (host_random(100) == 0)
            birth(2, rate + host_random(4 * rate));
        else if (host_random(10) == 0)
            birth(1, 1 + host_random(rate));
        else
            birth(0, 1 + host_random(300));
    }
}

/* One line per site: seed, what is outstanding, what it was estimated to be, its standard errors, and
 * the same of what was born. */
static void mode_estimates(uint32_t seeds, uint64_t rate, int from_exact, uint32_t rare)
{
    cg_sys3(CG_NR_MEMBARRIER, CG_MEMBARRIER_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    for (uint32_t seed = 1; seed <= seeds; seed++) {
        host_seed = seed;
        host_tables();
        cg_mode = CG_EXACT;
        R->enabled = from_exact ? CG_EXACT : 0;
        R->seed = host_next(&other_seed);
        outstanding = 0;
        events = 0;
        memset(truth, 0, sizeof truth);
        for (free_addresses = 0; free_addresses < BLOCKS; free_addresses++)
            addresses[free_addresses] = 0x7f1000000000 + 48 * host_random(1u << 20) * BLOCKS + 48 * free_addresses;
        if (from_exact)
            churn(4000, rate);
        uint64_t born_before = truth[0].born_blocks + truth[1].born_blocks + truth[2].born_blocks, exact_born = 0;
        uint64_t exact = events, freed_before = truth[0].freed_blocks + truth[1].freed_blocks + truth[2].freed_blocks;
        SAME(cg_sample(rate), 1);
        SAME(R->filter_ready, 1);
        R->enabled = CG_SAMPLED;
        T.shared->cmd_rare = rare;
        cg_forget_places();
        churn(6000, rate);
        cg_forget_places();
        if (from_exact) { /* and to another rate on the way */
            SAME(cg_sample(4 * rate), 1);
            churn(6000, rate);
        }
        fake_thread_pointer = 0;
        cg_sum_events();
        struct cg_row rows[CG_EPOCHS * SITES], weighted[CG_EPOCHS * SITES], sum[SITES];
        struct cg_ages ages[CG_EPOCHS * SITES], age[SITES];
        memset(sum, 0, sizeof sum);
        memset(age, 0, sizeof age);
        uint32_t count = T.shared->stacks_count + 1, fd = (uint32_t)cgoleak_header.shared_fd;
        CHECK(count <= CG_EPOCHS * SITES, "%u stacks", count);
        cgoleak_sum_rows((int)fd, (const char *)T.shared, rows, count);
        cgoleak_weighted_rows((int)fd, (const char *)T.shared, weighted, count);
        cgoleak_scan_blocks((int)fd, (const char *)T.shared, ages, count, 0);
        uint64_t exact_freed = 0;
        for (uint32_t i = 1; i < count; i++) {
            uint32_t site = (uint32_t)(T.pool[T.stacks[i].first] - 0x400000) / 16;
            CHECK(site < SITES, "stack %u is of nobody", i);
            sum[site].born_blocks += rows[i].born_blocks * CG_WEIGHT_ONE + weighted[i].born_blocks;
            sum[site].born_bytes += rows[i].born_bytes + weighted[i].born_bytes;
            sum[site].freed_blocks += rows[i].freed_blocks * CG_WEIGHT_ONE + weighted[i].freed_blocks;
            sum[site].freed_bytes += rows[i].freed_bytes + weighted[i].freed_bytes;
            age[site].samples += ages[i].samples;
            age[site].blocks += ages[i].blocks * CG_WEIGHT_ONE + ages[i].sample_blocks;
            cg_add_wide(age[site].blocks_variance, ages[i].blocks_variance[0]);
            cg_add_wide(age[site].bytes_variance, ages[i].bytes_variance[0]);
            SAME(ages[i].blocks_variance[1] | ages[i].bytes_variance[1], 0);
            exact_freed += rows[i].freed_blocks;
            exact_born += rows[i].born_blocks;
        }
        /* Every event was seen once; those of blocks from before sampling, and of rare ones, are among the exact. */
        uint64_t after = events - exact - (exact_freed - freed_before) - (exact_born - born_before);
        SAME(T.shared->passed_births + T.shared->passed_frees, after);
        CHECK((exact_born > born_before) == (rare != 0), "%lu and %lu followed for sure", exact_born, born_before);
        for (uint32_t site = 0; site < SITES; site++) {
            SAME(age[site].blocks, sum[site].born_blocks - sum[site].freed_blocks);
            printf("%u %u %lu %lu %.3f %lu %.3f %.3f %lu %lu %.3f %lu %lu\n", seed, site,
                   truth[site].born_blocks - truth[site].freed_blocks, truth[site].born_bytes - truth[site].freed_bytes,
                   (double)age[site].blocks / 65536, sum[site].born_bytes - sum[site].freed_bytes,
                   sqrt((double)age[site].blocks_variance[0]) / 256, sqrt((double)age[site].bytes_variance[0]),
                   truth[site].born_blocks, truth[site].born_bytes, (double)sum[site].born_blocks / 65536,
                   sum[site].born_bytes, age[site].samples);
        }
    }
}

/* --- threads --------------------------------------------------------------------------------- */

#define WORKERS 6u
#define HELD 500u
static uint64_t market[256]; /* blocks on their way from one thread to another: address */
static volatile int over;
static uint64_t made_blocks, made_bytes;

static uint64_t size_of(uint64_t address)
{
    return 16 + address * 0x9e3779b97f4a7c15ull % 4000;
}

static void *trader(void *argument)
{
    uint64_t me = (uint64_t)argument, seed = me + 1, made = 0, bytes = 0, next = 0;
    uint64_t held[HELD], count = 0, spare[HELD + 256], spares = 0;
    struct cg_block old;
    int cleaned;
    fake_thread_pointer = 0x7f6000000740 + me * 0x801000;
    while (!CG_LOAD(&over) || count > 0) {
        uint64_t what = host_next(&seed);
        if (!CG_LOAD(&over) && (count == 0 || (what & 1 && count < HELD))) {
            /* An address that was freed is handed out again, by this thread's own malloc. */
            uint64_t address = spares > 0 && what & 2 ? spare[--spares] : 0x7f7000000000 + (me << 32) + 32 * next++;
            made++;
            bytes += size_of(address);
            cg_born((void *)address, size_of(address), (uint64_t)__builtin_frame_address(0), 0x400000 + (what >> 8) % 64, 0);
            held[count++] = address;
            continue;
        }
        uint64_t address = held[--count];
        if (what & 4) { /* to somebody else, for what he left there */
            address = __atomic_exchange_n(&market[(what >> 8) % 256], address, __ATOMIC_ACQ_REL);
            if (address == 0)
                continue;
        }
        cg_died((void *)address, &old, &cleaned);
        if (spares < HELD)
            spare[spares++] = address;
    }
    CG_ADD_SHARED(&made_blocks, made);
    CG_ADD_SHARED(&made_bytes, bytes);
    return 0;
}

/* From every block to a sample and to another rate, with threads in the hooks: no block is missed
 * when it is freed, whoever frees it and however it was followed. */
static void mode_threads(uint32_t rounds)
{
    uint64_t exact = 0, sampled = 0;
    cg_sys3(CG_NR_MEMBARRIER, CG_MEMBARRIER_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    for (uint32_t round = 0; round < rounds; round++) {
        host_tables();
        cg_mode = CG_EXACT;
        R->seed = host_next(&other_seed);
        R->enabled = CG_EXACT;
        over = 0;
        made_blocks = made_bytes = 0;
        memset(market, 0, sizeof market);
        pthread_t threads[WORKERS];
        for (uint64_t i = 0; i < WORKERS; i++)
            CHECK(pthread_create(&threads[i], 0, trader, (void *)i) == 0, "no thread");
        cg_sleep_ms(3 + round % 5);
        T.shared->cmd_rare = round % 2 * 50;
        SAME(cg_sample(512), 1);
        for (uint32_t waited = 0; !CG_LOAD(&R->filter_ready); waited++) {
            CHECK(waited < 5000, "thread %u is never out", cg_filter_next);
            cg_fill_filter();
        }
        cg_forget_places();
        CG_STORE(&R->enabled, CG_SAMPLED | CG_TIMED);
        cg_sleep_ms(2);
        cg_forget_places();
        CG_STORE(&R->enabled, CG_SAMPLED);
        SAME(cg_sample(4096), 1);
        cg_sleep_ms(5);
        CG_STORE(&over, 1);
        for (uint32_t i = 0; i < WORKERS; i++)
            pthread_join(threads[i], 0);
        struct cg_block old;
        int cleaned;
        fake_thread_pointer = 0x7f6000000740;
        for (uint32_t i = 0; i < 256; i++)
            if (market[i] != 0)
                cg_died((void *)market[i], &old, &cleaned);
        fake_thread_pointer = 0;
        uint32_t count = T.shared->stacks_count + 1;
        struct cg_row *rows = calloc(2 * count, sizeof *rows);
        struct cg_ages *ages = calloc(count, sizeof *ages);
        cgoleak_sum_rows(cgoleak_header.shared_fd, (const char *)T.shared, rows, count);
        cgoleak_weighted_rows(cgoleak_header.shared_fd, (const char *)T.shared, rows + count, count);
        SAME(cgoleak_scan_blocks(cgoleak_header.shared_fd, (const char *)T.shared, ages, count, 0), 0);
        for (uint32_t i = 0; i < 2 * count; i++) {
            SAME(rows[i].born_blocks, rows[i].freed_blocks);
            SAME(rows[i].born_bytes, rows[i].freed_bytes);
            *(i < count ? &exact : &sampled) += rows[i].born_blocks;
        }
        struct cg_shard shards = host_shards();
        SAME(shards.unmatched_frees | shards.unseen_frees | shards.dropped_blocks, 0);
        free(rows);
        free(ages);
    }
    CHECK(exact > 1000 && sampled / CG_WEIGHT_ONE > 1000, "nothing happened");
    printf("exact=%lu sampled=%lu\n", exact, (unsigned long)(sampled / CG_WEIGHT_ONE));
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "numbers"))
        mode_numbers();
    else if (argc > 2 && !strcmp(mode, "threads"))
        mode_threads((uint32_t)atoi(argv[2]));
    else if (argc > 4 && !strcmp(mode, "estimates"))
        mode_estimates((uint32_t)atoi(argv[2]), strtoull(argv[3], 0, 10), atoi(argv[4]), argc > 5 ? (uint32_t)atoi(argv[5]) : 0);
    else
        return 2;
    return 0;
}
