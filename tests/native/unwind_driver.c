/* The walkers of probes/unwind.c in a Go process that is made of memory only: g, m, two stacks with
 * nothing readable beside them, and unwind rules put straight into the rule cache. Frames are laid
 * out as runtime/asm_amd64.s lays them out. See test_unwind.py for what each mode shows. */
#define _GNU_SOURCE
#include "host.h"

#if !defined(__x86_64__)
int main(void)
{
    return 77;
}
#else

#include <signal.h>
#include <sys/prctl.h>

enum {
    G_M = 48,
    G_SP = 56,
    G_BP = 104,
    G_START = 320,
    M_G0 = 0,
    M_CURG = 192,
    M_INCGO = 300,
    M_EXTRA = 304,
    M_EXTRA_IN_C = 305,
    TLS = -8,
};

/* Code addresses. Nobody jumps there. */
#define GO_TEXT 0x400000ull
#define GO_END 0x500000ull
#define ASMCGOCALL 0x410000ull
#define CGOCALLBACK 0x411000ull
#define GOEXIT 0x412000ull
#define CGOCALL 0x413010ull
#define STUB 0x414010ull
#define GO_MAIN 0x415010ull
#define CALLBACKG 0x416010ull
#define EXPORTED 0x417010ull
#define MARKER 0x418010ull
#define SYSTEM 0x419000ull
#define CROSSCALL2 0x600000ull
#define C_CODE 0x610000ull
#define FRAME 48u /* of our C functions: return address at CFA - 8, as everywhere */

static uint64_t c_pc(uint32_t function)
{
    return C_CODE + function * 0x100 + 0x20;
}

/* A stack whose neighbours fault. */
struct area {
    uint64_t lo, hi;
};

static struct area area_new(uint64_t size)
{
    char *at = mmap(0, size + 2 * 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED, "no memory");
    CHECK(mprotect(at + 65536, size, PROT_READ | PROT_WRITE) == 0, "no memory");
    return (struct area){(uint64_t)at + 65536, (uint64_t)at + 65536 + size};
}

static void put(uint64_t at, uint64_t value)
{
    *(uint64_t *)at = value;
}

static struct area c_stack, go_stack;
static uint64_t g0[64], m[64], curg[64], tcb[16];
static struct cg_thread *thread;

/* One rule, as if it had been looked up before. */
static void rule(uint64_t pc, struct cg_rule r)
{
    uint64_t at = pc - 1, key = at | (uint64_t)(T.shared->rules_generation & 0xffff) << 48;
    struct cg_rule_entry *entry = &T.rules[((at * 0x9e3779b97f4a7c15ull) >> 40) & (CG_RULES - 1)];
    entry->packed = cg_pack(&r);
    entry->key = key ^ entry->packed;
}

static struct cg_rule by_sp(int32_t size)
{
    return (struct cg_rule){.kind = CG_RULE_OK, .cfa = CG_CFA_SP, .cfa_offset = size, .ra_offset = -8};
}

