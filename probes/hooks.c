/* What a taken-over slot leads to.
 *
 * Rules, in the order of what a mistake costs:
 *  - never block, fault, or call into Go; call libc only for what the caller asked for;
 *  - errno is what the provider left: no libc call comes after it;
 *  - a block is entered after the provider gave it and taken out before the provider gets it back,
 *    so that its address belongs to one thread at every moment;
 *  - a function whose result depends on who calls it (dlopen looks for its caller's RUNPATH, dlsym
 *    for the module after it) is never called from here: it is jumped to. */
#include "state.h"

#define REAL(index, type) ((type)CG_LOAD(&cgoleak_header.real[index]))
#define HERE ((uint64_t)__builtin_dwarf_cfa())
#define CALLER ((uint64_t)__builtin_return_address(0))
#define CALLER_FP (*(const uint64_t *)__builtin_frame_address(0))

static struct cg_thread *cg_claim(uint64_t key)
{
    uint32_t start = (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 40);
    for (uint32_t probe = 0; probe < 64; probe++) {
        struct cg_thread *t = &R->threads[(start + probe) & (CG_MAX_THREADS - 1)];
        uint64_t there = CG_LOAD(&t->key);
        if (there == 0 && __atomic_compare_exchange_n(&t->key, &there, key, 0, __ATOMIC_ACQ_REL,
                                                      __ATOMIC_RELAXED)) {
            t->index = ~0u;
            return t;
        }
        if (there == key)
            return t;
    }
    return &R->overflow;
}

static inline struct cg_thread *cg_thread_here(void)
{
    uint64_t key = cg_thread_pointer();
    uint32_t start = (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 40);
    struct cg_thread *t = &R->threads[start & (CG_MAX_THREADS - 1)];
    return CG_LIKELY(CG_LOAD(&t->key) == key) ? t : cg_claim(key);
}

struct cg_thread *cg_enter(void)
{
    if (CG_UNLIKELY(R == 0 || !CG_LOAD(&R->enabled)))
        return 0;
    struct cg_thread *t = cg_thread_here();
    if (CG_LIKELY(t != &R->overflow))
        cg_inside(&t->inside, 1u);
    else
        CG_ADD_SHARED(&t->inside, 1u);
    /* The store must be seen before the load that follows. Here only the compiler is held back;
     * whoever turns the hooks off makes up for it with membarrier(2). */
    CG_COMPILER_BARRIER();
    if (CG_UNLIKELY(!CG_LOAD(&R->enabled))) {
        cg_leave(t);
        return 0;
    }
    if (CG_UNLIKELY(t->index == ~0u && t != &R->overflow))
        t->index = CG_ADD_SHARED(&T.shared->threads_used, 1u);
    return t;
}

/* --- events while sampling ------------------------------------------------------------------- */

/* Counters of one thread, which a handler may interrupt at any instruction. Threads without a place
 * of their own share one. */
static inline void cg_count_event(struct cg_thread *t, uint64_t *counter)
{
    if (CG_LIKELY(t != &R->overflow))
        cg_add_own(counter, 1);
    else
        CG_ADD_SHARED(counter, 1ull);
}

/* Takes the block's bytes off the countdown; true if a point lies on them. */
static inline int cg_counts_down(struct cg_thread *t, uint64_t size)
{
    if (CG_UNLIKELY(t == &R->overflow))
        return __atomic_sub_fetch(&t->countdown, (int64_t)size, __ATOMIC_RELAXED) <= 0;
#if defined(__x86_64__)
    int reached;
    __asm__("subq %2, %1" : "=@ccle"(reached), "+m"(t->countdown) : "r"(size));
    return reached;
#else
    return __atomic_sub_fetch(&t->countdown, (int64_t)size, __ATOMIC_RELAXED) <= 0;
#endif
}

/* Sets the countdown anew and gives the epoch by which the block was chosen; 0 if it was not. A thread
 * changes to another rate where a countdown ends: the process has no memory, so nothing is lost. */
