/* The wire layout: what the probe in the target and the driver outside both read and write.
 *
 * One definition. cgoleak/probe/wire/layout.py mirrors it with ctypes, and a native test compiles this
 * header and compares every offset. Change anything here: raise CG_VERSION.
 *
 * All integers are little endian and 8-byte aligned; every pointer is an address in the target.
 */
#ifndef CGOLEAK_LAYOUT_H
#define CGOLEAK_LAYOUT_H

#include <stdint.h>

#define CG_MAGIC 0x6b61656c6f676367ull /* "gcgoleak", little endian */
#define CG_VERSION 9u

/* Room. The memfd is sparse: only touched pages cost memory. */
#define CG_MAX_MODULES 1024u
#define CG_MAX_SLOTS 32768u
#define CG_MAX_THREADS 4096u  /* power of two */
#define CG_MAX_STACKS (1u << 17)
#define CG_MAX_FRAMES 256u
#define CG_SHARDS 64u
#define CG_POOL_WORDS (1u << 23) /* return addresses of all stacks: 64 MiB */
#define CG_RULES (1u << 14)
#define CG_LEVELS 14u
#define CG_LEVEL0_BITS 12u /* entries of the first level of the block table, as a power of two */
#define CG_REGIONS 16384u  /* application mmaps: power of two */
#define CG_MEMO_BITS 4u    /* sets of remembered stacks per thread, as a power of two */
#define CG_MEMO_WAYS 8u    /* in each of them: a cache line of tags */
#define CG_MEMO_LAST_BITS 8u /* places, each after another memo, of which it is known which memo matched last */
#define CG_MEMO_FRAMES 64u
#define CG_RATE_MOST (1ull << 32) /* bytes per sample */
#define CG_WEIGHT_ONE 65536u /* weights of sampled blocks are counted in this unit */
#define CG_BORROW_BYTES 131072 /* mapped for this object while it comes into a static program */
#define CG_EPOCHS 8u /* sampling rates of one measurement; 0: every block */
#define CG_FAMILIES 48u        /* kinds of handles of one measurement */
#define CG_PAIR_FUNCTIONS 240u /* functions that make or give up handles */
#define CG_PAIR_WORDS 16u      /* words of stack arguments that are passed on to such a function */
#define CG_PAIR_THUNK_BYTES 16u /* between the entries of two such functions */
#define CG_HANDLE_LEVELS 10u
#define CG_HANDLE_LEVEL0_BITS 10u

/* What a slot leads to. The order is that of the hook table in hooks.c. */
enum cg_function {
    CG_MALLOC,
    CG_CALLOC,
    CG_REALLOC,
    CG_REALLOCARRAY,
    CG_FREE,
    CG_POSIX_MEMALIGN,
    CG_ALIGNED_ALLOC,
    CG_MEMALIGN,
    CG_VALLOC,
    CG_PVALLOC,
    CG_MMAP,
    CG_MUNMAP,
    CG_MREMAP,
    CG_DLOPEN,
    CG_DLMOPEN,
    CG_DLCLOSE,
    CG_DLSYM,
    CG_FUNCTIONS
};

/* What a function of the user's own pairs does with a handle. */
enum cg_role {
    CG_ROLE_NONE = 0,
    CG_ROLE_CREATE = 1,  /* a handle is there after it */
    CG_ROLE_DESTROY = 2, /* the handle is gone with it */
    CG_ROLE_RESIZE = 3,  /* the handle is replaced by another, as by realloc */
};

/* When such a function has done what it says; tested on what it returns. */
enum cg_success {
    CG_IF_ANY = 0,
    CG_IF_ZERO = 1,        /* int */
    CG_IF_NONZERO = 2,     /* int */
    CG_IF_POSITIVE = 3,    /* int */
    CG_IF_NOT_NEGATIVE = 4, /* int */
    CG_IF_TRUE = 5,        /* bool */
};

/* A function of the user's own pairs; filled by the driver before its slots are taken. Arguments are
 * counted from 1, as integers and pointers are passed; 0 is the result. */
struct cg_pair {
    uint64_t real;    /* where it is; 0: none */
    uint64_t size;    /* of every handle, in bytes, if no argument says it */
    uint8_t family;
    uint8_t role;     /* enum cg_role */
    uint8_t handle;   /* which argument is the handle, or points to where it is put */
    uint8_t indirect; /* 1: it points to it */
    uint8_t success;  /* enum cg_success */
    uint8_t size_argument; /* 0: none says the size */
    uint8_t count_argument; /* by which that is multiplied; 0: by none */
    uint8_t unless_argument; /* points to what says that nothing is made that must be given up; 0: none does */
    uint32_t unless_mask;    /* by any of these bits, */
    uint16_t unless_at;      /* so many bytes behind it */
    uint8_t early;           /* 1: what is made may be given up before the create function returns */
    uint8_t spare;
};

