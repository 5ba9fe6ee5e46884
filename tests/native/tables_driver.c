/* Puts the probe's tables to work without a target; see test_tables.py for what each mode shows. */
#define _GNU_SOURCE
#include "host.h"

#define STACKS 1000u

static struct cg_row *rows;
static struct cg_ages *ages;

static void read_all(uint32_t count, uint64_t before)
{
    free(rows);
    free(ages);
    rows = calloc(count, sizeof *rows);
    ages = calloc(count, sizeof *ages);
    SAME(cgoleak_sum_rows(cgoleak_header.shared_fd, (char *)T.shared, rows, count), count);
    cgoleak_scan_blocks(cgoleak_header.shared_fd, (char *)T.shared, ages, count, before);
}

static uint32_t some_stack(struct cg_thread *t, uint64_t number)
{
    uint64_t pcs[CG_MAX_FRAMES];
    uint32_t count = 1 + (uint32_t)(number % 40);
    for (uint32_t i = 0; i < count; i++)
        pcs[i] = 0x400000 + number * 64 + i;
    return cg_stack_intern(pcs, count, (uint32_t)(number % 3), t);
}

/* --- blocks against a plain array ------------------------------------------------------------ */

struct plain {
    uint64_t address, size, tick;
    uint32_t stack;
};

static void mode_many(uint32_t blocks)
{
    host_tables();
    struct cg_thread *t = host_thread(0x7f0000001000);
    struct plain *all = calloc(blocks, sizeof *all);
    uint32_t ids[STACKS];
    for (uint32_t i = 0; i < STACKS; i++) {
        ids[i] = some_stack(t, i);
        SAME(ids[i], i + 1);
        SAME(some_stack(t, i), ids[i]);
    }
    uint64_t address = 0x7f1200000010;
    for (uint32_t i = 0; i < blocks; i++) {
        T.shared->tick = 1 + i / (blocks / 50 + 1);
        address += 16 * (1 + host_random(30));
        all[i] = (struct plain){address, host_random(5000), T.shared->tick, ids[host_random(STACKS)]};
        cg_block_insert(t, all[i].address, all[i].size, all[i].stack, 0);
    }
    SAME(host_shards().dropped_blocks, 0);
    printf("levels=%u\n", T.shared->levels_used);

    /* A third is freed in any order; then a tenth is handed out again without a free. */
    struct cg_row *want = calloc(STACKS + 1, sizeof *want);
    struct cg_ages *want_ages = calloc(STACKS + 1, sizeof *want_ages);
    uint64_t unseen = 0, half = T.shared->tick / 2;
    for (uint32_t i = 0; i < blocks; i++) {
        want[all[i].stack].born_blocks++;
        want[all[i].stack].born_bytes += all[i].size;
    }
    T.shared->tick += 5;
    for (uint32_t n = 0; n < blocks / 3; n++) {
        struct plain *b = &all[host_random(blocks)];
        struct cg_block old;
        int cleaned = host_random(5) == 0, found = cg_block_remove(t, b->address, cleaned, &old);
        SAME(found, b->stack != 0);
        if (!found)
            continue;
        uint64_t age = T.shared->tick - b->tick;
        struct cg_row *row = &want[b->stack];
        row->freed_blocks++;
        row->freed_bytes += b->size;
        row->cleaned_blocks += (uint64_t)cleaned;
        row->lifetime_sum += age;
        if (age > row->lifetime_max)
            row->lifetime_max = age;
        b->stack = 0;
    }
    for (uint32_t n = 0; n < blocks / 10; n++) {
        struct plain *b = &all[host_random(blocks)];
        if (b->stack != 0) {
            uint64_t age = T.shared->tick - b->tick;
            struct cg_row *row = &want[b->stack];
            row->freed_blocks++;
            row->freed_bytes += b->size;
            row->lifetime_sum += age;
            if (age > row->lifetime_max)
                row->lifetime_max = age;
            unseen++;
        }
        *b = (struct plain){b->address, host_random(100), T.shared->tick, ids[host_random(STACKS)]};
        cg_block_insert(t, b->address, b->size, b->stack, 0);
        want[b->stack].born_blocks++;
        want[b->stack].born_bytes += b->size;
    }
    SAME(host_shards().unseen_frees, unseen);
    CHECK(unseen > 0, "no address was handed out twice");

    uint64_t outstanding = 0;
    for (uint32_t i = 0; i < blocks; i++) {
        if (all[i].stack == 0)
            continue;
        outstanding++;
        cg_age(&want_ages[all[i].stack], all[i].size, all[i].tick, half);
    }
    read_all(STACKS + 1, half);
    for (uint32_t i = 0; i <= STACKS; i++) {
        CHECK(memcmp(&rows[i], &want[i], sizeof want[i]) == 0, "totals of stack %u", i);
        CHECK(memcmp(&ages[i], &want_ages[i], sizeof ages[i]) == 0, "blocks of stack %u", i);
        SAME(rows[i].born_blocks - rows[i].freed_blocks, ages[i].blocks);
        SAME(rows[i].born_bytes - rows[i].freed_bytes, ages[i].bytes);
    }
    SAME(cgoleak_scan_blocks(cgoleak_header.shared_fd, (char *)T.shared, ages, STACKS + 1, 0), outstanding);

    /* A failed realloc: taken out and put back. Then everything goes. */
    struct cg_block old;
    for (uint32_t i = 0; i < blocks; i++) {
        if (all[i].stack == 0)
            continue;
        if (i % 7 == 0) {
            SAME(cg_block_remove(t, all[i].address, 0, &old), 1);
            cg_block_restore(t, all[i].address, &old, 0);
        }
        SAME(cg_block_remove(t, all[i].address, 0, &old), 1);
        SAME(old.what >> CG_TICK_BITS, all[i].size);
    }
    SAME(cg_block_remove(t, 0x1230, 0, &old), 0);
    SAME(host_shards().dropped_blocks, 0);
    SAME(cgoleak_scan_blocks(cgoleak_header.shared_fd, (char *)T.shared, ages, STACKS + 1, 0), 0);
    read_all(STACKS + 1, 0);
    for (uint32_t i = 0; i <= STACKS; i++) {
        SAME(rows[i].born_blocks, rows[i].freed_blocks);
        SAME(rows[i].born_bytes, rows[i].freed_bytes);
    }
    free(all);
    free(want);
    free(want_ages);
}