/* minor: of go1.N, which decides the layout. */
static void world(int minor)
{
    host_tables();
    c_stack = area_new(65536);
    go_stack = area_new(16384);
    memset(g0, 0, sizeof g0);
    memset(m, 0, sizeof m);
    memset(curg, 0, sizeof curg);
    struct cg_go *go = &T.go;
    *go = (struct cg_go){
        .present = 1,
        .tls_g = TLS,
        .g_m = G_M,
        .g_sched_sp = G_SP,
        .g_sched_bp = G_BP,
        .g_startpc = G_START,
        .m_g0 = M_G0,
        .m_curg = M_CURG,
        .m_incgo = M_INCGO,
        .m_isextra = minor >= 21 ? M_EXTRA : ~0u,
        .m_isextra_in_c = minor >= 21 ? M_EXTRA_IN_C : ~0u,
        .asm_pad = minor >= 22 ? 16 : 64,
        .asm_saved_g = minor >= 22 ? 8 : 48,
        .cross_ret = minor >= 22 ? 0x50 : 0x48,
        .cross_bp = minor >= 22 ? 0x48 : 0x40,
        /* Up to 1.20 asmcgocall pushes no frame pointer: cgocall's frame lies this much further. */
        .cgocall_frame = minor >= 21 ? 0 : 0x30,
        .asmcgocall = {ASMCGOCALL, ASMCGOCALL + 0x100},
        .cgocallback = {CGOCALLBACK, CGOCALLBACK + 0x100},
        .goexit = {GOEXIT, GOEXIT + 0x10},
        .crosscall2 = {CROSSCALL2, CROSSCALL2 + 0x100},
        .text = {GO_TEXT, GO_END},
        .cleaners = {GO_MAIN},
    };
    uint64_t *g = (uint64_t *)g0;
    g[0] = c_stack.lo;
    g[1] = c_stack.hi;
    put((uint64_t)g0 + G_M, (uint64_t)m);
    curg[0] = go_stack.lo;
    curg[1] = go_stack.hi;
    put((uint64_t)curg + G_M, (uint64_t)m);
    put((uint64_t)m + M_G0, (uint64_t)g0);
    put((uint64_t)m + M_CURG, (uint64_t)curg);
    ((uint8_t *)m)[M_INCGO] = 1;
    /* The thread pointer's neighbour holds g. */
    tcb[7] = (uint64_t)g0;
    fake_thread_pointer = (uint64_t)&tcb[8];
    tcb[8] = fake_thread_pointer;
    thread = host_thread(fake_thread_pointer);
    for (uint32_t f = 0; f < 64; f++)
        rule(c_pc(f), by_sp(FRAME));
}

static void world_end(void)
{
    munmap((void *)(c_stack.lo - 65536), c_stack.hi - c_stack.lo + 131072);
    munmap((void *)(go_stack.lo - 65536), go_stack.hi - go_stack.lo + 131072);
}

/* --- building a stack ------------------------------------------------------------------------ */

static uint64_t sp_c, sp_go; /* where the two stacks have grown down to */
static uint64_t fp_go;       /* the goroutine's frame pointer chain */
static uint64_t sched_sp;    /* g0.sched.sp */

static void start(void)
{
    sp_c = c_stack.hi - 256;
    sched_sp = sp_c;
    sp_go = go_stack.hi - 64;
    fp_go = 0;
}

/* A Go function calls on: its return address and frame pointer are pushed. */
static void go_frame(uint64_t pc)
{
    sp_go -= 8;
    put(sp_go, pc);
    sp_go -= 8;
    put(sp_go, fp_go);
    fp_go = sp_go;
    sp_go -= 32;
}

/* cgocall → asmcgocall → C. Afterwards the C stack is at its first C frame. */
static void into_c(int minor)
{
    go_frame(STUB);
    if (minor >= 21) {
        go_frame(CGOCALL);
    } else {
        /* No frame pointer is pushed: the return address alone, cgocall's frame below its own. */
        sp_go = fp_go - (0x30 - 8) - 8;
        put(sp_go, CGOCALL);
    }
    put((uint64_t)curg + G_SP, minor >= 21 ? fp_go : sp_go);
    put((uint64_t)curg + G_BP, fp_go);
    uint64_t a = (sched_sp - T.go.asm_pad) & ~15ull;
    put(a + T.go.asm_saved_g, (uint64_t)curg);
    put((uint64_t)g0 + G_SP, sched_sp);
    put(a - 8, ASMCGOCALL + 0x40);
    sp_c = a - 8; /* stack pointer at the entry of the first C function */
}

/* A C function that calls another one. */
static void c_frame(uint32_t function)
{
    sp_c -= FRAME - 8;
    sp_c -= 8;
    put(sp_c, c_pc(function));
}

/* C calls an exported Go function: crosscall2, cgocallback, and on the goroutine's stack again. */
static void into_go(uint32_t wrapper, int minor)
{
    c_frame(wrapper); /* the return address of crosscall2 */
    uint64_t cross = sp_c - T.go.cross_ret; /* its stack pointer when it calls */
    put(cross + T.go.cross_bp, 0x1234);
    uint64_t s = cross - 0x28;
    put(s + 0x20, CROSSCALL2 + 0x50);
    put(s, sched_sp);
    put((uint64_t)g0 + G_SP, s);
    uint64_t old = *(uint64_t *)((uint64_t)curg + G_SP);
    /* The slot above cgocallback's frame holds the marker; above that lies the old sched.sp. */
    uint64_t saved = old - 8;
    put(saved, MARKER);
    uint64_t fp = saved - 48;
    put(fp + 8, CGOCALLBACK + 0x60);
    put(fp, s + 0x10); /* leaves the goroutine's stack */
    fp_go = fp;
    sp_go = fp - 32;
    sched_sp = s;
    sp_c = s;
    go_frame(CALLBACKG);
    go_frame(EXPORTED);
    (void)minor;
}

