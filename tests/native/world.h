/* A Go process that is made of memory only: g, m, two stacks with nothing readable beside them.
 * Frames are laid out as runtime/asm_amd64.s lays them out. */
#ifndef CGOLEAK_TEST_WORLD_H
#define CGOLEAK_TEST_WORLD_H

#include "host.h"

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
static uint64_t outer_c, outer_go; /* the stacks at the latest call from C to Go */

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
    outer_c = sp_c;
    uint64_t old = *(uint64_t *)((uint64_t)curg + G_SP);
    /* The slot above cgocallback's frame holds the marker; above that lies the old sched.sp. */
    outer_go = old;
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

/* Back from that Go: pc and sp of g.sched are as they were, bp is what the callback left there. */
static __attribute__((unused)) void out_of_go(uint32_t wrapper)
{
    uint64_t before = sched_sp;
    sched_sp = *(uint64_t *)before; /* cgocallback kept it at its own g0.sched.sp */
    put((uint64_t)g0 + G_SP, sched_sp);
    put((uint64_t)curg + G_SP, outer_go);
    sp_c = outer_c;
    put(sp_c, c_pc(wrapper)); /* the next call from the same place */
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

/* A true stack first, then damage; or nothing but noise. Returns the stack pointer to ask with. */
static uint64_t any_stack(int minor, const uint64_t *pcs, uint32_t count, uint32_t functions)
{
    start();
    go_frame(GOEXIT + 1);
    go_frame(GO_MAIN);
    into_c(minor);
    for (uint32_t n = (uint32_t)host_random(4); n > 0; n--) {
        c_frame((uint32_t)host_random(functions));
        into_go((uint32_t)host_random(functions), minor);
        into_c(minor);
    }
    for (uint32_t n = 1 + (uint32_t)host_random(6); n > 0; n--)
        c_frame((uint32_t)host_random(functions));
    uint64_t noise = host_random(3) == 0 ? 400 : host_random(12);
    for (uint64_t i = 0; i < noise; i++) {
        uint64_t from_c = c_stack.hi - 8 - 8 * host_random(300), from_go = go_stack.hi - 8 - 8 * host_random(200);
        put(host_random(2) ? from_c : from_go, anything(pcs, count));
    }
    if (host_random(3) == 0)
        put((uint64_t)curg + G_SP, anything(pcs, count));
    if (host_random(6) == 0)
        put((uint64_t)g0 + G_SP, anything(pcs, count));
    /* What is a pointer to g or m stays one: the hook trusts the runtime with these. */
    T.go.present = host_random(8) != 0;
    return host_random(6) == 0 ? c_stack.hi - 8 * host_random(600) : sp_c + 8;
}

/* Room for new stacks again, without new memory. */
static void forget_stacks(void)
{
    if (T.shared->stacks_count <= CG_MAX_STACKS / 2)
        return;
    memset(T.stack_index, 0, 2 * CG_MAX_STACKS * sizeof(uint32_t));
    T.shared->stacks_count = T.shared->pool_used = 0;
    T.shared->rules_generation++; /* memos name stacks that are gone */
}

#endif