/* --- no room --------------------------------------------------------------------------------- */

static void mode_full(void)
{
    host_tables();
    struct cg_thread *t = host_thread(0x7f0000001000);
    struct cg_block *home[2];

    /* Both homes of one address taken in every level. */
    T.shared->levels_used = CG_LEVELS;
    const uint64_t address = 0x7f1200000010;
    for (uint32_t level = 0; level < CG_LEVELS; level++) {
        cg_homes(level, address, home);
        for (uint32_t h = 0; h < 2; h++)
            for (uint32_t i = 0; i < 4; i++)
                home[h][i].who = (0x5000ull + h * 4 + i) << CG_OWNER_BITS | 1;
    }
    cg_block_insert(t, address, 100, 1, 0);
    SAME(host_shards().dropped_blocks, 1);
    struct cg_block old;
    SAME(cg_block_remove(t, address, 0, &old), 0);
    SAME(host_shards().unmatched_frees, 1);
    struct cg_block gone = {(address >> 3) << CG_OWNER_BITS | 1, 100ull << CG_TICK_BITS};
    cg_block_restore(t, address, &gone, 0);
    SAME(host_shards().dropped_blocks, 2);

    /* Sizes beyond the field are cut, not folded. */
    host_tables();
    t = host_thread(0x7f0000001000);
    cg_block_insert(t, address, ~0ull, 1, 0);
    SAME(cg_block_remove(t, address, 0, &old), 1);
    SAME(old.what >> CG_TICK_BITS, (1ull << 35) - 1);

    /* The last id, and then none; a full table is not written to, however often it is asked. */
    T.shared->stacks_count = CG_MAX_STACKS - 2;
    SAME(some_stack(t, 1), CG_MAX_STACKS - 1);
    SAME(some_stack(t, 1), CG_MAX_STACKS - 1);
    for (uint32_t i = 2; i < 1000; i++)
        SAME(some_stack(t, i), 0);
    SAME(some_stack(t, 1), CG_MAX_STACKS - 1);
    SAME(host_shards().dropped_stacks, 998);
    CHECK(T.shared->stacks_count < CG_MAX_STACKS + 64, "the count runs away: %u", T.shared->stacks_count);

    /* No room for the addresses: short stacks still fit, and every id that was given is readable. */
    host_tables();
    t = host_thread(0x7f0000001000);
    T.shared->pool_used = CG_POOL_WORDS - 10;
    SAME(some_stack(t, 30), 0);
    SAME(some_stack(t, 31), 0);
    uint32_t id = some_stack(t, 4);
    CHECK(id != 0, "five words fit into ten");
    for (uint32_t i = 1; i <= T.shared->stacks_count; i++)
        CHECK(T.stacks[i].ready, "stack %u of %u will never be ready", i, T.shared->stacks_count);
    SAME(host_shards().dropped_stacks, 2);
    CHECK(T.shared->pool_used <= CG_POOL_WORDS, "the pool overflows");

    /* More threads than there are places. */
    uint32_t without = 0;
    for (uint64_t i = 0; i < CG_MAX_THREADS + 1000; i++) {
        struct cg_thread *one = host_thread(0x7f4000000740 + i * 0x801000);
        without += one == &R->overflow;
        cg_block_insert(one, 0x7f5500000000 + i * 64, 64, some_stack(one, 4), 0);
    }
    CHECK(without >= 1000 && without < 3000, "%u threads without a place", without);
    read_all(id + 1, 0);
    SAME(rows[id].born_blocks, CG_MAX_THREADS + 1000);
    SAME(rows[id].born_bytes, 64 * (CG_MAX_THREADS + 1000));
    SAME(ages[id].blocks, CG_MAX_THREADS + 1000);
    SAME(host_shards().dropped_blocks, 0);
}