static uint32_t take(uint64_t fp)
{
    uint64_t pc = *(uint64_t *)sp_c;
    return cg_stack_of(thread, sp_c + 8, pc, fp);
}

static void print_stack(const char *name, uint32_t id)
{
    const struct cg_stack *s = &T.stacks[id];
    printf("%s flags=%u", name, s->flags);
    for (uint32_t i = 0; i < s->count; i++)
        printf(" %llx", (unsigned long long)T.pool[s->first + i]);
    printf("\n");
}

static uint64_t walks(void)
{
    return host_shards().walks;
}

/* Taken twice: the second time the memo must give the same. */
static void show(const char *name, int remembered)
{
    uint32_t id = take(0);
    uint64_t before = walks();
    SAME(take(0), id);
    CHECK((walks() == before) == remembered, "%s: %s", name, remembered ? "not remembered" : "remembered");
    print_stack(name, id);
}

static void mode_layouts(int minor)
{
    world(minor);
    start();
    go_frame(GOEXIT + 1);
    go_frame(GO_MAIN);
    into_c(minor);
    c_frame(1);
    c_frame(2);
    show("plain", 1);

    /* Another goroutine, other Go frames, on the same C stack. */
    into_c(minor);
    c_frame(1);
    c_frame(2);
    show("again", 1);

    into_go(3, minor);
    into_c(minor);
    c_frame(4);
    show("once", 1);

    into_go(5, minor);
    into_c(minor);
    c_frame(6);
    c_frame(7);
    show("twice", 1);

    /* Not in a cgo call: the C part alone. What cannot be told apart is not guessed. */
    ((uint8_t *)m)[M_INCGO] = 0;
    SAME(cg_is_runtime_call(), 1);
    print_stack("not-in-cgo", take(0));
    ((uint8_t *)m)[M_INCGO] = 1;
    SAME(cg_is_runtime_call(), 0);
    put((uint64_t)curg + G_START, GO_MAIN);
    SAME(cg_is_cleaner(), 1);
    put((uint64_t)curg + G_START, STUB);
    SAME(cg_is_cleaner(), 0);
    tcb[7] = 0;
    SAME(cg_is_cleaner(), 0);
    SAME(cg_is_runtime_call(), 0);
    tcb[7] = (uint64_t)g0;
    if (minor >= 21) {
        ((uint8_t *)m)[M_EXTRA] = ((uint8_t *)m)[M_EXTRA_IN_C] = 1;
        SAME(cg_is_runtime_call(), 0);
        print_stack("back-in-c", take(0));
    }
    world_end();
}

static void plain(void)
{
    start();
    go_frame(GOEXIT + 1);
    go_frame(GO_MAIN);
    into_c(22);
    c_frame(1);
    c_frame(2);
}

