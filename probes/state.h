/* State of the resident copy: private to the target, found by no one but its own code. */
#ifndef CGOLEAK_STATE_H
#define CGOLEAK_STATE_H

#include "ehframe.h"
#include "layout.h"
#include "sys.h"

#define CG_LIKELY(x) __builtin_expect(!!(x), 1)
#define CG_UNLIKELY(x) __builtin_expect(!!(x), 0)
/* What every event goes through lies together: in a large program its pages and cache lines are what it costs. */
#define CG_HOT __attribute__((hot))
#define CG_COMPILER_BARRIER() __asm__ volatile("" ::: "memory")

#define CG_LOAD(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define CG_STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define CG_LOAD_ACQUIRE(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define CG_STORE_RELEASE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define CG_ADD_SHARED(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)

/* Adds to a counter that only this thread (and its signal handlers) writes: one instruction, so
 * that a handler in the middle of it loses nothing, but no lock prefix. */
static inline void cg_add_own(uint64_t *p, uint64_t v)
{
#if defined(__x86_64__)
    __asm__("addq %1, %0" : "+m"(*p) : "r"(v) : "cc");
#else
    CG_ADD_SHARED(p, v);
#endif
}

/* Says that a thread is in a hook, or no longer: written by itself alone, read by the control thread. */
static inline void cg_inside(uint32_t *inside, uint32_t more)
{
#if defined(__x86_64__)
    __asm__("addl %1, %0" : "+m"(*inside) : "ri"(more) : "cc");
#else
    CG_STORE(inside, CG_LOAD(inside) + more);
#endif
}

/* What is kept per thread. Found by the thread pointer, because the probe may not use TLS. Lies
 * in the resident part, which is never unmapped: entering a hook writes here before it may look
 * at the tables. */
struct cg_thread {
    uint64_t key;      /* thread pointer; 0: free */
    uint32_t inside;   /* hooks this thread is in; more than one: a signal handler allocates */
    uint32_t index;
    uint64_t range_lo; /* part of the stack that was seen to be readable, for threads without g0 */
    uint64_t range_hi;
    int64_t countdown; /* bytes until the next sample */
    uint64_t births;   /* since sampling began, sampled or not */
    uint64_t frees;
    uint64_t epoch;    /* of the countdown; 0: none was drawn */
    uint64_t random;
    uint64_t spare[7];
};
_Static_assert(sizeof(struct cg_thread) == 128, "two cache lines, the second seldom needed");

/* Values of cg_resident.enabled; 0: every hook passes through. */
#define CG_EXACT 1u
#define CG_SAMPLED 2u
#define CG_TIMED 4u /* beside one of the others: events are timed, for a moment */

#define CG_FILTER_LEAST (1u << 15)
#define CG_FILTER_MOST (1u << 22)
#define CG_FILTER_SMALL (1u << 11) /* a page */
#define CG_PLACES 8192u /* power of two */

struct cg_resident {
    /* The first page is wiped in a forked child: there every hook passes through. */
    uint32_t enabled;
    /* Slot stores and dlclose keep out of each other's way, see hooks.c. Here, because a child
     * forked in between has nobody who would ever end the store. */
    uint32_t unloading;
    uint32_t patching;
    uint32_t filter_ready; /* the filter knows the blocks from before sampling began */
    uint64_t filter_mask;
    uint64_t epoch;        /* copy of that in cg_shared */
    uint64_t seed;         /* of the random numbers */
    uint64_t clock_most;   /* longer ones were interrupted, and do not count */
    uint32_t rare;         /* while sampling: a call place's blocks that are followed for sure, each second; 0: none */
    uint32_t spare[1011];
    struct cg_thread overflow; /* for threads that found no place; its fields are shared */
    struct cg_thread threads[CG_MAX_THREADS];
    /* Blocks in the table, by hash of the address: where there is 0, a free need not look. */
    uint16_t filter[CG_FILTER_MOST];
    _Alignas(4096) uint16_t filter_small[CG_FILTER_SMALL];
    uint64_t seen[CG_PLACES / 8]; /* bytes: blocks of this second, by hash of the call place; stops at rare */
};
_Static_assert(__builtin_offsetof(struct cg_resident, overflow) == 4096, "the first page is wiped alone");

/* A stack that a thread took before, in order to see at a glance that it takes it again. What is compared lies
 * together, the C stack's first: cache lines are what it costs. */
struct cg_memo {
    _Alignas(64) uint64_t sp;
    uint64_t pc;
    uint64_t limit;      /* upper end of what was read on this stack */
    uint64_t fp;         /* caller's frame pointer, where the walk used it */
    uint32_t stack;      /* 0: empty */
    uint32_t generation; /* of the unwind rules */
    uint16_t words;      /* words on the C stack that must be the same */
    uint16_t go_frames;  /* and return addresses of Go, leaf first */
    uint8_t uses_fp;
    uint8_t is_go;
    uint8_t crossed;     /* the Go chain goes through a callback from C */
    uint64_t go_span;    /* from the first Go frame to the last, unless crossed */
    uint32_t at[2 * CG_MEMO_FRAMES]; /* of a word: its offset from sp; of a Go frame: how far the next is above it */
    uint64_t value[2 * CG_MEMO_FRAMES];
};