static uint64_t cg_chosen(struct cg_thread *t, uint64_t size)
{
    uint64_t was = t->epoch, now = CG_LOAD_ACQUIRE(&R->epoch);
    if (was == 0) {
        /* Not the countdown's first end, but its beginning. */
        t->random = R->seed ^ t->key; /* threads must not draw the same, one a little later than the other */
        t->random = cg_random(&t->random);
        t->countdown = cg_draw(&t->random, T.shared->rates[now]);
        t->epoch = now;
        if (!cg_counts_down(t, size))
            return 0;
        was = now;
    }
    t->countdown = cg_draw(&t->random, T.shared->rates[now]);
    t->epoch = now;
    return was;
}

static __attribute__((noinline)) void cg_born_chosen(void *block, uint64_t size, int reached, uint64_t sp, uint64_t pc,
                                                     uint64_t fp)
{
    struct cg_thread *t = cg_enter();
    if (t == 0)
        return;
    uint64_t epoch = reached ? cg_chosen(t, size) : 0;
    if (epoch != 0) {
        cg_block_insert(t, (uint64_t)block, size, cg_stack_of(t, sp, pc, fp), epoch);
    } else if (cg_may_be_known((uint64_t)block)) {
        /* If it is known, it was freed by a call that no slot carries. */
        struct cg_block old;
        if (cg_block_take(t, (uint64_t)block, 0, &old) && (cg_epoch_in(old.who) != 0 || cg_filter_ready()))
            cg_filter_drop((uint64_t)block);
    }
    cg_leave(t);
}

/* True while a call place has had few blocks this second. They are followed whatever their size, and stand for
 * themselves: a slow leak is not lost among much that comes and goes elsewhere, and costs nothing. Two threads in one
 * function have different stack pointers, so that they seldom share a cell; one that is full is only read. */
static inline int cg_is_rare(uint64_t sp, uint64_t pc)
{
    uint32_t rare = CG_LOAD(&R->rare);
    if (rare == 0)
        return 0;
    uint64_t h = (pc ^ sp >> 4) * 0x9e3779b97f4a7c15ull;
    uint8_t *seen = (uint8_t *)R->seen + (h >> 32 & (CG_PLACES - 1)), count = CG_LOAD(seen);
    if (CG_LIKELY(count >= rare))
        return 0;
    CG_STORE(seen, (uint8_t)(count + 1)); /* lost to another thread's now and then: one block more */
    return 1;
}

static __attribute__((noinline)) void cg_born_rare(void *block, uint64_t size, uint64_t sp, uint64_t pc, uint64_t fp)
{
    struct cg_thread *t = cg_enter();
    if (t == 0)
        return;
    /* First the filter: whoever frees the block finds it there. If the table has no room the cell stays, which costs
     * a look now and then. */
    cg_filter_add((uint64_t)block);
    cg_block_insert(t, (uint64_t)block, size, cg_stack_of(t, sp, pc, fp), 0);
    cg_leave(t);
}

/* Touches nothing but the resident part, which is always there: so it need not enter. */
static inline __attribute__((always_inline)) void cg_born_sampled(void *block, uint64_t size, uint64_t sp, uint64_t pc,
                                                                  uint64_t fp)
{
    if (CG_UNLIKELY(cg_is_rare(sp, pc))) {
        cg_born_rare(block, size, sp, pc, fp);
        return;
    }
    struct cg_thread *t = cg_thread_here();
    cg_count_event(t, &t->births);
    int reached = cg_counts_down(t, size);
    if (CG_UNLIKELY(reached || cg_may_be_known((uint64_t)block)))
        cg_born_chosen(block, size, reached, sp, pc, fp);
}