/* What happened to handles of one family. */
struct cg_family {
    uint64_t created;
    uint64_t destroyed;
    uint64_t unmatched; /* given up, and never seen: from before attach, or made unseen */
    uint64_t replaced;  /* made anew at the same address without having been given up */
    uint64_t gone;      /* its block was freed, and no destroy was seen: the library did it itself */
    uint64_t dropped;
    uint64_t making;  /* create functions that have begun, of those whose handles may be given up early */
    uint64_t spare;
};

/* One outstanding handle. */
struct cg_handle {
    uint64_t key;  /* family + 1 in the upper 8 bits, the handle in the others; 0: empty. The topmost bit:
                    * it was given up before it was entered, and its stack is 0 */
    uint64_t who;  /* tick of birth in the upper 32 bits, stack in the others; 0: being entered */
    uint64_t size;
    uint64_t spare;
};
#define CG_HANDLE_BITS 56u
#define CG_HANDLE_EARLY (1ull << 63)

/* Life of the resident part. IDLE: nothing hooked, no thread, may be started again. */
enum cg_state { CG_IDLE = 0, CG_STARTING = 1, CG_RUNNING = 2, CG_STOPPING = 3, CG_FAILED = 4 };

/* Why the control thread stopped measuring. */
enum cg_reason { CG_REASON_NONE = 0, CG_REASON_ASKED = 1, CG_REASON_CONTROLLER_GONE = 2 };

/* Commands: one byte through the pipe; arguments lie in struct cg_shared. */
enum cg_command {
    CG_CMD_HOLD = 'H',    /* keep dlclose waiting until CG_CMD_INSTALL, half a second at most */
    CG_CMD_INSTALL = 'I', /* take over the slots [cmd_first, cmd_last) */
    CG_CMD_PASS = 'P',    /* the same, of functions that only pass calls on: nothing is counted yet */
    CG_CMD_NEAR = 'N',    /* map cmd_near_size bytes at cmd_near, for the driver to fill with jumps to hooks */
    CG_CMD_VERIFY = 'V',  /* put back hooks that the lazy binder overwrote */
    CG_CMD_MODULES = 'M', /* the other module table is complete: use it */
    CG_CMD_SAMPLE = 'S',  /* from now on sample one block per cmd_rate bytes */
    CG_CMD_DETACH = 'D',  /* restore everything and end */
};

enum cg_slot_state { CG_SLOT_FREE = 0, CG_SLOT_WANTED = 1, CG_SLOT_TAKEN = 2, CG_SLOT_RESTORED = 3, CG_SLOT_FOREIGN = 4, CG_SLOT_GONE = 5 };

/* In the data of the resident part; found by its symbol, read through /proc/PID/mem. */
struct cg_header {
    uint64_t magic;
    uint32_t version;
    uint32_t state;        /* enum cg_state */
    uint64_t build;        /* first eight bytes of the build id: same code, same layout */
    uint64_t image_start;  /* where the resident copy lies */
    uint64_t image_size;
    uint64_t start;        /* address of the function that starts it again */
    uint64_t resident;     /* struct cg_resident */
    uint64_t shared;       /* struct cg_shared, 0 while idle */
    uint64_t shared_size;
    int32_t owner_pid;     /* process that owns this copy: a forked child has the parent's */
    int32_t shared_fd;     /* memfd of the tables, until the driver says it has it */
    int32_t command_fd;    /* write end of the command pipe, until the driver has it */
    int32_t event_fd;      /* read end of the event pipe, until the driver has it */
    int32_t control_tid;
    int32_t error;         /* errno of a failed start */
    uint32_t step;         /* where a failed start stood */
    uint32_t rounds;       /* how often it was started */
    uint32_t reason;       /* enum cg_reason, of the last stop */
    uint32_t leftover;     /* 1: the tables could not be unmapped, a thread was still inside */
    uint64_t real[CG_FUNCTIONS]; /* the providers; kept, so that late callers pass through */
    uint64_t hook[CG_FUNCTIONS]; /* our functions */
    /* The same of the user's own pairs. An entry is never given to another function, since threads
     * may be on their way to it; our functions lie 16 bytes apart. */
    uint64_t pair_real[CG_PAIR_FUNCTIONS];
    uint64_t pair_hook;
    int32_t loader_tid;      /* the injector's thread, while it waits to be seen out; else 0 */
    uint32_t loader_watched; /* set from outside: it may end, somebody watches */
};

