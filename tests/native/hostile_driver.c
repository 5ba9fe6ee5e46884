/* The walker as a whole: any registers and any stack, and damaged .eh_frame behind the rule cache.
 *
 *   SEED ROUNDS     prints the seed, then what it met; status 3 with the round where a read is wrong
 *
 * Every read of a stack or a table is checked against the bytes that may be read, and counted: the
 * most that one walk may need follows from the limits in layout.h and ehframe.c, so that no clock
 * is asked. Nothing beside the stacks and the tables is readable either. */
#define _GNU_SOURCE
#include <stdint.h>

static void reading(uint64_t address, unsigned bytes);
#define CG_READING(address, bytes) reading(address, bytes)

#include "world.h"

#if !defined(__x86_64__)
int main(void)
{
    return 77;
}
#else

#include "hostile.h"

#include <signal.h>

#define HDR_AT 0x10000000ull
#define FRAME_AT 0x20000000ull

enum {
    FUNCTIONS = MOST_FUNCTIONS,
    SPAN = 0x100, /* as c_pc() has them */
    /* Per C frame: its CFA, twice where it is remembered too, the frame pointer, the return address.
     * Per Go frame four words and two at a callback; eight at each crossing; the words and
     * Go frames of as many memos as a set has, its own Go frames twice; the goroutine. */
    MOST_WORDS = CG_MAX_FRAMES * 4 + CG_MAX_FRAMES * 6 + 8 * CG_MAX_SEGMENTS +
                 CG_MEMO_WAYS * CG_MEMO_FRAMES * 3 + 32,
    /* A scan meets an entry every five bytes at the most, and reads its head and the CIE's anew; then
     * both programs byte by byte; a search halves at the most 32 times. */
    MOST_HEAD = 4 + 4 + 10 + 10 + 4 + 4 + 1 + EH_MAX_AUGMENTATION + 2 + 3 * 10 + 10 + EH_MAX_AUGMENTATION * 12,
};

static struct {
    uint64_t round, words, tables; /* words and tables: reads of this walk */
    uint64_t misses;               /* rules looked up, before this walk */
    uint64_t most_tables;          /* reads that one rule may need */
    struct area may[10];
    uint32_t count;
} now;

static void failed(const char *why, uint64_t address)
{
    char line[256];
    int n = snprintf(line, sizeof line, "%s in round %llu: %#llx after %llu words, %llu reads of tables\n", why,
                     (unsigned long long)now.round, (unsigned long long)address, (unsigned long long)now.words,
                     (unsigned long long)now.tables);
    if (write(2, line, (size_t)n) < 0)
        _exit(4);
    _exit(3);
}

static void reading(uint64_t address, unsigned bytes)
{
    int table = address - FRAME_AT < 3 * ROOM || address - HDR_AT < 3 * ROOM;
    if (table)
        now.tables++;
    else
        now.words++;
    uint32_t i = 0;
    while (i < now.count && (address < now.may[i].lo || address >= now.may[i].hi || now.may[i].hi - address < bytes))
        i++;
    if (i == now.count)
        failed("a read outside", address);
    if (now.words > MOST_WORDS)
        failed("too many words", address);
    if (table && now.tables > (T.shards[CG_SHARDS - 1].rule_misses - now.misses) * now.most_tables)
        failed("too many reads of tables", address);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    failed("a fault", (uint64_t)info->si_addr);
}

static void allow(uint64_t lo, uint64_t hi)
{
    if (lo < hi)
        now.may[now.count++] = (struct area){lo, hi};
}

/* The module table anew, as the driver outside would change it. */
static void new_tables(uint64_t frame_room, uint64_t hdr_room, struct cg_module *library)
{
    struct subject subject = {C_CODE, SPAN, below(8) ? FRAME : 0};
    (void)any_tables(frame_room, hdr_room, &subject, library);
    if (below(16) == 0) { /* another library lies there by now, and its pages end earlier */
        if (below(2))
            library->frame_end = frame_room + ROOM + 1 + below(2 * ROOM);
        else
            library->hdr = hdr_room, library->hdr_end = hdr_room + ROOM + 1 + below(2 * ROOM);
    }
    library->start = C_CODE;
    library->end = C_CODE + FUNCTIONS * SPAN;
    uint32_t next = T.shared->modules_now + 1;
    struct cg_module *modules = T.modules[next & 1];
    modules[0] = *library; /* crosscall2 too, by the same tables: they do not know it */
    modules[0].start = CROSSCALL2;
    modules[0].end = C_CODE;
    modules[1] = *library;
    modules[2] = (struct cg_module){library->end, library->end + 0x100, 0, 0, 0, 0};
    T.shared->modules_count[next & 1] = below(64) ? 3 : CG_MAX_MODULES + 1;
    T.shared->modules_now = next;
    T.shared->rules_generation++;
}

/* The outermost crossing is not where the innermost one says, but at the end of the stack. */
static void false_crossing(void)
{
    uint64_t at = c_stack.hi - 8 * (5 + host_random(12));
    put(at + 0x20, CROSSCALL2 + 8 + host_random(64));
    put(((at - T.go.asm_pad) & ~15ull) + T.go.asm_saved_g, (uint64_t)curg);
    put(sched_sp, at);
}