static void mode_damage(void)
{
    world(22);
    plain();
    /* A frame pointer that leads back: the chain ends there and says so. */
    put(fp_go, fp_go - 64);
    show("backwards", 0);
    plain();
    put(fp_go, fp_go);
    show("cycle", 0);
    plain();
    put(fp_go, 0xdead000000000000ull);
    show("garbage", 0);
    plain();
    put(fp_go, go_stack.hi - 8);
    show("at-the-end", 0);
    plain();
    put((uint64_t)curg + G_BP, go_stack.hi + 4096);
    show("outside", 0);
    plain();
    put((uint64_t)curg + G_BP, fp_go + 4);
    show("unaligned", 0);
    plain();
    rule(c_pc(1), (struct cg_rule){.kind = CG_RULE_NONE});
    show("no-rule", 1);
    rule(c_pc(1), by_sp(1 << 20));
    show("too-far", 1);
    rule(c_pc(1), by_sp(-64));
    show("downwards", 1);
    rule(c_pc(1), by_sp(FRAME));

    /* Deeper than there is room for: cut, and marked as cut. */
    start();
    for (uint32_t i = 0; i < 300; i++) {
        sp_go += 16; /* small frames: they must all fit */
        go_frame(GO_MAIN + i % 8);
    }
    into_c(22);
    c_frame(1);
    uint32_t id = take(0);
    SAME(T.stacks[id].count, CG_MAX_FRAMES);
    SAME(T.stacks[id].flags & CG_STACK_TRUNCATED, CG_STACK_TRUNCATED);
    plain();
    for (uint32_t i = 0; i < 400; i++)
        c_frame(i % 64);
    id = take(0);
    SAME(T.stacks[id].count, CG_MAX_FRAMES);
    CHECK(T.stacks[id].flags != 0, "a cut stack passes for a whole one");

    /* A change in any word of the stack is seen, not remembered away. */
    plain();
    c_frame(3);
    uint32_t first = take(0);
    put(sp_c + FRAME, c_pc(9));
    CHECK(take(0) != first, "the C frame changed unseen");
    put(sp_c + FRAME, c_pc(2));
    SAME(take(0), first);
    put(fp_go + 8, GO_MAIN + 7);
    CHECK(take(0) != first, "the Go frame changed unseen");
    world_end();
}

/* A thread that Go does not know: as far up as its stack can be read. */
static void mode_c_thread(void)
{
    world(22);
    T.go.present = 0;
    uint64_t key = c_stack.hi - 2048;
    put(key, key);
    fake_thread_pointer = key;
    thread = host_thread(key);
    rule(c_pc(60), (struct cg_rule){.kind = CG_RULE_END});
    sp_c = c_stack.hi - 4096;
    c_frame(60);
    c_frame(1);
    c_frame(2);
    show("pthread", 1);

    /* A stack somewhere else, with less above it than the rules say. */
    struct area island = area_new(8192);
    sp_c = island.hi - 24;
    put(sp_c, c_pc(1));
    show("island", 1);
    sp_c = island.hi - 8;
    put(sp_c, c_pc(1));
    print_stack("island-edge", take(0));
    world_end();
}

/* --- anything at all ------------------------------------------------------------------------- */

static uint64_t anything(const uint64_t *pcs, uint32_t count)
{
    switch (host_random(10)) {
    case 0:
        return host_next(&host_seed);
    case 1:
        return c_stack.lo + 8 * host_random((c_stack.hi - c_stack.lo) / 8 + 16) - 64;
    case 2:
        return go_stack.lo + 8 * host_random((go_stack.hi - go_stack.lo) / 8 + 16) - 64;
    case 3:
        return (uint64_t)curg;
    case 4:
        return (host_random(2) ? c_stack.hi : go_stack.hi) - 8 * host_random(12);
    case 5:
        return host_random(3) ? 0 : ~0ull - 8 * host_random(40);
    default:
        return pcs[host_random(count)];
    }
}