/* A mapped ELF file. Same as struct cg_module of ehframe.h; compared by a test. */

/* What the hook must know of the Go runtime; from cgoleak/target/go/runtime.py. */
struct cg_go {
    uint64_t present; /* 0: no Go stacks */
    int64_t tls_g;    /* g = *(thread pointer + tls_g) */
    uint32_t g_m;
    uint32_t g_sched_sp;
    uint32_t g_sched_bp;
    uint32_t g_startpc;
    uint32_t m_g0;
    uint32_t m_curg;
    uint32_t m_incgo;
    uint32_t m_isextra;      /* 0xffffffff: does not exist */
    uint32_t m_isextra_in_c; /* 0xffffffff: does not exist */
    uint32_t asm_pad;        /* A = (g0.sched.sp - asm_pad) & ~15 */
    uint32_t asm_saved_g;    /* saved g at A + this */
    uint32_t cross_ret;      /* return address of crosscall2's caller, from its stack pointer */
    uint32_t cross_bp;       /* its rbp */
    uint32_t cgocall_frame;  /* Go 1.20 and older: asmcgocall has no frame of its own; else 0 */
    uint32_t spare;
    /* [start, end) of the assembly body and of its ABI wrapper; 0 where there is no second. */
    uint64_t asmcgocall[4];
    uint64_t cgocallback[4];
    uint64_t goexit[4];
    uint64_t crosscall2[2];
    uint64_t text[2];
    uint64_t cleaners[8];    /* entry PCs of goroutines that run finalizers and cleanups */
    uint64_t gc_cycles;      /* address of memstats.numgc, 0: unknown */
};

/* One relocation slot. */
struct cg_slot {
    uint64_t address;
    uint64_t original; /* what it held; restored at the end, to the byte */
    uint32_t function; /* enum cg_function, or CG_FUNCTIONS and the index of a struct cg_pair */
    uint32_t prot;     /* protection of its page, put back after each store */
    uint32_t state;    /* enum cg_slot_state */
    uint32_t module;
};

/* Totals of one stack in one shard. Outstanding is born less freed, over all shards.
 *
 * Sampled blocks have rows of their own, one per stack: there blocks are counted in 65536ths, each
 * sampled one for as many as it stands for, and spare has the sum of the squares of those that were
 * freed, in whole blocks. */
struct cg_row {
    uint64_t born_blocks;
    uint64_t born_bytes;
    uint64_t freed_blocks;
    uint64_t freed_bytes;
    uint64_t cleaned_blocks;
    uint64_t lifetime_sum; /* ticks */
    uint64_t lifetime_max; /* ticks */
    uint64_t spare;
};

/* Totals of one shard that belong to no stack. */
struct cg_shard {
    uint64_t unmatched_frees; /* blocks from before attach, or freed behind our back */
    uint64_t unseen_frees;    /* an address was handed out again without a free that we saw */
    uint64_t dropped_blocks;
    uint64_t dropped_stacks;
    uint64_t walks;           /* stacks that had to be walked: the memo did not hold */
    uint64_t rule_misses;     /* .eh_frame look-ups */
    uint64_t frees;
    uint64_t spare;
};

/* One outstanding block: where it is, whose it is, how big and since when. */
struct cg_block {
    uint64_t who;  /* address >> 3 in the upper 44 bits, epoch in 3, stack in the lower 17; 0: empty */
    uint64_t what; /* size in the upper 36 bits, of which the topmost says that it is a handle; tick of birth in the lower
                      28; 0: being entered */
};
#define CG_IS_HANDLE (1ull << 63)
#define CG_OWNER_BITS 20u /* epoch and stack */
#define CG_STACK_BITS 17u
#define CG_TICK_BITS 28u

/* One outstanding application mmap. */
struct cg_region {
    uint64_t start; /* 0: empty, 1: was used */
    uint64_t size;
    uint64_t stack;
    uint64_t tick;
};

