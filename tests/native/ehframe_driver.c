/* Drives probes/ehframe.c natively, on tables of our choice. Results are text, one line per question.
 *
 *   rules FILE [scan]    link-time addresses on stdin -> "ADDRESS RULE"; scan hides .eh_frame_hdr
 *   tables FRAME [HDR]   bytes of .eh_frame (mapped at FRAME_AT) and .eh_frame_hdr (at HDR_AT) from files; pcs on stdin
 *   bench FILE           mean nanoseconds per look-up of the addresses on stdin, each asked once per round
 *   self                 unwind this program from inside nested frames, and compare with _Unwind_Backtrace
 *   fuzz SEED ROUNDS     hostile tables between unreadable pages
 *
 * RULE is "none", "end" or "CFA FP RA [signal]", for instance "sp+16 c-16 c-8", "fp+16 same c-8", "*fp-8 fp+0 c-8". */
#define _GNU_SOURCE
#include "hostile.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#define HDR_AT UINT64_C(0x10000000)
#define FRAME_AT UINT64_C(0x20000000)

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* what others run meanwhile is not ours */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *ptr(uint64_t address)
{
    return (void *)(uintptr_t)address;
}

static uint8_t *map(uint64_t at, size_t bytes, int flags)
{
    void *got = mmap(ptr(at), bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (got == MAP_FAILED)
        die("mmap");
    return got;
}

static uint8_t *slurp(const char *path, size_t *bytes)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        die(path);
    *bytes = (size_t)st.st_size;
    uint8_t *data = map(0, *bytes + 1, 0);
    for (size_t at = 0; at < *bytes;) {
        ssize_t got = pread(fd, data + at, *bytes - at, (off_t)at);
        if (got <= 0)
            die("read");
        at += (size_t)got;
    }
    close(fd);
    return data;
}

static void print_rule(uint64_t asked, const struct cg_rule *rule)
{
    static const char *const cfa[] = {"?", "sp", "fp", "*fp"};
    if (rule->kind != CG_RULE_OK) {
        printf("%llx %s\n", (unsigned long long)asked, rule->kind == CG_RULE_END ? "end" : "none");
        return;
    }
    printf("%llx %s%+d ", (unsigned long long)asked, cfa[rule->cfa & 3], rule->cfa_offset);
    if (rule->fp == CG_FP_SAME)
        printf("same");
    else
        printf("%s%+d", rule->fp == CG_FP_AT_CFA ? "c" : "fp", rule->fp_offset);
    printf(" c%+d%s\n", rule->ra_offset, rule->signal_frame ? " signal" : "");
}

/* Ask for every address on stdin. bias: what to add to get an address in this process. */
static void answer(const struct cg_module *m, uint64_t bias)
{
    unsigned long long asked;
    struct cg_rule rule;
    while (scanf("%llx", &asked) == 1) {
        cg_rule_at(m, asked + bias, &rule);
        print_rule(asked, &rule);
    }
}

/* ---- a file, laid out as the loader would ---- */

static uint64_t load_file(const char *path, struct cg_module *m)
{
    size_t bytes;
    uint8_t *data = slurp(path, &bytes);
    const Elf64_Ehdr *elf = (const Elf64_Ehdr *)(const void *)data;
    const Elf64_Phdr *segment = (const Elf64_Phdr *)(const void *)(data + elf->e_phoff);
    const Elf64_Shdr *section = (const Elf64_Shdr *)(const void *)(data + elf->e_shoff);
    const char *names = (const char *)data + section[elf->e_shstrndx].sh_offset;

    uint64_t top = 0, bottom = UINT64_MAX;
    for (int i = 0; i < elf->e_phnum; i++) {
        if (segment[i].p_type != PT_LOAD)
            continue;
        top = segment[i].p_vaddr + segment[i].p_memsz > top ? segment[i].p_vaddr + segment[i].p_memsz : top;
        bottom = segment[i].p_vaddr < bottom ? segment[i].p_vaddr : bottom;
    }
    bottom &= ~UINT64_C(4095);
    uint64_t bias = (uint64_t)(uintptr_t)map(0, top - bottom, 0) - bottom;
    for (int i = 0; i < elf->e_phnum; i++)
        if (segment[i].p_type == PT_LOAD)
            memcpy(ptr(bias + segment[i].p_vaddr), data + segment[i].p_offset, segment[i].p_filesz);

    memset(m, 0, sizeof *m);
    m->start = bias + bottom;
    m->end = bias + top;
    for (int i = 0; i < elf->e_shnum; i++) {
        const char *name = names + section[i].sh_name;
        if (strcmp(name, ".eh_frame") == 0) {
            m->frame = bias + section[i].sh_addr;
            m->frame_end = m->frame + section[i].sh_size;
        } else if (strcmp(name, ".eh_frame_hdr") == 0) {
            m->hdr = bias + section[i].sh_addr;
            m->hdr_end = m->hdr + section[i].sh_size;
        }
    }
    munmap(data, bytes + 1);
    return bias;
}