/* --- regions against a plain page map -------------------------------------------------------- */

#define PAGES 512u

static void mode_regions(void)
{
    host_tables();
    struct cg_thread *t = host_thread(0x7f0000001000);
    uint8_t owner[PAGES] = {0};
    const uint64_t base = 0x7f3300000000;
    for (uint32_t step = 0; step < 20000; step++) {
        uint32_t from = (uint32_t)host_random(PAGES), pages = 1 + (uint32_t)host_random(40);
        if (from + pages > PAGES)
            pages = PAGES - from;
        uint8_t stack = (uint8_t)(1 + host_random(200));
        int maps = host_random(2) == 0;
        /* mmap with MAP_FIXED takes out what was there; munmap may cut anywhere. */
        cg_region_remove(t, base + from * 4096ull, pages * 4096ull);
        if (maps)
            cg_region_insert(t, base + from * 4096ull, pages * 4096ull, stack);
        memset(owner + from, maps ? stack : 0, pages);
        if (step % 97 != 0)
            continue;
        uint64_t bytes[256] = {0};
        for (uint32_t i = 0; i < PAGES; i++)
            bytes[owner[i]] += 4096;
        read_all(256, 0);
        for (uint32_t i = 1; i < 256; i++) {
            SAME(rows[i].born_bytes - rows[i].freed_bytes, bytes[i]);
            SAME(ages[i].bytes, bytes[i]);
            SAME(rows[i].born_blocks - rows[i].freed_blocks, ages[i].blocks);
        }
    }
    SAME(host_shards().dropped_blocks, 0);
    cg_region_remove(t, base, PAGES * 4096ull);
    cg_region_remove(t, ~0ull - 4095, 8192); /* wraps */
    cg_region_insert(t, base, 0, 1);
    read_all(256, 0);
    for (uint32_t i = 0; i < 256; i++)
        SAME(ages[i].blocks, 0);
    SAME(host_shards().dropped_blocks, 0);

    /* Full: what does not fit is counted, the piece of a cut as well. */
    for (uint64_t i = 0; i < CG_REGIONS; i++)
        cg_region_insert(t, base + i * 65536, 32768, 3);
    SAME(host_shards().dropped_blocks, 0);
    cg_region_insert(t, base + CG_REGIONS * 65536ull, 4096, 3);
    SAME(host_shards().dropped_blocks, 1);
    cg_region_remove(t, base + 8192, 4096);
    SAME(host_shards().dropped_blocks, 2);
    read_all(4, 0);
    SAME(rows[3].born_bytes - rows[3].freed_bytes, ages[3].bytes);
    SAME(ages[3].blocks, CG_REGIONS);

    /* A handler that maps while its own thread is in here does not wait for itself. */
    t->inside = 2;
    cg_region_insert(t, 0x10000, 4096, 3);
    SAME(host_shards().dropped_blocks, 3);
}