static __attribute__((noinline)) int cg_died_known(void *block, struct cg_block *old, int *cleaned)
{
    uint32_t ready = cg_filter_ready();
    struct cg_thread *t = cg_enter();
    if (t == 0)
        return 0;
    *cleaned = cg_is_cleaner();
    int found = cg_block_take(t, (uint64_t)block, *cleaned, old);
    if (found && (ready || cg_epoch_in(old->who) != 0))
        cg_filter_drop((uint64_t)block);
    if (!found || cg_epoch_in(old->who) != 0)
        cg_count_event(t, &t->frees);
    cg_leave(t);
    return found;
}

static inline __attribute__((always_inline)) int cg_died_sampled(void *block, struct cg_block *old, int *cleaned)
{
    if (CG_UNLIKELY(cg_may_be_known((uint64_t)block)))
        return cg_died_known(block, old, cleaned);
    struct cg_thread *t = cg_thread_here();
    cg_count_event(t, &t->frees);
    return 0;
}

/* --- every event ----------------------------------------------------------------------------- */

/* As cg_enter, but only where every block is kept and no event is timed. */
static inline __attribute__((always_inline)) struct cg_thread *cg_enter_exact(void)
{
    if (CG_UNLIKELY(R == 0 || CG_LOAD(&R->enabled) != CG_EXACT))
        return 0;
    struct cg_thread *t = cg_thread_here();
    if (CG_LIKELY(t != &R->overflow))
        cg_inside(&t->inside, 1u);
    else
        CG_ADD_SHARED(&t->inside, 1u);
    CG_COMPILER_BARRIER();
    if (CG_UNLIKELY(CG_LOAD(&R->enabled) != CG_EXACT)) {
        cg_leave(t);
        return 0;
    }
    if (CG_UNLIKELY(t->index == ~0u && t != &R->overflow))
        t->index = CG_ADD_SHARED(&T.shared->threads_used, 1u);
    return t;
}

/* looked, began: the clock, read twice before the event. What the reading itself takes is taken off
 * as it was in this very place. It never takes long: where it did, an interrupt fell into it, and
 * the event would count as less than nothing. */
static __attribute__((noinline)) void cg_timed(uint64_t looked, uint64_t began, uint64_t ended)
{
    struct cg_thread *t = cg_enter();
    if (t == 0)
        return;
    uint64_t took = ended - began, nothing = began - looked, most = CG_LOAD(&R->clock_most);
    if (took < most && nothing < most / 16) {
        CG_ADD_SHARED(&T.shared->timed_clock, (int64_t)(took - nothing));
        CG_ADD_SHARED(&T.shared->timed_events, 1ull);
    }
    cg_leave(t);
}

static __attribute__((noinline)) void cg_born_exact(void *block, uint64_t size, uint64_t sp, uint64_t pc, uint64_t fp)
{
    struct cg_thread *t = cg_enter();
    if (t == 0)
        return;
    int sampled = CG_LOAD(&R->enabled) & CG_SAMPLED;
    if (!sampled)
        cg_block_insert(t, (uint64_t)block, size, cg_stack_of(t, sp, pc, fp), 0);
    cg_leave(t);
    if (sampled)
        cg_born_sampled(block, size, sp, pc, fp);
}

static __attribute__((noinline)) int cg_died_exact(void *block, struct cg_block *old, int *cleaned)
{
    struct cg_thread *t = cg_enter();
    if (t == 0)
        return 0;
    int sampled = CG_LOAD(&R->enabled) & CG_SAMPLED, found = 0;
    if (!sampled) {
        *cleaned = cg_is_cleaner();
        found = cg_block_remove(t, (uint64_t)block, *cleaned, old);
    }
    cg_leave(t);
    return sampled ? cg_died_sampled(block, old, cleaned) : found;
}