/* Where a stack's addresses lie in the pool. ready is written last. */
struct cg_stack {
    uint64_t hash;
    uint32_t first;
    uint16_t count;
    uint8_t flags; /* CG_STACK_* */
    uint8_t ready;
};
#define CG_STACK_TRUNCATED 1u /* the outer end was not reached */
#define CG_STACK_GAP 2u       /* an address 0 marks where unwinding failed and was resumed */
#define CG_STACK_FAMILY_SHIFT 2u /* from here on: family + 1 if it made handles, and no blocks */

/* The first page of the memfd. */
struct cg_shared {
    uint64_t magic;
    uint32_t version;
    uint32_t tick_ms;      /* length of a tick */
    /* Where the parts lie, from the start of the memfd. */
    uint64_t size;
    uint64_t modules_at[2];
    uint64_t slots_at;
    uint64_t shards_at;
    uint64_t rows_at;      /* [CG_SHARDS][CG_MAX_STACKS] */
    uint64_t weighted_at;  /* [CG_MAX_STACKS]: of sampled blocks */
    uint64_t stacks_at;
    uint64_t stack_index_at;
    uint64_t pool_at;
    uint64_t rules_at;
    uint64_t memos_at;
    uint64_t regions_at;
    uint64_t levels_at[CG_LEVELS];
    uint64_t pairs_at;     /* [CG_PAIR_FUNCTIONS] */
    uint64_t families_at;  /* [CG_FAMILIES] */
    uint64_t handles_at[CG_HANDLE_LEVELS];
    /* Commands. */
    uint32_t cmd_first;
    uint32_t cmd_last;
    uint32_t cmd_done;     /* number of commands carried out */
    uint32_t cmd_status;   /* of the last one: number of slots that could not be done */
    uint32_t cmd_held;     /* CG_CMD_INSTALL: 1 if it only holds under a CG_CMD_HOLD */
    uint32_t cmd_rare;     /* CG_CMD_SAMPLE: blocks a second that each call place has followed for sure */
    uint32_t cmd_near_size; /* for CG_CMD_NEAR: whole pages, or 0: there is one already */
    uint32_t cmd_spare;
    uint64_t cmd_near;     /* address, where nothing is mapped */
    /* State that moves. */
    uint32_t tick;         /* since the start */
    uint32_t gc_cycles;    /* copy of memstats.numgc */
    uint32_t modules_now;  /* counts changes; its last bit says which module table is in use */
    uint32_t modules_count[2];
    uint32_t rules_generation;
    uint32_t slots_count;
    uint32_t stacks_count;
    uint32_t pool_used;
    uint32_t levels_used;
    uint32_t threads_used;
    uint32_t dl_wanted;    /* dlopen or dlclose has happened: number of times */
    uint32_t dl_done;      /* the driver has looked again: number it has reached */
    uint32_t dl_opens;     /* dlopens begun */
    uint32_t dl_waited;    /* the value of dl_opens that a dlsym has waited for */
    uint32_t dl_timeouts;  /* a dlsym did not wait longer for the driver */
    uint32_t detached;     /* 1: slots restored, written before the tables are unmapped */
    uint32_t slots_failed; /* of the final restore */
    uint64_t main_stack_top; /* upper end of the main thread's stack, 0: unknown */
    uint64_t regions_lock;
    /* Sampling. */
    uint64_t cmd_rate;     /* for CG_CMD_SAMPLE: bytes, 1 to 2^32 */
    uint64_t rates[CG_EPOCHS]; /* bytes per sample of each epoch; 0: every block */
    uint64_t epoch;        /* the newest */
    uint64_t passed_births; /* of threads that sampled, sampled or not; summed now and then */
    uint64_t passed_frees; /* the same, without those of blocks from before sampling began */
    /* What an event costs: some are timed. */
    uint64_t timed_events;
    int64_t timed_clock;   /* sum, in clock units; single ones may be below zero */
    uint64_t clock_per_ms; /* clock units; 0: not known yet */
    uint32_t handle_levels_used;
    uint32_t families;     /* how many are in use, of the lowest numbers */
    uint64_t real[CG_FUNCTIONS]; /* providers, copied to the resident header by CG_CMD_INSTALL */
    struct cg_go go;
};

/* What the driver fills in at cgoleak_borrow_words, see borrow.c. */
struct cg_borrow {
    uint64_t all; /* signals */
    uint64_t mask; /* of the borrowed thread */
    uint64_t rax, rcx, rdx, rsi, rdi, r10, r11, rip; /* as it goes on */
    uint64_t room; /* where to map */
    uint64_t seconds, nanoseconds; /* between two looks */
};

#endif