/* --- many threads ---------------------------------------------------------------------------- */

#define THREADS 24u
#define SHARED_STACKS 3000u
#define QUEUE 4096u

static uint32_t ids[SHARED_STACKS];
static uint32_t rounds_each = 20000;
static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t queue[QUEUE];
static uint32_t queued;
static uint64_t born_blocks, born_bytes, freed_blocks;

static void *worker(void *argument)
{
    uint64_t me = (uint64_t)argument, seed = me * 77 + 1, blocks = 0, bytes = 0, freed = 0;
    struct cg_thread *t = host_thread(0x7f6000000740 + me * 0x801000);
    struct cg_block old;
    for (uint32_t i = 0; i < rounds_each; i++) {
        uint32_t number = (uint32_t)(host_next(&seed) % SHARED_STACKS), none = 0;
        uint32_t id = some_stack(t, number);
        CHECK(id != 0, "stack %u was dropped", number);
        if (!__atomic_compare_exchange_n(&ids[number], &none, id, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            SAME(none, id);
        /* malloc's role: an address belongs to one thread until it is handed on. */
        uint64_t address = 0x7f7000000000 + (me << 32) + (uint64_t)i * 48, size = 1 + host_next(&seed) % 999;
        cg_block_insert(t, address, size, id, 0);
        blocks++;
        bytes += size;
        uint64_t other = 0;
        pthread_mutex_lock(&queue_lock);
        if (queued < QUEUE)
            queue[queued++] = address;
        if (host_next(&seed) % 8 != 0 && queued > 0) {
            uint32_t at = (uint32_t)(host_next(&seed) % queued);
            other = queue[at];
            queue[at] = queue[--queued];
        }
        pthread_mutex_unlock(&queue_lock);
        if (other != 0) {
            SAME(cg_block_remove(t, other, 0, &old), 1);
            freed++;
        }
        if (i % 64 == 0) {
            uint64_t at = 0x7f0100000000 + (me << 24) + i * 4096ull;
            cg_region_insert(t, at, 8192, id);
            cg_region_remove(t, at + 4096, 4096);
            cg_region_remove(t, at, 4096);
        }
    }
    __atomic_fetch_add(&born_blocks, blocks, __ATOMIC_RELAXED);
    __atomic_fetch_add(&born_bytes, bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&freed_blocks, freed, __ATOMIC_RELAXED);
    return 0;
}

/* Reads while they write, as the driver does. */
static void *reader(void *stop)
{
    const uint32_t count = 1000;
    struct cg_row *some = calloc(count, sizeof *some);
    struct cg_ages *old = calloc(count, sizeof *old);
    while (!__atomic_load_n((int *)stop, __ATOMIC_ACQUIRE)) {
        cgoleak_scan_blocks(cgoleak_header.shared_fd, (char *)T.shared, old, count, 1);
        cgoleak_sum_rows(cgoleak_header.shared_fd, (char *)T.shared, some, count);
        usleep(1000);
    }
    free(some);
    free(old);
    return 0;
}

static void mode_threads(uint32_t rounds)
{
    rounds_each = rounds;
    host_tables();
    pthread_t threads[THREADS], reads;
    int stop = 0;
    pthread_create(&reads, 0, reader, &stop);
    for (uint64_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, worker, (void *)i);
    for (uint64_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(reads, 0);

    uint32_t count = T.shared->stacks_count + 1;
    read_all(count, 0);
    uint64_t born = 0, bytes = 0, freed = 0, left = 0, left_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        born += rows[i].born_blocks;
        bytes += rows[i].born_bytes - rows[i].freed_bytes;
        freed += rows[i].freed_blocks;
        left += ages[i].blocks;
        left_bytes += ages[i].bytes;
        SAME(rows[i].born_blocks - rows[i].freed_blocks, ages[i].blocks);
        SAME(rows[i].born_bytes - rows[i].freed_bytes, ages[i].bytes);
    }
    SAME(born, freed + left);
    SAME(bytes, left_bytes);
    SAME(left, born_blocks - freed_blocks);
    struct cg_shard shards = host_shards();
    SAME(shards.dropped_blocks, 0);
    SAME(shards.dropped_stacks, 0);
    SAME(shards.unmatched_frees, 0);
    SAME(shards.unseen_frees, 0);
    for (uint32_t n = 0; n < SHARED_STACKS; n++) {
        if (ids[n] == 0)
            continue;
        const struct cg_stack *s = &T.stacks[ids[n]];
        SAME(s->count, 1 + n % 40);
        for (uint32_t i = 0; i < s->count; i++)
            SAME(T.pool[s->first + i], 0x400000ull + n * 64 + i);
    }
    printf("stacks=%u threads=%u outstanding=%llu\n", count, T.shared->threads_used, (unsigned long long)left);
}

/* --- for the Python side --------------------------------------------------------------------- */

static void mode_show(void)
{
    host_tables();
    T.shared->tick = 10;
    struct cg_block old;
    struct cg_thread *threads[3] = {host_thread(0x1000), host_thread(0x2000), &R->overflow};
    uint64_t pcs[3][3] = {{0x401000, 0x402000, 0x403000}, {0x501000, 0, 0x503000}, {0x601000}};
    uint32_t a = cg_stack_intern(pcs[0], 3, 0, threads[0]);
    uint32_t b = cg_stack_intern(pcs[1], 3, CG_STACK_GAP, threads[1]);
    uint32_t c = cg_stack_intern(pcs[2], 1, CG_STACK_TRUNCATED, threads[1]);
    SAME(a, 1);
    SAME(b, 2);
    SAME(c, 3);
    for (uint64_t i = 0; i < 30; i++)
        cg_block_insert(threads[i % 3], 0x7f0000000010 + i * 16, 100, a, 0);
    T.shared->tick = 14;
    for (uint64_t i = 0; i < 6; i++)
        cg_block_remove(threads[i % 3], 0x7f0000000010 + i * 16, i < 2, &old);
    cg_block_insert(threads[0], 0x7f0000008000, 1 << 20, b, 0);
    cg_region_insert(threads[1], 0x7f0100000000, 3 * 4096, c);
    cg_region_remove(threads[1], 0x7f0100001000, 4096);
    cg_block_remove(threads[1], 0x7f0000009000, 0, &old);
    cg_block_insert(threads[2], 0x7f0000008000, 7, b, 0);
    T.shared->tick = 20;
    printf("%d %d\n", getpid(), cgoleak_header.shared_fd);
    fflush(stdout);
    char byte;
    if (read(0, &byte, 1) < 0)
        _exit(1);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    uint32_t number = argc > 2 ? (uint32_t)atoi(argv[2]) : 0;
    if (argc > 3)
        host_seed = strtoull(argv[3], 0, 10);
    if (!strcmp(mode, "many"))
        mode_many(number);
    else if (!strcmp(mode, "full"))
        mode_full();
    else if (!strcmp(mode, "regions"))
        mode_regions();
    else if (!strcmp(mode, "threads"))
        mode_threads(number);
    else if (!strcmp(mode, "show"))
        mode_show();
    else
        return 2;
    return 0;
}