static __attribute__((noinline)) void cg_born_otherwise(void *block, uint64_t size, uint64_t sp, uint64_t pc,
                                                        uint64_t fp)
{
    uint32_t mode = R == 0 ? 0 : CG_LOAD(&R->enabled);
    if (CG_LIKELY(mode == CG_SAMPLED)) {
        cg_born_sampled(block, size, sp, pc, fp);
        return;
    }
    if (mode == 0)
        return;
    uint64_t looked = cg_clock(), began = cg_clock();
    if (mode & CG_SAMPLED)
        cg_born_sampled(block, size, sp, pc, fp);
    else
        cg_born_exact(block, size, sp, pc, fp);
    if (mode & CG_TIMED)
        cg_timed(looked, began, cg_clock());
}

static __attribute__((noinline)) int cg_died_otherwise(void *block, struct cg_block *old, int *cleaned)
{
    uint32_t mode = R == 0 ? 0 : CG_LOAD(&R->enabled);
    if (CG_LIKELY(mode == CG_SAMPLED))
        return cg_died_sampled(block, old, cleaned);
    if (mode == 0)
        return 0;
    uint64_t looked = cg_clock(), began = cg_clock();
    int found = mode & CG_SAMPLED ? cg_died_sampled(block, old, cleaned) : cg_died_exact(block, old, cleaned);
    if (mode & CG_TIMED)
        cg_timed(looked, began, cg_clock());
    return found;
}

static CG_HOT __attribute__((noinline)) void cg_born(void *block, uint64_t size, uint64_t sp, uint64_t pc,
                                                     uint64_t fp)
{
    struct cg_thread *t = cg_enter_exact();
    if (CG_UNLIKELY(t == 0)) {
        cg_born_otherwise(block, size, sp, pc, fp);
        return;
    }
    cg_block_insert(t, (uint64_t)block, size, cg_stack_of(t, sp, pc, fp), 0);
    cg_leave(t);
}

static CG_HOT __attribute__((noinline)) int cg_died(void *block, struct cg_block *old, int *cleaned)
{
    struct cg_thread *t = cg_enter_exact();
    if (CG_UNLIKELY(t == 0))
        return cg_died_otherwise(block, old, cleaned);
    *cleaned = cg_is_cleaner();
    int found = cg_block_remove(t, (uint64_t)block, *cleaned, old);
    cg_leave(t);
    return found;
}

/* Where blocks are sampled, nothing more is called for those that are not. */
#define BORN(block, size) \
    do { \
        if (CG_LIKELY((block) != 0)) { \
            if (R != 0 && CG_LOAD(&R->enabled) == CG_SAMPLED) \
                cg_born_sampled((block), (uint64_t)(size), HERE, CALLER, CALLER_FP); \
            else \
                cg_born((block), (uint64_t)(size), HERE, CALLER, CALLER_FP); \
        } \
    } while (0)

static CG_HOT void *cg_malloc(size_t size)
{
    void *block = REAL(CG_MALLOC, void *(*)(size_t))(size);
    BORN(block, size);
    return block;
}

static CG_HOT void *cg_calloc(size_t count, size_t size)
{
    void *block = REAL(CG_CALLOC, void *(*)(size_t, size_t))(count, size);
    BORN(block, count * size);
    return block;
}

static void *cg_valloc(size_t size)
{
    void *block = REAL(CG_VALLOC, void *(*)(size_t))(size);
    BORN(block, size);
    return block;
}

static void *cg_pvalloc(size_t size)
{
    void *block = REAL(CG_PVALLOC, void *(*)(size_t))(size);
    BORN(block, size);
    return block;
}

static void *cg_memalign(size_t alignment, size_t size)
{
    void *block = REAL(CG_MEMALIGN, void *(*)(size_t, size_t))(alignment, size);
    BORN(block, size);
    return block;
}

static void *cg_aligned_alloc(size_t alignment, size_t size)
{
    void *block = REAL(CG_ALIGNED_ALLOC, void *(*)(size_t, size_t))(alignment, size);
    BORN(block, size);
    return block;
}