static volatile uint64_t faults_at;

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    char line[160];
    int n = snprintf(line, sizeof line, "read of %p in round %llu; stacks [%llx, %llx) and [%llx, %llx)\n",
                     info->si_addr, (unsigned long long)faults_at, (unsigned long long)c_stack.lo,
                     (unsigned long long)c_stack.hi, (unsigned long long)go_stack.lo, (unsigned long long)go_stack.hi);
    if (write(2, line, (size_t)n) < 0)
        _exit(4);
    _exit(3);
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void mode_fuzz(uint32_t milliseconds)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGBUS, &action, 0);
    uint64_t end = cg_now_ms() + milliseconds, rounds = 0, slowest = 0, whole = 0, with_go = 0;
    uint32_t minor = 0;
    static uint64_t pcs[96];
    while (cg_now_ms() < end) {
        if (rounds % 20000 == 0) {
            if (rounds != 0)
                world_end();
            minor = (uint32_t[]){19, 21, 22}[host_random(3)];
            world((int)minor);
            for (uint32_t i = 0; i < 64; i++)
                pcs[i] = c_pc(i);
            for (uint32_t i = 64; i < 96; i++)
                pcs[i] = (uint64_t[]){ASMCGOCALL, CGOCALLBACK, GOEXIT, CROSSCALL2, GO_TEXT}[i % 5] + 8 + host_random(64);
        }
        faults_at = rounds++;
        if (rounds % 8 == 0) /* rules of every kind, most of them near the truth */
            for (uint32_t i = 0; i < 64; i++) {
                int32_t far = host_random(8) == 0 ? (int32_t)host_random(1u << 27) - (1 << 26) : (int32_t)(8 * host_random(40)) - 64;
                rule(c_pc(i), (struct cg_rule){
                                  .kind = (uint8_t)(host_random(10) ? CG_RULE_OK : host_random(3)),
                                  .cfa = (uint8_t)(1 + host_random(3)),
                                  .fp = (uint8_t)host_random(3),
                                  .cfa_offset = far,
                                  .fp_offset = (int32_t)(8 * host_random(40)) - 160,
                                  .ra_offset = -8,
                                  .signal_frame = (uint8_t)(host_random(4) == 0),
                              });
            }
        /* A true stack first, then damage; or nothing but noise. */
        start();
        go_frame(GOEXIT + 1);
        go_frame(GO_MAIN);
        into_c((int)minor);
        for (uint32_t n = (uint32_t)host_random(4); n > 0; n--) {
            c_frame((uint32_t)host_random(64));
            into_go((uint32_t)host_random(64), (int)minor);
            into_c((int)minor);
        }
        for (uint32_t n = 1 + (uint32_t)host_random(6); n > 0; n--)
            c_frame((uint32_t)host_random(64));
        uint64_t noise = host_random(3) == 0 ? 400 : host_random(12);
        for (uint64_t i = 0; i < noise; i++) {
            uint64_t from_c = c_stack.hi - 8 - 8 * host_random(300), from_go = go_stack.hi - 8 - 8 * host_random(200);
            put(host_random(2) ? from_c : from_go, anything(pcs, 96));
        }
        if (host_random(3) == 0)
            put((uint64_t)curg + G_BP, anything(pcs, 96));
        if (host_random(6) == 0)
            put((uint64_t)g0 + G_SP, anything(pcs, 96));
        /* What is a pointer to g or m stays one: the hook trusts the runtime with these. */
        T.go.present = host_random(8) != 0;
        uint64_t sp = sp_c + 8;
        if (host_random(6) == 0)
            sp = c_stack.hi - 8 * host_random(600);
        uint64_t began = cpu_ns();
        uint32_t id = cg_stack_of(thread, sp, pcs[host_random(64)], anything(pcs, 96));
        uint64_t again = cg_stack_of(thread, sp, *(uint64_t *)sp_c, anything(pcs, 96));
        (void)again;
        uint64_t took = cpu_ns() - began;
        if (took > slowest)
            slowest = took;
        if (T.stacks[id].flags == 0)
            whole++;
        with_go += T.stacks[id].count > 4;
        if (T.shared->stacks_count > CG_MAX_STACKS / 2) {
            /* Room again, without new memory. */
            memset(T.stack_index, 0, 2 * CG_MAX_STACKS * sizeof(uint32_t));
            T.shared->stacks_count = T.shared->pool_used = 0;
            T.shared->rules_generation++; /* memos name stacks that are gone */
        }
    }
    printf("rounds=%llu whole=%llu deep=%llu slowest_us=%llu\n", (unsigned long long)rounds,
           (unsigned long long)whole, (unsigned long long)with_go, (unsigned long long)(slowest / 1000));
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    uint32_t number = argc > 2 ? (uint32_t)atoi(argv[2]) : 0;
    if (argc > 3)
        host_seed = strtoull(argv[3], 0, 10);
    if (!strcmp(mode, "layouts"))
        mode_layouts((int)number);
    else if (!strcmp(mode, "damage"))
        mode_damage();
    else if (!strcmp(mode, "c-thread"))
        mode_c_thread();
    else if (!strcmp(mode, "fuzz"))
        mode_fuzz(number);
    else
        return 2;
    return 0;
}
#endif