static void bench(const char *path)
{
    enum { ROUNDS = 3, MOST = 1 << 20 };
    struct cg_module m;
    uint64_t bias = load_file(path, &m);
    unsigned long long asked;
    uint64_t *pcs = (uint64_t *)(void *)map(0, MOST * sizeof *pcs, 0);
    size_t count = 0;
    while (count < MOST && scanf("%llx", &asked) == 1)
        pcs[count++] = asked + bias;
    uint64_t best = UINT64_MAX;
    struct cg_rule rule;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = now_ns();
        for (size_t i = 0; i < count; i++)
            cg_rule_at(&m, pcs[i], &rule);
        uint64_t spent = now_ns() - start;
        best = spent < best ? spent : best;
    }
    printf("%.1f\n", (double)best / (double)count);
}

static void tables(const char *frame, const char *hdr)
{
    struct cg_module m = {0x1000, UINT64_MAX, 0, 0, FRAME_AT, 0};
    size_t bytes;
    uint8_t *data = slurp(frame, &bytes);
    memcpy(map(FRAME_AT, bytes + 1, MAP_FIXED_NOREPLACE), data, bytes);
    m.frame_end = FRAME_AT + bytes;
    if (hdr) {
        data = slurp(hdr, &bytes);
        memcpy(map(HDR_AT, bytes + 1, MAP_FIXED_NOREPLACE), data, bytes);
        m.hdr = HDR_AT;
        m.hdr_end = HDR_AT + bytes;
    }
    uint64_t start = now_ns();
    answer(&m, 0);
    printf("took_ns %llu\n", (unsigned long long)(now_ns() - start));
}

/* ---- this program itself ---- */

enum { MOST_MODULES = 64, MOST_FRAMES = 64 };
static struct cg_module modules[MOST_MODULES];
static int module_count;

static int add_module(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    struct cg_module m = {UINT64_MAX, 0, 0, 0, 0, 0};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uint64_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        uint64_t end = at + info->dlpi_phdr[i].p_memsz;
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            m.start = at < m.start ? at : m.start;
            m.end = end > m.end ? end : m.end;
        } else if (info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME) {
            m.hdr = at;
            m.hdr_end = end;
        }
    }
    if (m.hdr == 0 || module_count == MOST_MODULES)
        return 0;
    /* eh_frame_ptr is pcrel sdata4 with every linker in use; the section ends in the segment that holds it. */
    m.frame = m.hdr + 4 + (uint64_t)(int64_t)*(const int32_t *)ptr(m.hdr + 4);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uint64_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        uint64_t end = at + info->dlpi_phdr[i].p_memsz;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && m.frame >= at && m.frame < end)
            m.frame_end = end;
    }
    modules[module_count++] = m;
    return 0;
}

static int rule_for(uint64_t pc, struct cg_rule *rule)
{
    for (int i = 0; i < module_count; i++)
        if (pc >= modules[i].start && pc < modules[i].end)
            return cg_rule_at(&modules[i], pc, rule);
    return CG_RULE_NONE;
}

static uint64_t word_at(uint64_t address)
{
    return *(const uint64_t *)ptr(address);
}

struct trace {
    uint64_t pcs[MOST_FRAMES];
    int count;
};

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *context, void *arg)
{
    struct trace *trace = arg;
    if (trace->count < MOST_FRAMES)
        trace->pcs[trace->count++] = (uint64_t)_Unwind_GetIP(context);
    return _URC_NO_REASON;
}

/* The registers in the caller of this function, as they are when it returns. */
static __attribute__((noinline)) void walk(uint64_t pc, uint64_t sp, uint64_t fp, struct trace *trace)
{
    uint64_t lookup = pc;
    while (trace->count < MOST_FRAMES) {
        struct cg_rule rule;
        trace->pcs[trace->count++] = pc;
        if (rule_for(lookup, &rule) != CG_RULE_OK)
            return;
        uint64_t cfa = (rule.cfa == CG_CFA_SP ? sp : fp) + (uint64_t)(int64_t)rule.cfa_offset;
        if (rule.cfa == CG_CFA_FP_DEREF)
            cfa = word_at(cfa);
        pc = word_at(cfa + (uint64_t)(int64_t)rule.ra_offset);
#if defined(__aarch64__)
        pc &= (UINT64_C(1) << 48) - 1;
#endif
        if (rule.fp == CG_FP_AT_CFA)
            fp = word_at(cfa + (uint64_t)(int64_t)rule.fp_offset);
        else if (rule.fp == CG_FP_AT_FP)
            fp = word_at(fp + (uint64_t)(int64_t)rule.fp_offset);
        sp = cfa;
        lookup = pc - 1;
    }
}

static int leaf_frames = 0, mismatches = 0;

