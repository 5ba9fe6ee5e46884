/* The walkers of probes/unwind.c in a Go process that is made of memory only: g, m, two stacks with
 * nothing readable beside them, and unwind rules put straight into the rule cache. Frames are laid
 * out as runtime/asm_amd64.s lays them out. See test_unwind.py for what each mode shows. */
#define _GNU_SOURCE
#include "world.h"

#if !defined(__x86_64__)
int main(void)
{
    return 77;
}
#else

#include <signal.h>

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
    out_of_go(5);
    show("back", 1);

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
    put((uint64_t)curg + G_SP, go_stack.hi + 4096);
    show("outside", 0);
    plain();
    put((uint64_t)curg + G_SP, fp_go + 4);
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
    print_stack("deep", id);

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

    /* A chain that passes a frame by is another one, whatever lies where that frame was; the same callers further
     * apart are the same stack, on whatever goroutine. */
    plain();
    c_frame(3);
    for (uint32_t i = 0; i < 3; i++) /* then this memo is the expected one */
        SAME(take(0), first);
    uint64_t next = *(const uint64_t *)fp_go;
    put(fp_go, *(const uint64_t *)next);
    CHECK(take(0) != first, "a link of Go frames changed unseen");
    put(fp_go, next);
    SAME(take(0), first);
    start();
    go_frame(GOEXIT + 1);
    sp_go -= 64;
    go_frame(GO_MAIN);
    into_c(22);
    c_frame(1);
    c_frame(2);
    c_frame(3);
    SAME(take(0), first);
    world_end();
}

static void called_by(uint64_t go_pc, uint32_t function)
{
    start();
    go_frame(GOEXIT + 1);
    go_frame(GO_MAIN);
    go_frame(GO_MAIN);
    go_frame(go_pc);
    into_c(22);
    c_frame(function);
    c_frame(2);
}

/* One place at one depth, come to by turns: from Go callers and through C functions; with what cannot be remembered
 * as many as one set holds, should they all meet there. */
static void mode_turns(void)
{
    world(22);
    for (uint32_t turn = 0; turn < 2; turn++) {
        uint64_t before = walks();
        for (uint32_t i = 0; i < CG_MEMO_WAYS / 2; i++) {
            called_by(GO_MAIN + i, 1);
            const struct cg_stack *s = &T.stacks[take(0)];
            SAME(T.pool[s->first + s->count - 4], GO_MAIN + i);
        }
        for (uint32_t i = 0; i < CG_MEMO_WAYS / 2 - 1; i++) {
            called_by(GO_MAIN + 100, i);
            SAME(T.pool[T.stacks[take(0)].first + 1], c_pc(i));
        }
        printf("turn%u walks=%llu\n", turn, (unsigned long long)(walks() - before));
    }
    /* What cannot be remembered has one place among them, and not the others'. */
    for (uint32_t i = 0; i < 4 * CG_MEMO_WAYS; i++) {
        called_by(GO_MAIN + 100, 1);
        put(go_stack.hi - 128, go_stack.lo); /* from the second frame it leads back */
        CHECK(T.stacks[take(0)].flags & CG_STACK_TRUNCATED, "a broken chain passes for a whole one");
    }
    uint64_t before = walks();
    for (uint32_t i = 0; i < CG_MEMO_WAYS / 2 - 1; i++) {
        called_by(GO_MAIN + 100, i);
        take(0);
    }
    printf("afterwards walks=%llu\n", (unsigned long long)(walks() - before));
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

static volatile uint64_t faults_at; /* round of a fuzz */

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
        uint64_t sp = any_stack((int)minor, pcs, 96, 64);
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
        forget_stacks();
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
    else if (!strcmp(mode, "turns"))
        mode_turns();
    else if (!strcmp(mode, "c-thread"))
        mode_c_thread();
    else if (!strcmp(mode, "fuzz"))
        mode_fuzz(number);
    else
        return 2;
    return 0;
}
#endif
