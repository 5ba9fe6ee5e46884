/* The tables: stacks, totals per stack, outstanding blocks, application mmaps.
 *
 * Nothing here takes a lock that another thread's event could wait for, apart from the regions,
 * where events are rare. Totals are kept in shards, so that threads do not share cache lines. */
#include "state.h"

#define CG_EXCLUSIVE_SHARDS 48u

static inline uint64_t cg_mix(uint64_t x)
{
    x *= 0x9e3779b97f4a7c15ull;
    return x ^ (x >> 29);
}

/* The first threads have a shard each and add without a lock prefix; later ones share. */
static inline uint32_t cg_shard_of(const struct cg_thread *t, int *own)
{
    *own = t != &R->overflow && t->index < CG_EXCLUSIVE_SHARDS;
    return *own ? t->index : CG_EXCLUSIVE_SHARDS + (t->index % (CG_SHARDS - CG_EXCLUSIVE_SHARDS));
}

static inline void cg_count(uint64_t *p, uint64_t v, int own)
{
    if (CG_LIKELY(own))
        cg_add_own(p, v);
    else
        CG_ADD_SHARED(p, v);
}

/* --- stacks ---------------------------------------------------------------------------------- */

static int cg_stack_is(const struct cg_stack *s, const uint64_t *pcs, uint32_t count, uint32_t flags)
{
    if (s->count != count || s->flags >> CG_STACK_FAMILY_SHIFT != flags >> CG_STACK_FAMILY_SHIFT)
        return 0;
    for (uint32_t i = 0; i < count; i++)
        if (T.pool[s->first + i] != pcs[i])
            return 0;
    return 1;
}