/* Both stacks full of what leads on, so that a walk goes as far as it may. Returns the stack pointer. */
static uint64_t tower(int minor, const uint64_t *pcs)
{
    for (uint64_t at = c_stack.lo; at < c_stack.hi; at += 8)
        put(at, pcs[host_random(64)]);
    for (uint64_t at = go_stack.lo; at < go_stack.hi; at += 16) {
        put(at, at + 16 * (1 + host_random(2)));
        put(at + 8, GO_MAIN + host_random(64));
    }
    start();
    into_c(minor);
    fp_go = go_stack.lo + 16 * host_random(64);
    put((uint64_t)curg + G_SP, fp_go);
    T.go.present = host_random(4) != 0;
    return host_random(2) ? c_stack.lo + 8 * host_random(64) : c_stack.hi - 8 * host_random(512);
}

/* Threads that C made: whether the thread pointer lies in the stack or far behind it, its pages end it. */
static struct cg_thread *c_thread(void)
{
    static const uint64_t behind[] = {(uint64_t)-2048, (uint64_t)-8, 16, 300000};
    return host_thread(c_stack.hi + behind[host_random(4)]);
}

static void fuzz(uint64_t seed, uint64_t rounds)
{
    uint64_t frame_room = guarded(FRAME_AT), hdr_room = guarded(HDR_AT);
    uint64_t most_words = 0, most_tables = 0, whole = 0, deep = 0, refused = 0, misses = 0;
    int minor = 0;
    struct cg_module library = {0};
    static uint64_t pcs[96];
    for (now.round = 0; now.round < rounds; now.round++) {
        host_seed = hostile_seed = seed + (now.round << 20);
        now.count = 0; /* to make the world nothing is read */
        if (now.round % 20000 == 0) {
            if (now.round != 0)
                world_end();
            minor = (int[]){19, 21, 22}[host_random(3)];
            world(minor);
            memset(T.rules, 0, CG_RULES * sizeof *T.rules); /* the tables have to be asked */
        }
        for (uint32_t i = 0; i < 96; i++)
            pcs[i] = i < 32   ? c_pc((uint32_t)host_random(FUNCTIONS))
                     : i < 64 ? C_CODE + host_random(FUNCTIONS * SPAN)
                              : (uint64_t[]){ASMCGOCALL, CGOCALLBACK, GOEXIT, CROSSCALL2, GO_TEXT}[i % 5] + 8 + host_random(64);
        if (now.round % 4 == 0) { /* the others find cached rules, too */
            new_tables(frame_room, hdr_room, &library);
            CG_STORE(&cg_can_look, 1u);
        }
        int torn = library.frame_end > frame_room + ROOM || library.hdr_end > hdr_room + ROOM;
        uint64_t sp = any_stack(minor, pcs, 96, FUNCTIONS), pc = pcs[host_random(64)], fp = anything(pcs, 96);
        if (now.round % 16 == 0)
            sp = tower(minor, pcs);
        else if (now.round % 16 == 1)
            false_crossing();
        if (host_random(4))
            pc = *(uint64_t *)sp_c;
        struct cg_thread *t = T.go.present ? thread : c_thread();
        allow(sp, c_stack.hi);
        allow(go_stack.lo, go_stack.hi);
        allow((uint64_t)tcb, (uint64_t)tcb + sizeof tcb);
        allow((uint64_t)g0, (uint64_t)g0 + sizeof g0);
        allow((uint64_t)m, (uint64_t)m + sizeof m);
        allow((uint64_t)curg, (uint64_t)curg + sizeof curg);
        now.most_tables = 32 + 16 + MOST_HEAD;
        if (!torn) {
            uint64_t size = library.frame_end > library.frame ? library.frame_end - library.frame : 0;
            now.most_tables += size / 5 * MOST_HEAD + 2 * size;
            allow(library.frame, library.frame_end);
            allow(library.hdr, library.hdr_end);
        }
        for (int again = 0; again < 2; again++) { /* the second time there may be a memo of it */
            now.words = now.tables = 0;
            now.misses = T.shards[CG_SHARDS - 1].rule_misses;
            uint32_t id = cg_stack_of(t, sp, pc, fp);
            misses += T.shards[CG_SHARDS - 1].rule_misses - now.misses;
            most_words = now.words > most_words ? now.words : most_words;
            most_tables = now.tables > most_tables ? now.tables : most_tables;
            whole += T.stacks[id].flags == 0;
            deep += T.stacks[id].count > 4;
            refused += torn;
        }
        forget_stacks();
    }
    printf("rounds=%llu walks=%llu whole=%llu deep=%llu torn=%llu rules=%llu most_words=%llu most_table_reads=%llu\n",
           (unsigned long long)rounds, (unsigned long long)(2 * rounds), (unsigned long long)whole,
           (unsigned long long)deep, (unsigned long long)refused, (unsigned long long)misses,
           (unsigned long long)most_words, (unsigned long long)most_tables);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGBUS, &action, 0);
    printf("seed=%s\n", argv[1]);
    fflush(stdout);
    fuzz(strtoull(argv[1], 0, 0), strtoull(argv[2], 0, 0));
    return 0;
}
#endif