static int cg_posix_memalign(void **out, size_t alignment, size_t size)
{
    int result = REAL(CG_POSIX_MEMALIGN, int (*)(void **, size_t, size_t))(out, alignment, size);
    if (result == 0)
        BORN(*out, size);
    return result;
}

static CG_HOT __attribute__((noinline)) void cg_free_known(void *block)
{
    struct cg_block old;
    int cleaned;
    cg_died(block, &old, &cleaned);
    REAL(CG_FREE, void (*)(void *))(block);
}

static CG_HOT void cg_free(void *block)
{
    if (CG_LIKELY(block != 0)) {
        if (R == 0 || CG_LOAD(&R->enabled) != CG_SAMPLED || CG_UNLIKELY(cg_may_be_known((uint64_t)block))) {
            cg_free_known(block);
            return;
        }
        struct cg_thread *t = cg_thread_here();
        cg_count_event(t, &t->frees);
    }
    REAL(CG_FREE, void (*)(void *))(block);
}

/* A realloc is a free and a birth. The old block is taken out first, since its address may be
 * handed to another thread before realloc returns; if realloc refuses, it is put back. */
static inline __attribute__((always_inline)) void *cg_resize(void *block, size_t size, uint64_t sp, uint64_t pc,
                                                             uint64_t fp)
{
    struct cg_block old;
    int cleaned = 0;
    int found = block != 0 && cg_died(block, &old, &cleaned);
    void *moved = REAL(CG_REALLOC, void *(*)(void *, size_t))(block, size);
    if (CG_LIKELY(moved != 0)) {
        cg_born(moved, size, sp, pc, fp);
    } else if (found && size != 0) {
        struct cg_thread *t = cg_enter();
        if (t != 0) {
            cg_block_restore(t, (uint64_t)block, &old, cleaned);
            cg_leave(t);
        }
    }
    return moved;
}

static CG_HOT void *cg_realloc(void *block, size_t size)
{
    return cg_resize(block, size, HERE, CALLER, CALLER_FP);
}

/* glibc's and musl's reallocarray call realloc through a slot of their own, which is taken too: the
 * block would be booked twice. So the product is made here; only its overflow is theirs to answer. */
static void *cg_reallocarray(void *block, size_t count, size_t size)
{
    size_t product;
    if (CG_UNLIKELY(__builtin_mul_overflow(count, size, &product)))
        return REAL(CG_REALLOCARRAY, void *(*)(void *, size_t, size_t))(block, count, size);
    return cg_resize(block, product, HERE, CALLER, CALLER_FP);
}

/* --- application mmaps ----------------------------------------------------------------------- */

#define CG_IS_MAPPING(p) ((uint64_t)(p) < (uint64_t)-4095)

/* True if a stack goes through a hook of ours: then whoever provides malloc maps memory to cut blocks
 * from, and these are what is counted. */
static int cg_is_providers_own(uint32_t stack)
{
    const struct cg_stack *s = &T.stacks[stack];
    for (uint32_t i = 0; stack != 0 && i < s->count; i++)
        if (T.pool[s->first + i] - cgoleak_header.image_start < cgoleak_header.image_size)
            return 1;
    return 0;
}

static __attribute__((noinline)) void cg_mapped(void *at, uint64_t size, int flags, uint64_t sp,
                                                uint64_t pc, uint64_t fp)
{
    struct cg_thread *t = cg_enter();
    if (t == 0)
        return;
    /* The runtime maps its heap through x_cgo_mmap: that is Go memory, told elsewhere. */
    if (!cg_is_runtime_call()) {
        if (flags & CG_MAP_FIXED)
            cg_region_remove(t, (uint64_t)at, size);
        uint32_t stack = cg_stack_of(t, sp, pc, fp);
        if (!cg_is_providers_own(stack))
            cg_region_insert(t, (uint64_t)at, size, stack);
    }
    cg_leave(t);
}