static __attribute__((noinline)) int leaf(void)
{
    uint64_t pc, sp, fp;
#if defined(__x86_64__)
    __asm__ volatile("lea 0(%%rip), %0\n\tmov %%rsp, %1\n\tmov %%rbp, %2" : "=&r"(pc), "=&r"(sp), "=&r"(fp));
#else
    __asm__ volatile("adr %0, .\n\tmov %1, sp\n\tmov %2, x29" : "=&r"(pc), "=&r"(sp), "=&r"(fp));
#endif
    struct trace ours = {.count = 0}, theirs = {.count = 0};
    walk(pc, sp, fp, &ours);
    _Unwind_Backtrace(note_frame, &theirs);
    /* The innermost pc is not a return address and differs; libgcc leaves out what follows the outermost frame. */
    for (int i = 1; i < ours.count && i < theirs.count; i++)
        mismatches += ours.pcs[i] != theirs.pcs[i];
    int missing = theirs.count - ours.count;
    mismatches += missing < 0 || missing > 1; /* libgcc may add a last pc of 0 */
    leaf_frames = ours.count;
    return ours.count;
}

static __attribute__((noinline)) int with_array(int n, int depth);

/* Over-aligned locals beside a variable array: realigned stack, rbp rule by expression. */
static __attribute__((noinline)) int realigned(int n, int depth)
{
    _Alignas(64) volatile char over[64];
    volatile char variable[n + 1];
    over[n & 63] = variable[n] = 1;
    return (depth > 0 ? with_array(n + 1, depth - 1) : leaf()) + over[n & 63];
}

static __attribute__((noinline)) int with_array(int n, int depth)
{
    volatile char variable[n + 40];
    variable[n] = 1;
    return realigned(n, depth) + variable[n];
}

static int compare_elements(const void *a, const void *b)
{
    if (leaf_frames == 0)
        (void)realigned(7, 4);
    return *(const int *)a - *(const int *)b;
}

/* Unwinds through qsort, so that code of the C library lies in the middle of the stack. */
static int self(void)
{
    int numbers[] = {3, 1, 2};
    dl_iterate_phdr(add_module, 0);
    qsort(numbers, 3, sizeof numbers[0], compare_elements);
    printf("%d modules, %d frames, %d mismatches\n", module_count, leaf_frames, mismatches);
    return mismatches != 0;
}

/* ---- hostile tables ---- */

static volatile uint64_t fuzz_round;

static void faulted(int signal_number)
{
    char text[64];
    int n = snprintf(text, sizeof text, "signal %d in round %llu\n", signal_number, (unsigned long long)fuzz_round);
    (void)!write(2, text, (size_t)n);
    _exit(3);
}

static int fuzz(uint64_t seed, uint64_t rounds)
{
    uint64_t kinds[3] = {0, 0, 0}, slowest = 0, asked = 0;
    uint64_t frame_room = guarded(FRAME_AT), hdr_room = guarded(HDR_AT), code = FRAME_AT + 0x100000;
    struct subject subject = {code, 32, 0};
    signal(SIGSEGV, faulted);
    signal(SIGBUS, faulted);
    printf("seed %llu\n", (unsigned long long)seed);
    for (fuzz_round = 0; fuzz_round < rounds; fuzz_round++) {
        hostile_seed = seed + (fuzz_round << 20); /* each round can be run alone */
        struct cg_module m;
        unsigned functions = any_tables(frame_room, hdr_room, &subject, &m);
        for (int i = 0; i < 4; i++, asked++) {
            uint64_t pc = i < 3 ? code + below(32 * functions) : rng() >> below(64);
            struct cg_rule rule;
            memset(&rule, 0xa5, sizeof rule);
            uint64_t start = now_ns();
            int kind = cg_rule_at(&m, pc, &rule);
            uint64_t spent = now_ns() - start;
            slowest = spent > slowest ? spent : slowest;
            if (kind != rule.kind || kind > CG_RULE_END || rule.cfa > CG_CFA_FP_DEREF || rule.fp > CG_FP_AT_FP ||
                (kind == CG_RULE_OK && rule.cfa == 0) || rule.signal_frame > 1)
                abort();
            kinds[kind]++;
        }
    }
    printf("asked %llu none %llu ok %llu end %llu slowest_ns %llu\n", (unsigned long long)asked,
           (unsigned long long)kinds[0], (unsigned long long)kinds[1], (unsigned long long)kinds[2],
           (unsigned long long)slowest);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    struct cg_module m;
    if (strcmp(mode, "rules") == 0 && argc > 2) {
        uint64_t bias = load_file(argv[2], &m);
        if (argc > 3)
            m.hdr = m.hdr_end = 0;
        answer(&m, bias);
    } else if (strcmp(mode, "tables") == 0 && argc > 2) {
        tables(argv[2], argc > 3 ? argv[3] : 0);
    } else if (strcmp(mode, "bench") == 0 && argc > 2) {
        bench(argv[2]);
    } else if (strcmp(mode, "self") == 0) {
        return self();
    } else if (strcmp(mode, "fuzz") == 0 && argc > 3) {
        return fuzz(strtoull(argv[2], 0, 0), strtoull(argv[3], 0, 0));
    } else {
        fprintf(stderr, "see the head of this file\n");
        return 2;
    }
    return 0;
}