/* Finds or enters a stack. 0 if there is no room: its blocks are then counted under stack 0. */
uint32_t cg_stack_intern(const uint64_t *pcs, uint32_t count, uint32_t flags, struct cg_thread *t)
{
    uint64_t hash = 0x243f6a8885a308d3ull + count + ((uint64_t)(flags >> CG_STACK_FAMILY_SHIFT) << 32);
    for (uint32_t i = 0; i < count; i++)
        hash = cg_mix(hash ^ pcs[i]);
    const uint32_t mask = 2 * CG_MAX_STACKS - 1;
    uint32_t fresh = 0;
    for (uint32_t probe = 0; probe < 64; probe++) {
        uint32_t *cell = &T.stack_index[((uint32_t)hash + probe) & mask];
        uint32_t id = CG_LOAD_ACQUIRE(cell);
        if (id == 0) {
            if (fresh == 0) {
                /* Looked at first: full tables stay as they are, or the counts would go round. */
                if (CG_LOAD(&T.shared->stacks_count) >= CG_MAX_STACKS - 1 ||
                    CG_LOAD(&T.shared->pool_used) + count > CG_POOL_WORDS)
                    break;
                fresh = CG_ADD_SHARED(&T.shared->stacks_count, 1u) + 1;
                if (fresh >= CG_MAX_STACKS)
                    break;
                uint32_t first = CG_ADD_SHARED(&T.shared->pool_used, count);
                struct cg_stack *s = &T.stacks[fresh];
                if (first + count > CG_POOL_WORDS) { /* others were quicker: an empty stack, never used */
                    CG_STORE_RELEASE(&s->ready, 1);
                    break;
                }
                for (uint32_t i = 0; i < count; i++)
                    T.pool[first + i] = pcs[i];
                s->hash = hash;
                s->first = first;
                s->count = (uint16_t)count;
                s->flags = (uint8_t)flags;
                CG_STORE_RELEASE(&s->ready, 1);
            }
            if (__atomic_compare_exchange_n(cell, &id, fresh, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                return fresh;
            /* Another thread took the cell; it may hold the very same stack. The entry that we
             * made is then used by nobody, which costs a few words. */
        }
        if (T.stacks[id].hash == hash && cg_stack_is(&T.stacks[id], pcs, count, flags))
            return id;
    }
    int own;
    uint32_t shard = cg_shard_of(t, &own);
    cg_count(&T.shards[shard].dropped_stacks, 1, own);
    return 0;
}

void cg_count_walk(struct cg_thread *t)
{
    int own;
    uint32_t shard = cg_shard_of(t, &own);
    cg_count(&T.shards[shard].walks, 1, own);
}

/* --- totals ---------------------------------------------------------------------------------- */

static inline struct cg_row *cg_row_of(const struct cg_thread *t, uint32_t stack, int *own)
{
    return &T.rows[(uint64_t)cg_shard_of(t, own) * CG_MAX_STACKS + stack];
}

static void cg_book_sample(uint32_t stack, uint64_t epoch, uint64_t size)
{
    struct cg_row *row = &T.weighted[stack];
    uint64_t weight = cg_weight(size, T.shared->rates[epoch]);
    CG_ADD_SHARED(&row->born_blocks, weight);
    CG_ADD_SHARED(&row->born_bytes, cg_weighted(size, weight));
}

static void cg_book_sample_freed(uint32_t stack, uint64_t epoch, uint64_t size, uint64_t age, int cleaned)
{
    struct cg_row *row = &T.weighted[stack];
    uint64_t weight = cg_weight(size, T.shared->rates[epoch]);
    CG_ADD_SHARED(&row->freed_blocks, weight);
    CG_ADD_SHARED(&row->freed_bytes, cg_weighted(size, weight));
    CG_ADD_SHARED(&row->lifetime_sum, cg_weighted(age, weight));
    if (age > CG_LOAD(&row->lifetime_max))
        CG_STORE(&row->lifetime_max, age);
    if (cleaned)
        CG_ADD_SHARED(&row->cleaned_blocks, weight);
    CG_ADD_SHARED(&row->spare, (uint64_t)((unsigned __int128)weight * weight >> 32));
}

static inline void cg_book_birth(struct cg_thread *t, uint32_t stack, uint64_t size)
{
    int own;
    struct cg_row *row = cg_row_of(t, stack, &own);
    cg_count(&row->born_blocks, 1, own);
    cg_count(&row->born_bytes, size, own);
}

/* owner: stack and epoch, as in cg_block.who; its other bits do not matter. */
static CG_HOT void cg_book_free(struct cg_thread *t, uint64_t owner, uint64_t size, uint64_t born, int cleaned)
{
    int own;
    uint64_t age = (CG_LOAD(&T.shared->tick) - born) & ((1u << CG_TICK_BITS) - 1);
    uint32_t stack = cg_stack_in(owner);
    if (CG_UNLIKELY(cg_epoch_in(owner) != 0)) {
        cg_book_sample_freed(stack, cg_epoch_in(owner), size, age, cleaned);
        return;
    }
    struct cg_row *row = cg_row_of(t, stack, &own);
    cg_count(&row->freed_blocks, 1, own);
    cg_count(&row->freed_bytes, size, own);
    if (age != 0) {
        cg_count(&row->lifetime_sum, age, own);
        if (age > CG_LOAD(&row->lifetime_max))
            CG_STORE(&row->lifetime_max, age);
    }
    if (CG_UNLIKELY(cleaned))
        cg_count(&row->cleaned_blocks, 1, own);
}

/* --- blocks ---------------------------------------------------------------------------------- */

/* Levels of doubling size. Every block has two homes of one cache line (four entries) in each level;
 * new ones go to the last level, or to a gap in an older one, so that the levels are about four
 * fifths full when the next opens.
 * An entry is claimed with one compare-and-swap; an address belongs to whoever malloc gave it to,
 * so nothing else can be contended. */
static inline void cg_homes(uint32_t level, uint64_t address, struct cg_block *home[2])
{
    uint64_t h = cg_mix(address >> 3);
    uint32_t mask = (1u << (CG_LEVEL0_BITS + level - 2)) - 1;
    home[0] = T.levels[level] + 4 * ((h >> 32) & mask);
    home[1] = T.levels[level] + 4 * ((h >> 4) & mask);
}

/* The entry of an address among four, 0 if it is not there. No loop: this is the hottest code. */
static inline __attribute__((always_inline)) struct cg_block *cg_among(struct cg_block *four, uint64_t key)
{
    const uint64_t others = 1ull << CG_OWNER_BITS;
    if ((CG_LOAD(&four[0].who) ^ key) < others)
        return &four[0];
    if ((CG_LOAD(&four[1].who) ^ key) < others)
        return &four[1];
    if ((CG_LOAD(&four[2].who) ^ key) < others)
        return &four[2];
    return (CG_LOAD(&four[3].who) ^ key) < others ? &four[3] : 0;
}

static inline __attribute__((always_inline)) struct cg_block *cg_empty_of_two(struct cg_block *two)
{
    if (CG_LIKELY(CG_LOAD(&two[0].who) == 0))
        return &two[0];
    return CG_LOAD(&two[1].who) == 0 ? &two[1] : 0;
}

/* Half of one home, then of the other, then the rest: whoever fills the first home first has no
 * room for some address when a seventh of the level is used. */
static inline __attribute__((always_inline)) struct cg_block *cg_room(struct cg_block *home[2])
{
    struct cg_block *empty = cg_empty_of_two(home[0]);
    if (CG_UNLIKELY(empty == 0))
        empty = cg_empty_of_two(home[1]);
    if (CG_UNLIKELY(empty == 0))
        empty = cg_empty_of_two(home[0] + 2);
    if (CG_UNLIKELY(empty == 0))
        empty = cg_empty_of_two(home[1] + 2);
    return empty;
}

static inline CG_HOT struct cg_block *cg_block_find(uint32_t level, uint64_t address)
{
    struct cg_block *home[2];
    cg_homes(level, address, home);
    uint64_t key = address >> 3 << CG_OWNER_BITS;
    struct cg_block *found = cg_among(home[0], key);
    return CG_LIKELY(found != 0) ? found : cg_among(home[1], key);
}

static void cg_handles_gone(struct cg_thread *t, uint64_t address);

static inline uint64_t cg_what(uint64_t size)
{
    if (CG_UNLIKELY(size >= 1ull << 35))
        size = (1ull << 35) - 1;
    return size << CG_TICK_BITS | (CG_LOAD(&T.shared->tick) & ((1u << CG_TICK_BITS) - 1));
}

static void cg_forget_stale(struct cg_thread *t, struct cg_block *b)
{
    /* malloc hands out an address that we hold as outstanding: it was freed by a call that no
     * slot carries. Booked now, at the latest moment possible. */
    uint64_t who = CG_LOAD(&b->who), what = CG_LOAD(&b->what);
    int own;
    uint32_t shard = cg_shard_of(t, &own);
    CG_STORE(&b->what, 0);
    CG_STORE_RELEASE(&b->who, 0);
    cg_book_free(t, who, cg_size_in(what), what & ((1u << CG_TICK_BITS) - 1), 0);
    cg_count(&T.shards[shard].unseen_frees, 1, own);
    if (CG_UNLIKELY(what & CG_IS_HANDLE))
        cg_handles_gone(t, who >> CG_OWNER_BITS << 3);
    if (CG_UNLIKELY(cg_epoch_in(who) != 0 || cg_filter_ready()))
        cg_filter_drop(who >> CG_OWNER_BITS << 3);
}

static CG_HOT int cg_block_place(struct cg_thread *t, uint64_t address, uint64_t who, uint64_t what)
{
    for (;;) {
        uint32_t used = CG_LOAD_ACQUIRE(&T.shared->levels_used);
        for (uint32_t level = 0; level + 1 < used; level++) {
            struct cg_block *stale = cg_block_find(level, address);
            if (CG_UNLIKELY(stale != 0))
                cg_forget_stale(t, stale);
        }
        struct cg_block *home[2];
        cg_homes(used - 1, address, home);
        for (uint32_t h = 0; h < 2; h++) {
            struct cg_block *stale = cg_among(home[h], who & ~((1ull << CG_OWNER_BITS) - 1));
            if (CG_UNLIKELY(stale != 0))
                cg_forget_stale(t, stale);
        }
        struct cg_block *empty = cg_room(home);
        /* Before a level opens the gaps in the older ones are filled: each costs two cache lines an event. */
        for (uint32_t level = used - 1; CG_UNLIKELY(empty == 0) && level-- > 0;) {
            cg_homes(level, address, home);
            empty = cg_room(home);
        }
        if (CG_LIKELY(empty != 0)) {
            uint64_t none = 0;
            if (CG_LIKELY(__atomic_compare_exchange_n(&empty->who, &none, who, 0, __ATOMIC_ACQ_REL,
                                                      __ATOMIC_RELAXED))) {
                CG_STORE(&empty->what, what);
                return 1;
            }
            continue; /* somebody else was quicker: look again */
        }
        if (used == CG_LEVELS)
            return 0;
        __atomic_compare_exchange_n(&T.shared->levels_used, &used, used + 1, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED);
    }
}

CG_HOT void cg_block_insert(struct cg_thread *t, uint64_t address, uint64_t size, uint32_t stack, uint64_t epoch)
{
    uint64_t who = (address >> 3) << CG_OWNER_BITS | epoch << CG_STACK_BITS | stack;
    /* First the filter: whoever frees the block finds it there. */
    if (CG_UNLIKELY(epoch != 0))
        cg_filter_add(address);
    if (CG_UNLIKELY(!cg_block_place(t, address, who, cg_what(size)))) {
        int own;
        uint32_t shard = cg_shard_of(t, &own);
        cg_count(&T.shards[shard].dropped_blocks, 1, own);
        if (epoch != 0)
            cg_filter_drop(address);
        return;
    }
    if (CG_UNLIKELY(epoch != 0))
        cg_book_sample(stack, epoch, size);
    else
        cg_book_birth(t, stack, size);
}

CG_HOT int cg_block_take(struct cg_thread *t, uint64_t address, int cleaned, struct cg_block *old)
{
    for (uint32_t level = CG_LOAD(&T.shared->levels_used); level-- > 0;) {
        struct cg_block *b = cg_block_find(level, address);
        if (b == 0)
            continue;
        old->who = CG_LOAD(&b->who);
        old->what = CG_LOAD(&b->what);
        CG_STORE(&b->what, 0);
        CG_STORE_RELEASE(&b->who, 0);
        cg_book_free(t, old->who, cg_size_in(old->what), old->what & ((1u << CG_TICK_BITS) - 1), cleaned);
        if (CG_UNLIKELY(old->what & CG_IS_HANDLE)) {
            cg_handles_gone(t, address);
            old->what &= ~CG_IS_HANDLE;
        }
        return 1;
    }
    return 0;
}

CG_HOT int cg_block_remove(struct cg_thread *t, uint64_t address, int cleaned, struct cg_block *old)
{
    if (CG_LIKELY(cg_block_take(t, address, cleaned, old)))
        return 1;
    int own;
    uint32_t shard = cg_shard_of(t, &own);
    cg_count(&T.shards[shard].unmatched_frees, 1, own);
    return 0;
}

void cg_block_restore(struct cg_thread *t, uint64_t address, const struct cg_block *old, int cleaned)
{
    int own;
    uint32_t stack = cg_stack_in(old->who);
    uint64_t epoch = cg_epoch_in(old->who);
    struct cg_row *row = cg_row_of(t, stack, &own);
    int filtered = epoch != 0 || (CG_LOAD(&R->enabled) & CG_SAMPLED);
    if (filtered)
        cg_filter_add(address);
    if (!cg_block_place(t, address, old->who, old->what)) {
        uint32_t shard = cg_shard_of(t, &own);
        cg_count(&T.shards[shard].dropped_blocks, 1, own);
        if (filtered)
            cg_filter_drop(address);
        return;
    }
    if (epoch != 0) {
        uint64_t weight = cg_weight(cg_size_in(old->what), T.shared->rates[epoch]);
        CG_ADD_SHARED(&T.weighted[stack].freed_blocks, 0 - weight);
        CG_ADD_SHARED(&T.weighted[stack].freed_bytes, 0 - cg_weighted(cg_size_in(old->what), weight));
        if (cleaned)
            CG_ADD_SHARED(&T.weighted[stack].cleaned_blocks, 0 - weight);
        return;
    }
    cg_count(&row->freed_blocks, ~0ull, own);
    cg_count(&row->freed_bytes, 0 - (cg_size_in(old->what)), own);
    if (cleaned)
        cg_count(&row->cleaned_blocks, ~0ull, own);
}

/* --- handles --------------------------------------------------------------------------------- */

/* Handles have a table of their own: what one is, is the address of a block as a rule, and that is in
 * the other. It works like it; handles are made more rarely, so that nothing is unrolled. A handle
 * belongs to whoever its create function gave it to. */
#define CG_HANDLE_HOME 4u

static inline uint64_t cg_handle_key(uint32_t family, uint64_t handle)
{
    return (uint64_t)(family + 1) << CG_HANDLE_BITS | (handle & ((1ull << CG_HANDLE_BITS) - 1));
}

static void cg_handle_homes(uint32_t level, uint64_t key, struct cg_handle *home[2])
{
    uint64_t h = cg_mix(cg_mix(key));
    uint32_t mask = (1u << (CG_HANDLE_LEVEL0_BITS + level)) / CG_HANDLE_HOME - 1;
    home[0] = T.handles[level] + CG_HANDLE_HOME * ((h >> 32) & mask);
    home[1] = T.handles[level] + CG_HANDLE_HOME * ((h >> 4) & mask);
}

/* The entry of a key, from level on downwards; key 0: an empty one for wanted. */
static struct cg_handle *cg_handle_find(uint32_t level, uint64_t key, uint64_t wanted)
{
    struct cg_handle *home[2];
    cg_handle_homes(level, wanted, home);
    for (uint32_t i = 0; i < 2 * CG_HANDLE_HOME; i++) {
        struct cg_handle *h = &home[i / CG_HANDLE_HOME][i % CG_HANDLE_HOME];
        if (CG_LOAD(&h->key) == key)
            return h;
    }
    return 0;
}

static int cg_handle_out(struct cg_thread *t, uint64_t key, int cleaned, struct cg_handle *old)
{
    for (uint32_t level = CG_LOAD_ACQUIRE(&T.shared->handle_levels_used); level-- > 0;) {
        struct cg_handle *h = cg_handle_find(level, key, key);
        if (h == 0)
            continue;
        old->key = key;
        old->who = CG_LOAD_ACQUIRE(&h->who);
        if (CG_UNLIKELY(old->who == 0))
            return 0; /* being entered: it is given up before its create function has returned */
        old->size = CG_LOAD(&h->size);
        CG_STORE(&h->who, 0);
        CG_STORE_RELEASE(&h->key, 0);
        cg_book_free(t, (uint32_t)old->who, old->size, old->who >> 32, cleaned);
        return 1;
    }
    return 0;
}

static int cg_handle_place(uint64_t key, uint64_t who, uint64_t size)
{
    for (;;) {
        uint32_t used = CG_LOAD_ACQUIRE(&T.shared->handle_levels_used);
        struct cg_handle *empty = 0;
        for (uint32_t level = used; empty == 0 && level-- > 0;)
            empty = cg_handle_find(level, 0, key);
        if (empty != 0) {
            uint64_t none = 0;
            if (!__atomic_compare_exchange_n(&empty->key, &none, key, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
                continue; /* somebody else was quicker: look again */
            CG_STORE(&empty->size, size);
            CG_STORE_RELEASE(&empty->who, who);
            return 1;
        }
        if (used == CG_HANDLE_LEVELS)
            return 0;
        __atomic_compare_exchange_n(&T.shared->handle_levels_used, &used, used + 1, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED);
    }
}

/* Says of the block at this address, if there is one, that it is a handle: whoever frees it gives up
 * the handle as well, even if no destroy function was seen. */
static void cg_block_is_handle(uint64_t address)
{
    if (address & 7)
        return;
    for (uint32_t level = CG_LOAD(&T.shared->levels_used); level-- > 0;) {
        struct cg_block *b = cg_block_find(level, address);
        if (b == 0)
            continue;
        if (CG_LOAD(&b->what) != 0)
            CG_STORE(&b->what, CG_LOAD(&b->what) | CG_IS_HANDLE);
        return;
    }
}

void cg_handle_insert(struct cg_thread *t, uint32_t family, uint64_t handle, uint64_t size, uint32_t stack)
{
    struct cg_family *f = &T.families[family];
    struct cg_handle old;
    uint64_t key = cg_handle_key(family, handle);
    /* A create function that calls another one, or a handle that was given up unseen. */
    if (CG_UNLIKELY(cg_handle_out(t, key, 0, &old)))
        CG_ADD_SHARED(&f->replaced, 1ull);
    if (stack == 0 || !cg_handle_place(key, (uint64_t)CG_LOAD(&T.shared->tick) << 32 | stack, size)) {
        CG_ADD_SHARED(&f->dropped, 1ull);
        return;
    }
    CG_ADD_SHARED(&f->created, 1ull);
    cg_book_birth(t, stack, size);
    cg_block_is_handle(handle);
}

/* A thread may detach itself, or be joined by another, before the pthread_create that made it returns,
 * and its handle is entered. So whoever gives up an unknown handle while there is such a call leaves a
 * mark, and looks again for the handle; whoever enters one looks for a mark. One of the two sees the
 * other, or both do: the one who takes the mark out takes out the handle. */
void cg_handle_making(uint32_t family, int begins)
{
    __atomic_fetch_add(&T.families[family].making, begins ? 1ull : ~0ull, __ATOMIC_ACQ_REL);
}

/* Of two that change the same word, the later sees what the other did before. */
static void cg_see_each_other(uint32_t family)
{
    __atomic_fetch_add(&T.families[family].making, 0ull, __ATOMIC_ACQ_REL);
}

/* True for the one who takes out the mark. *when: its tick. */
static int cg_take_mark(uint64_t mark, uint32_t *when)
{
    for (uint32_t level = CG_LOAD_ACQUIRE(&T.shared->handle_levels_used); level-- > 0;) {
        struct cg_handle *h = cg_handle_find(level, mark, mark);
        if (h == 0)
            continue;
        uint64_t who = CG_LOAD_ACQUIRE(&h->who);
        /* A mark's stack is 0: what has come into its place meanwhile is none, or another one. */
        if (who == 0 || (uint32_t)who != 0 || CG_LOAD(&h->key) != mark ||
            !__atomic_compare_exchange_n(&h->who, &who, 0, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return 0;
        CG_STORE_RELEASE(&h->key, 0);
        *when = (uint32_t)(who >> 32);
        return 1;
    }
    return 0;
}

void cg_handle_settle(struct cg_thread *t, uint32_t family, uint64_t handle, uint32_t since)
{
    struct cg_handle old;
    uint32_t when;
    uint64_t key = cg_handle_key(family, handle);
    cg_see_each_other(family);
    /* A mark from before is of another handle that had this value. */
    if (cg_take_mark(key | CG_HANDLE_EARLY, &when) && (int32_t)(when - since) >= 0 &&
        cg_handle_out(t, key, 0, &old)) {
        CG_ADD_SHARED(&T.families[family].destroyed, 1ull);
        CG_ADD_SHARED(&T.families[family].unmatched, ~0ull);
    }
}

static int cg_is_entered(uint64_t key)
{
    for (uint32_t level = CG_LOAD_ACQUIRE(&T.shared->handle_levels_used); level-- > 0;) {
        struct cg_handle *h = cg_handle_find(level, key, key);
        if (h != 0)
            return CG_LOAD_ACQUIRE(&h->who) != 0;
    }
    return 0;
}

static __attribute__((noinline)) void cg_mark_early(struct cg_thread *t, uint32_t family, uint64_t handle)
{
    uint64_t key = cg_handle_key(family, handle);
    uint64_t tick = CG_LOAD(&T.shared->tick);
    if (!cg_handle_place(key | CG_HANDLE_EARLY, tick << 32, 0))
        return;
    cg_see_each_other(family);
    if (cg_is_entered(key))
        cg_handle_settle(t, family, handle, (uint32_t)tick);
}

int cg_handle_take(struct cg_thread *t, uint32_t family, uint64_t handle, int cleaned, struct cg_handle *old)
{
    struct cg_family *f = &T.families[family];
    /* Before it is looked for: what is being made now may have been entered by the time that it is not found. */
    uint64_t making = CG_LOAD_ACQUIRE(&f->making);
    if (cg_handle_out(t, cg_handle_key(family, handle), cleaned, old)) {
        CG_ADD_SHARED(&f->destroyed, 1ull);
        return 1;
    }
    CG_ADD_SHARED(&f->unmatched, 1ull);
    if (making != 0)
        cg_mark_early(t, family, handle);
    return 0;
}

void cg_handle_restore(struct cg_thread *t, const struct cg_handle *old, int cleaned)
{
    int own;
    uint32_t family = (uint32_t)(old->key >> CG_HANDLE_BITS) - 1;
    struct cg_row *row = cg_row_of(t, (uint32_t)old->who, &own);
    CG_ADD_SHARED(&T.families[family].destroyed, ~0ull);
    if (!cg_handle_place(old->key, old->who, old->size)) {
        CG_ADD_SHARED(&T.families[family].dropped, 1ull);
        return;
    }
    cg_count(&row->freed_blocks, ~0ull, own);
    cg_count(&row->freed_bytes, 0 - old->size, own);
    if (cleaned)
        cg_count(&row->cleaned_blocks, ~0ull, own);
}

/* The block at this address is freed: so are the handles that it is. */
static __attribute__((noinline)) void cg_handles_gone(struct cg_thread *t, uint64_t address)
{
    struct cg_handle old;
    uint32_t families = CG_LOAD(&T.shared->families);
    for (uint32_t family = 0; family < families && family < CG_FAMILIES; family++)
        if (cg_handle_out(t, cg_handle_key(family, address), 0, &old))
            CG_ADD_SHARED(&T.families[family].gone, 1ull);
}

/* --- regions --------------------------------------------------------------------------------- */

/* Application mmaps are few, and munmap may cut pieces out of them: a list under a lock. A signal
 * handler that maps memory while its own thread is in here must not wait for itself. */
static int cg_regions_lock(struct cg_thread *t)
{
    if (t == &R->overflow || t->inside > 1)
        return 0;
    for (uint32_t spin = 0;; spin++) {
        uint64_t free_ = 0;
        if (__atomic_compare_exchange_n(&T.shared->regions_lock, &free_, t->key, 0, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return 1;
        if (spin > 1000)
            cg_sleep_ms(1);
        if (spin > 1200)
            return 0;
    }
}

static void cg_regions_unlock(void)
{
    CG_STORE_RELEASE(&T.shared->regions_lock, 0);
}

static int cg_region_add(uint64_t start, uint64_t size, uint64_t stack, uint64_t tick)
{
    for (uint32_t i = 0; i < CG_REGIONS; i++)
        if (T.regions[i].start <= 1) {
            struct cg_region *r = &T.regions[i];
            /* The driver reads meanwhile: the start says that the rest is there. */
            CG_STORE(&r->size, size);
            CG_STORE(&r->stack, stack);
            CG_STORE(&r->tick, tick);
            CG_STORE_RELEASE(&r->start, start);
            return 1;
        }
    return 0;
}

void cg_region_insert(struct cg_thread *t, uint64_t address, uint64_t size, uint32_t stack)
{
    int own;
    uint32_t shard = cg_shard_of(t, &own);
    if (size == 0 || !cg_regions_lock(t)) {
        cg_count(&T.shards[shard].dropped_blocks, size != 0, own);
        return;
    }
    int placed = cg_region_add(address, size, stack, CG_LOAD(&T.shared->tick));
    cg_regions_unlock();
    if (placed)
        cg_book_birth(t, stack, size);
    else
        cg_count(&T.shards[shard].dropped_blocks, 1, own);
}

/* Books what munmap left of a region. */
static void cg_region_rest(struct cg_thread *t, uint64_t start, uint64_t size, const struct cg_region *was)
{
    int own;
    uint32_t shard = cg_shard_of(t, &own);
    if (cg_region_add(start, size, was->stack, was->tick))
        cg_book_birth(t, (uint32_t)was->stack, size);
    else
        cg_count(&T.shards[shard].dropped_blocks, 1, own);
}

/* Takes [address, address + size) out of the regions it touches; a cut in the middle leaves two. */
void cg_region_remove(struct cg_thread *t, uint64_t address, uint64_t size)
{
    uint64_t end = address + size;
    if (size == 0 || end < address || !cg_regions_lock(t))
        return;
    for (uint32_t i = 0; i < CG_REGIONS && T.regions[i].start != 0; i++) {
        struct cg_region *r = &T.regions[i];
        uint64_t r_end = r->start + r->size;
        if (r->start == 1 || end <= r->start || r_end <= address)
            continue;
        struct cg_region was = *r;
        cg_book_free(t, (uint32_t)was.stack, was.size, was.tick, 0);
        CG_STORE(&r->start, 1);
        if (was.start < address)
            cg_region_rest(t, was.start, address - was.start, &was);
        if (end < r_end)
            cg_region_rest(t, end, r_end - end, &was);
    }
    cg_regions_unlock();
}