static void *cg_hook_mmap(void *at, size_t size, int prot, int flags, int fd, long offset)
{
    void *got = REAL(CG_MMAP, void *(*)(void *, size_t, int, int, int, long))(at, size, prot, flags, fd,
                                                                              offset);
    /* PROT_NONE only reserves addresses; files are told by the kernel as file pages. */
    if (CG_IS_MAPPING(got) && prot != CG_PROT_NONE && (flags & CG_MAP_ANONYMOUS))
        cg_mapped(got, (size + 4095) & ~4095ull, flags, HERE, CALLER, CALLER_FP);
    return got;
}

static __attribute__((noinline)) void cg_unmapped(void *at, uint64_t size)
{
    struct cg_thread *t = cg_enter();
    if (t == 0)
        return;
    cg_region_remove(t, (uint64_t)at, size);
    cg_leave(t);
}

static int cg_hook_munmap(void *at, size_t size)
{
    cg_unmapped(at, (size + 4095) & ~4095ull);
    return REAL(CG_MUNMAP, int (*)(void *, size_t))(at, size);
}

static void *cg_hook_mremap(void *at, size_t old_size, size_t size, int flags, void *fixed)
{
    void *got = REAL(CG_MREMAP, void *(*)(void *, size_t, size_t, int, void *))(at, old_size, size, flags,
                                                                                fixed);
    if (CG_IS_MAPPING(got)) {
        cg_unmapped(at, (old_size + 4095) & ~4095ull);
        cg_mapped(got, (size + 4095) & ~4095ull, 0, HERE, CALLER, CALLER_FP);
    }
    return got;
}

/* --- libraries that come and go -------------------------------------------------------------- */

#define CG_DLSYM_WAIT_MS 250u

/* Called before the jump to dlopen, dlmopen or dlsym; returns the address to jump to. The driver
 * is told, and takes over the slots of what has come. It cannot do so before dlopen returns, and
 * dlopen must not be wrapped; but before the library is used there is a dlsym: the first one after
 * a dlopen waits for the driver, a quarter of a second at most. */
__attribute__((used, visibility("hidden"))) uint64_t cg_before_dl(uint64_t function)
{
    struct cg_thread *t = cg_enter();
    if (t != 0) {
        struct cg_shared *s = T.shared;
        char byte = (char)function;
        if (function != CG_DLSYM) {
            CG_ADD_SHARED(&s->dl_opens, 1u);
            CG_ADD_SHARED(&s->dl_wanted, 1u);
            cg_sys3(CG_NR_WRITE, T.event_fd, &byte, 1);
        } else if (CG_LOAD(&s->dl_opens) != CG_LOAD(&s->dl_waited)) {
            CG_STORE(&s->dl_waited, CG_LOAD(&s->dl_opens));
            uint32_t wanted = CG_ADD_SHARED(&s->dl_wanted, 1u) + 1;
            cg_sys3(CG_NR_WRITE, T.event_fd, &byte, 1);
            uint32_t waited = 0;
            while ((int32_t)(CG_LOAD_ACQUIRE(&s->dl_done) - wanted) < 0 && CG_LOAD(&R->enabled)) {
                if (++waited > CG_DLSYM_WAIT_MS) {
                    CG_ADD_SHARED(&s->dl_timeouts, 1u);
                    break;
                }
                cg_sleep_ms(1);
            }
        }
        cg_leave(t);
    }
    return CG_LOAD(&cgoleak_header.real[function]);
}