/* Those of one thread. One place may be reached in several ways at the same depth, so that a set has several for one tag. */
struct cg_memos {
    uint64_t tag[1u << CG_MEMO_BITS][CG_MEMO_WAYS]; /* 0: empty */
    uint8_t next[1u << CG_MEMO_BITS];               /* which is given up next */
    uint8_t before;                                 /* the one that was taken before, of all of them */
    uint8_t last[1u << CG_MEMO_LAST_BITS];          /* which it was last, at a place and depth, after that one */
    struct cg_memo memo[1u << CG_MEMO_BITS][CG_MEMO_WAYS];
};

_Static_assert(CG_MEMO_WAYS << CG_MEMO_BITS <= 1u << CG_MEMO_LAST_BITS && CG_MEMO_LAST_BITS <= 8, "indexes of a byte");

struct cg_rule_entry {
    uint64_t key;  /* tag of pc and generation, xor packed: a torn entry does not match */
    uint64_t packed;
};

/* Addresses of the parts of the shared memory. */
struct cg_tables {
    struct cg_shared *shared;
    struct cg_module *modules[2];
    struct cg_slot *slots;
    struct cg_shard *shards;
    struct cg_row *rows;
    struct cg_row *weighted;
    struct cg_stack *stacks;
    uint32_t *stack_index;
    uint64_t *pool;
    struct cg_rule_entry *rules;
    struct cg_memos *memos;
    struct cg_region *regions;
    struct cg_block *levels[CG_LEVELS];
    struct cg_pair *pairs;
    struct cg_family *families;
    struct cg_handle *handles[CG_HANDLE_LEVELS];
    struct cg_go go; /* a private copy: the hook reads it on every event */
    int event_fd;    /* our end: tells the driver of dlopen and dlclose */
};

extern struct cg_header cgoleak_header __attribute__((visibility("hidden")));
extern struct cg_tables T;
extern struct cg_resident *R;

/* Enters a hook: NULL if nothing is measured. Every non-NULL result must be left. */
struct cg_thread *cg_enter(void);
static inline void cg_leave(struct cg_thread *t)
{
    CG_COMPILER_BARRIER();
    if (CG_LIKELY(t != &R->overflow))
        cg_inside(&t->inside, ~0u);
    else
        CG_ADD_SHARED(&t->inside, ~0u);
}

/* tables.c */
uint32_t cg_stack_intern(const uint64_t *pcs, uint32_t count, uint32_t flags, struct cg_thread *t);
/* Books that a stack had to be walked, because no memo held. */
void cg_count_walk(struct cg_thread *t);
/* epoch: 0, or that of the countdown which chose the block. */
void cg_block_insert(struct cg_thread *t, uint64_t address, uint64_t size, uint32_t stack, uint64_t epoch);
/* Takes a block out and books it as freed. False if it was not there. */
int cg_block_take(struct cg_thread *t, uint64_t address, int cleaned, struct cg_block *old);
/* The same, and books that it was not there. */
int cg_block_remove(struct cg_thread *t, uint64_t address, int cleaned, struct cg_block *old);
/* Puts a block back that a failed realloc left alone. */
void cg_block_restore(struct cg_thread *t, uint64_t address, const struct cg_block *old, int cleaned);
/* What is booked of a block, without what else is in that word. */
static inline uint64_t cg_size_in(uint64_t what)
{
    return (what & ~CG_IS_HANDLE) >> CG_TICK_BITS;
}
void cg_handle_insert(struct cg_thread *t, uint32_t family, uint64_t handle, uint64_t size, uint32_t stack);
/* Takes a handle out and books it as freed. False if it was not there. */
int cg_handle_take(struct cg_thread *t, uint32_t family, uint64_t handle, int cleaned, struct cg_handle *old);
/* Whether eight bytes can be read, without process_vm_readv. */
int cg_is_readable_word(uint64_t at);
/* A create function begins, or has ended, whose handles may be given up before it returns. */
void cg_handle_making(uint32_t family, int begins);
/* To be called after the insert of such a handle: was it given up meanwhile? since: tick of the beginning. */
void cg_handle_settle(struct cg_thread *t, uint32_t family, uint64_t handle, uint32_t since);
/* Puts a handle back that its destroy function refused to give up. */
void cg_handle_restore(struct cg_thread *t, const struct cg_handle *old, int cleaned);
void cg_region_insert(struct cg_thread *t, uint64_t address, uint64_t size, uint32_t stack);
void cg_region_remove(struct cg_thread *t, uint64_t address, uint64_t size);

/* unwind.c: the stack that called a hook, as an id. sp: stack pointer before the call; pc: return
 * address; fp: frame pointer of the caller. */
uint32_t cg_stack_of(struct cg_thread *t, uint64_t sp, uint64_t pc, uint64_t fp);
/* The same for a handle: its stacks are not those of blocks. */
uint32_t cg_stack_of_handle(struct cg_thread *t, uint64_t sp, uint64_t pc, uint64_t fp, uint32_t family);
/* Finds out whether memory can be looked at without touching it. */
void cg_try_looking(void);
/* True on a goroutine that runs finalizers or cleanups. */
int cg_is_cleaner(void);
/* True in the Go runtime's own calls into libc. */
int cg_is_runtime_call(void);

/* hooks.c */
void cg_hook_addresses(uint64_t *hook);

/* pairs.c: [begin, end) of the code that other functions are called from, where a frame is always
 * found by its frame pointer. */
extern const char cg_pair_thunks[] __attribute__((visibility("hidden")));
extern const char cg_pair_begin[] __attribute__((visibility("hidden")));
extern const char cg_pair_end[] __attribute__((visibility("hidden")));

#endif