#if defined(__x86_64__)
#define CG_JUMP_HOOK(name, index) \
    __attribute__((visibility("hidden"))) void name(void); \
    __asm__(".text\n.p2align 4\n.hidden " #name "\n.globl " #name "\n.type " #name ", @function\n" #name ":\n" \
            "  push %rdi\n  push %rsi\n  push %rdx\n  push %rcx\n  push %r8\n" \
            "  mov $" #index ", %edi\n  call cg_before_dl\n" \
            "  pop %r8\n  pop %rcx\n  pop %rdx\n  pop %rsi\n  pop %rdi\n  jmp *%rax\n" \
            ".size " #name ", .-" #name "\n")
#else
#define CG_JUMP_HOOK(name, index) \
    __attribute__((visibility("hidden"))) void name(void); \
    __asm__(".text\n.p2align 4\n.hidden " #name "\n.globl " #name "\n.type " #name ", %function\n" #name ":\n" \
            "  stp x29, x30, [sp, #-48]!\n  mov x29, sp\n  stp x0, x1, [sp, #16]\n  stp x2, x3, [sp, #32]\n" \
            "  mov x0, #" #index "\n  bl cg_before_dl\n  mov x16, x0\n" \
            "  ldp x0, x1, [sp, #16]\n  ldp x2, x3, [sp, #32]\n  ldp x29, x30, [sp], #48\n  br x16\n" \
            ".size " #name ", .-" #name "\n")
#endif

_Static_assert(CG_DLOPEN == 13 && CG_DLMOPEN == 14 && CG_DLSYM == 16, "the numbers in the assembly");
CG_JUMP_HOOK(cg_hook_dlopen, 13);
CG_JUMP_HOOK(cg_hook_dlmopen, 14);
CG_JUMP_HOOK(cg_hook_dlsym, 16);

/* What lies at an unloaded library's addresses next has other unwind rules: nothing that was learnt
 * before or while it was unmapped is believed afterwards. */
static void cg_new_generation(void)
{
    struct cg_thread *t = cg_enter();
    if (t != 0) {
        CG_ADD_SHARED(&T.shared->rules_generation, 1u);
        cg_leave(t);
    }
}

/* While a library is being unmapped no slot may be stored to, and the other way round. */
static int cg_hook_dlclose(void *handle)
{
    __atomic_fetch_add(&R->unloading, 1u, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&R->patching, __ATOMIC_SEQ_CST) != 0)
        cg_sleep_ms(1);
    cg_new_generation();
    int result = REAL(CG_DLCLOSE, int (*)(void *))(handle);
    cg_new_generation();
    __atomic_fetch_sub(&R->unloading, 1u, __ATOMIC_SEQ_CST);
    struct cg_thread *t = cg_enter();
    if (t != 0) {
        char byte = CG_DLCLOSE;
        CG_ADD_SHARED(&T.shared->dl_wanted, 1u);
        cg_sys3(CG_NR_WRITE, T.event_fd, &byte, 1);
        cg_leave(t);
    }
    return result;
}

void cg_hook_addresses(uint64_t *hook)
{
    hook[CG_MALLOC] = (uint64_t)cg_malloc;
    hook[CG_CALLOC] = (uint64_t)cg_calloc;
    hook[CG_REALLOC] = (uint64_t)cg_realloc;
    hook[CG_REALLOCARRAY] = (uint64_t)cg_reallocarray;
    hook[CG_FREE] = (uint64_t)cg_free;
    hook[CG_POSIX_MEMALIGN] = (uint64_t)cg_posix_memalign;
    hook[CG_ALIGNED_ALLOC] = (uint64_t)cg_aligned_alloc;
    hook[CG_MEMALIGN] = (uint64_t)cg_memalign;
    hook[CG_VALLOC] = (uint64_t)cg_valloc;
    hook[CG_PVALLOC] = (uint64_t)cg_pvalloc;
    hook[CG_MMAP] = (uint64_t)cg_hook_mmap;
    hook[CG_MUNMAP] = (uint64_t)cg_hook_munmap;
    hook[CG_MREMAP] = (uint64_t)cg_hook_mremap;
    hook[CG_DLOPEN] = (uint64_t)cg_hook_dlopen;
    hook[CG_DLMOPEN] = (uint64_t)cg_hook_dlmopen;
    hook[CG_DLCLOSE] = (uint64_t)cg_hook_dlclose;
    hook[CG_DLSYM] = (uint64_t)cg_hook_dlsym;
}
