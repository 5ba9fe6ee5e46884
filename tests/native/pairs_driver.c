/* Calls functions of all shapes through the entries of probes/pairs.c, as a slot would. */
#include <errno.h>
#include <stdarg.h>

#include "host.h"

enum { MAKE, MAKE_OUT, FREE, CLOSE, RESIZE, WIDE, PRINT, REAL, PAIR, LONG, FAIL, THROW, BELOW, PLACES };
#define HOOK(place, type) ((type)(cgoleak_header.pair_hook + CG_PAIR_THUNK_BYTES * (place)))

static uint32_t family_of;

/* --- what is called -------------------------------------------------------------------------- */

static volatile uint64_t next_handle = 0x1000;
static int made_errno;

static void *make(void)
{
    errno = 33;
    return (void *)(next_handle += 0x10);
}

static int make_out(int how, void **out)
{
    *out = (void *)(next_handle += 0x10);
    return how;
}

static int refuses;
static void *freed;

static void free_it(void *one)
{
    freed = one;
}

static int close_it(void *one)
{
    freed = one;
    return refuses;
}

static void *resize(void *one, size_t size)
{
    return size == 0 || size > 1000 ? 0 : (char *)one + 8;
}

static double wide_sum;

static long wide(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, long k, long l, long m,
                 long n, long o, double p, double q, double r, double s, double t, double u, double v, double w,
                 double x, double y, void **out)
{
    *out = (void *)(next_handle += 0x10);
    wide_sum = p + q * 2 + r * 3 + s * 4 + t * 5 + u * 6 + v * 7 + w * 8 + x * 9 + y * 10;
    return a + b * 2 + c * 3 + d * 4 + e * 5 + f * 6 + g * 7 + h * 8 + i * 9 + j * 10 + k * 11 + l * 12 + m * 13 +
           n * 14 + o * 15;
}

static void *print(char *to, size_t room, const char *format, ...)
{
    va_list words;
    va_start(words, format);
    vsnprintf(to, room, format, words);
    va_end(words);
    return (void *)(next_handle += 0x10);
}

static double real(double a)
{
    return a * 1.5;
}

struct two {
    uint64_t a, b;
};

static struct two pair(void)
{
    return (struct two){0x5550, 77};
}

static long double longer(long double a)
{
    return a / 3;
}

extern int throws(int deep) __attribute__((weak));
extern int catches(int (*hooked)(int)) __attribute__((weak));

static uint64_t stack_below;

/* As a hook of malloc sees it that this function calls. */
static __attribute__((noinline)) void *below(void)
{
    struct cg_thread *t = cg_enter();
    stack_below = cg_stack_of(t, HERE, CALLER, CALLER_FP);
    cg_leave(t);
    return (void *)0x7770;
}

/* --- how it is set up ------------------------------------------------------------------------ */

static void enter(uint32_t place, void *real_one, uint8_t role, uint8_t handle, uint8_t indirect, uint8_t success)
{
    T.pairs[place] = (struct cg_pair){.real = (uint64_t)real_one,
                                      .family = (uint8_t)family_of,
                                      .role = role,
                                      .handle = handle,
                                      .indirect = indirect,
                                      .success = success};
    cgoleak_header.pair_real[place] = (uint64_t)real_one;
}

static void begin(void)
{
    host_tables();
    cgoleak_header.pair_hook = (uint64_t)cg_pair_thunks;
    T.shared->families = 2;
    enter(MAKE, make, CG_ROLE_CREATE, 0, 0, CG_IF_ANY);
    enter(MAKE_OUT, make_out, CG_ROLE_CREATE, 2, 1, CG_IF_ZERO);
    enter(FREE, free_it, CG_ROLE_DESTROY, 1, 0, CG_IF_ANY);
    enter(CLOSE, close_it, CG_ROLE_DESTROY, 1, 0, CG_IF_ZERO);
    enter(RESIZE, resize, CG_ROLE_RESIZE, 1, 0, CG_IF_ANY);
    T.pairs[RESIZE].size_argument = 2;
    /* On the stack the ninth and tenth floating ones count too: sixteen and those two. */
    enter(WIDE, wide, CG_ROLE_CREATE, 18, 1, CG_IF_ANY);
    enter(PRINT, print, CG_ROLE_CREATE, 0, 0, CG_IF_ANY);
    enter(REAL, real, CG_ROLE_CREATE, 0, 0, CG_IF_POSITIVE);
    enter(PAIR, pair, CG_ROLE_CREATE, 0, 0, CG_IF_ANY);
    enter(LONG, longer, CG_ROLE_CREATE, 0, 0, CG_IF_POSITIVE);
    enter(THROW, throws, CG_ROLE_CREATE, 0, 0, CG_IF_ANY);
    enter(BELOW, below, CG_ROLE_CREATE, 0, 0, CG_IF_ANY);
}

static struct cg_family family(void)
{
    return T.families[family_of];
}

static uint64_t outstanding(void)
{
    struct cg_row rows[64];
    uint64_t left = 0;
    uint32_t count = cgoleak_sum_rows(cgoleak_header.shared_fd, (const char *)T.shared, rows, 64);
    for (uint32_t i = 0; i < count; i++)
        if (T.stacks[i].flags >> CG_STACK_FAMILY_SHIFT == family_of + 1)
            left += rows[i].born_blocks - rows[i].freed_blocks;
    return left;
}

static uint64_t outstanding_in_table(void)
{
    static struct cg_ages ages[64];
    uint64_t left = 0;
    cgoleak_scan_blocks(cgoleak_header.shared_fd, (const char *)T.shared, ages, 64, 0);
    for (uint32_t i = 0; i < 64; i++)
        if (T.stacks[i].flags >> CG_STACK_FAMILY_SHIFT == family_of + 1)
            left += ages[i].blocks;
    return left;
}

/* --- the tests ------------------------------------------------------------------------------- */

static void arguments(void)
{
    begin();
    void *out = 0;
    long got = HOOK(WIDE, long (*)(long, long, long, long, long, long, long, long, long, long, long, long, long, long,
                                   long, double, double, double, double, double, double, double, double, double, double,
                                   void **))(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 1.5, 2.5, 3.5, 4.5, 5.5,
                                             6.5, 7.5, 8.5, 9.5, 10.5, &out);
    SAME(got, 1240);
    CHECK(wide_sum == 412.5, "%f", wide_sum);
    SAME(family().created, 1);
    SAME((uint64_t)out, next_handle);

    char text[80];
    HOOK(PRINT, void *(*)(char *, size_t, const char *, ...))(text, sizeof text, "%d %.2f %s %.1f %ld %d", 4, 2.25, "x",
                                                             0.5, 7L, 8);
    CHECK(strcmp(text, "4 2.25 x 0.5 7 8") == 0, "%s", text);
    SAME(family().created, 2);
}

static void results(void)
{
    begin();
    CHECK(HOOK(REAL, double (*)(double))(3.0) == 4.5, "a double");
    CHECK(HOOK(LONG, long double (*)(long double))(4.5L) == 1.5L, "a long double");
    struct two both = HOOK(PAIR, struct two (*)(void))();
    SAME(both.a, 0x5550);
    SAME(both.b, 77);
    errno = 5;
    HOOK(MAKE, void *(*)(void))();
    SAME(errno, 33);
    errno = 5;
    HOOK(FREE, void (*)(void *))((void *)0x5550);
    SAME(errno, 5);
}

static void counting(void)
{
    begin();
    void *first = HOOK(MAKE, void *(*)(void))(), *second = 0, *third = 0;
    SAME(HOOK(MAKE_OUT, int (*)(int, void **))(0, &second), 0);
    SAME(HOOK(MAKE_OUT, int (*)(int, void **))(7, &third), 7);
    SAME(outstanding(), 2);
    SAME(outstanding_in_table(), 2);

    HOOK(FREE, void (*)(void *))(third); /* never was one */
    SAME(family().unmatched, 1);
    HOOK(FREE, void (*)(void *))(0);
    SAME(family().unmatched, 1);
    SAME((uint64_t)freed, 0);

    refuses = 5;
    SAME(HOOK(CLOSE, int (*)(void *))(second), 5);
    SAME(outstanding(), 2);
    SAME(family().destroyed, 0);
    refuses = 0;
    SAME(HOOK(CLOSE, int (*)(void *))(second), 0);
    SAME(outstanding(), 1);
    SAME(outstanding_in_table(), 1);
    SAME((uint64_t)freed, (uint64_t)second);

    /* Another at its place; one that is too large, and leaves the old; and the one that is a free. */
    void *moved = HOOK(RESIZE, void *(*)(void *, size_t))(first, 100);
    SAME((uint64_t)moved, (uint64_t)first + 8);
    SAME(outstanding(), 1);
    SAME((uint64_t)HOOK(RESIZE, void *(*)(void *, size_t))(moved, 2000), 0);
    SAME(outstanding(), 1);
    SAME((uint64_t)HOOK(RESIZE, void *(*)(void *, size_t))(moved, 0), 0);
    SAME(outstanding(), 0);
    SAME(outstanding_in_table(), 0);
}

/* The same address in the table of blocks: neither hides the other, and a free of it ends both. */
static void blocks_and_handles(void)
{
    begin();
    struct cg_block old;
    struct cg_thread *t = cg_enter();
    uint64_t here = next_handle + 0x10;
    cg_block_insert(t, here, 40, 3, 0);
    cg_leave(t);
    SAME((uint64_t)HOOK(MAKE, void *(*)(void))(), here);
    SAME(outstanding(), 1);
    t = cg_enter();
    CHECK(cg_block_take(t, here, 0, &old), "the block is there");
    cg_leave(t);
    SAME(cg_size_in(old.what), 40);
    SAME(outstanding(), 0);
    SAME(family().gone, 1);
    SAME(family().destroyed, 0);

    /* And the other way round. */
    t = cg_enter();
    cg_block_insert(t, here + 0x10, 40, 3, 0);
    cg_leave(t);
    void *one = HOOK(MAKE, void *(*)(void))();
    HOOK(FREE, void (*)(void *))(one);
    SAME(outstanding(), 0);
    t = cg_enter();
    CHECK(cg_block_take(t, (uint64_t)one, 0, &old), "the block is still there");
    cg_leave(t);
    SAME(family().gone, 1);
    SAME(family().destroyed, 1);

    /* Another family's handle of the same value is another handle. */
    family_of = 1;
    t = cg_enter();
    cg_handle_insert(t, 1, 0x9990, 0, 5);
    struct cg_handle was;
    CHECK(!cg_handle_take(t, 0, 0x9990, 0, &was), "not of the first family");
    CHECK(cg_handle_take(t, 1, 0x9990, 0, &was), "of the second");
    cg_leave(t);
    family_of = 0;
}

static void off(void)
{
    begin();
    R->enabled = 0;
    void *one = HOOK(MAKE, void *(*)(void))();
    HOOK(FREE, void (*)(void *))(one);
    SAME((uint64_t)freed, (uint64_t)one);
    R->enabled = 1;
    SAME(family().created + family().unmatched, 0);

    /* Entries whose description belongs to another function do nothing but call. */
    T.pairs[MAKE].real = 1;
    one = HOOK(MAKE, void *(*)(void))();
    SAME((uint64_t)one, next_handle);
    SAME(family().created, 0);
}

static void many(void)
{
    begin();
    static void *kept[60000];
    for (uint32_t i = 0; i < 60000; i++)
        kept[i] = HOOK(MAKE, void *(*)(void))();
    SAME(outstanding(), 60000);
    SAME(outstanding_in_table(), 60000);
    CHECK(T.shared->handle_levels_used > 3 && T.shared->handle_levels_used < 9, "%u levels",
          T.shared->handle_levels_used);
    for (uint32_t i = 0; i < 60000; i += 2)
        HOOK(FREE, void (*)(void *))(kept[i]);
    SAME(outstanding(), 30000);
    SAME(outstanding_in_table(), 30000);
    SAME(family().dropped + family().unmatched + family().replaced, 0);
}

static void *worker(void *arg)
{
    struct cg_thread *t = cg_enter();
    uint64_t mine = (uint64_t)(uintptr_t)arg << 32;
    struct cg_handle old;
    for (uint64_t i = 1; i <= 40000; i++) {
        cg_handle_insert(t, 0, mine + i * 16, 8, 2 + (uint32_t)(uintptr_t)arg);
        if (i > 50)
            CHECK(cg_handle_take(t, 0, mine + (i - 50) * 16, 0, &old), "what a thread made it finds again");
    }
    cg_leave(t);
    return 0;
}

static void threads(void)
{
    begin();
    pthread_t all[4];
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&all[i], 0, worker, (void *)(i + 1)) == 0, "a thread");
    for (int i = 0; i < 4; i++)
        pthread_join(all[i], 0);
    SAME(family().created, 160000);
    SAME(family().destroyed, 160000 - 200);
    SAME(family().replaced + family().dropped + family().unmatched, 0);
}

/* What is given up before the function that makes it returns: by itself, or by another thread. */
static void *make_given_up(void)
{
    void *made = make();
    HOOK(FREE, void (*)(void *))(made);
    return made;
}

static void *volatile published;

static void *make_published(void)
{
    void *made = make();
    __atomic_store_n(&published, made, __ATOMIC_RELEASE);
    return made;
}

static void *gives_up_what_is_published(void *count)
{
    for (uintptr_t left = (uintptr_t)count; left > 0;) {
        void *one = __atomic_exchange_n(&published, 0, __ATOMIC_ACQ_REL);
        if (one == 0)
            continue;
        HOOK(FREE, void (*)(void *))(one);
        left--;
    }
    return 0;
}

static void early(void)
{
    begin();
    enter(MAKE, make_given_up, CG_ROLE_CREATE, 0, 0, CG_IF_ANY);
    T.pairs[MAKE].early = 1;
    for (int i = 0; i < 1000; i++)
        HOOK(MAKE, void *(*)(void))();
    SAME(family().created, 1000);
    SAME(family().destroyed, 1000);
    SAME(family().unmatched, 0);
    SAME(family().making, 0);
    SAME(outstanding(), 0);
    SAME(outstanding_in_table(), 0);

    pthread_t other;
    enter(MAKE, make_published, CG_ROLE_CREATE, 0, 0, CG_IF_ANY);
    T.pairs[MAKE].early = 1;
    CHECK(pthread_create(&other, 0, gives_up_what_is_published, (void *)20000) == 0, "a thread");
    for (int i = 0; i < 20000; i++) {
        HOOK(MAKE, void *(*)(void))();
        while (__atomic_load_n(&published, __ATOMIC_ACQUIRE) != 0)
            ;
    }
    pthread_join(other, 0);
    SAME(family().created, 21000);
    SAME(family().destroyed, 21000);
    SAME(family().unmatched + family().dropped, 0);
    SAME(family().making, 0);
    SAME(outstanding(), 0);
    SAME(outstanding_in_table(), 0);

    /* A mark from before the call is of another handle that had its value. */
    enter(MAKE, make, CG_ROLE_CREATE, 0, 0, CG_IF_ANY);
    T.pairs[MAKE].early = 1;
    struct cg_thread *t = cg_enter();
    struct cg_handle old;
    cg_handle_making(0, 1);
    CHECK(!cg_handle_take(t, 0, next_handle + 0x10, 0, &old), "it is not there");
    cg_handle_making(0, 0);
    cg_leave(t);
    T.shared->tick++;
    HOOK(MAKE, void *(*)(void))();
    SAME(outstanding(), 1);
    SAME(family().unmatched, 1);
    CHECK(!cg_handle_take(cg_enter(), 0, 0x77770, 0, &old), "nor that one");
    SAME(outstanding_in_table(), 1);
    SAME(family().making, 0);
}

/* What an argument points to says that nothing is made that must be given up. */
static void exempt(void)
{
    begin();
    uint32_t says[4] = {~0u, ~0u, 0, ~0u};
    void *out;
    T.pairs[MAKE_OUT].unless_argument = 3;
    T.pairs[MAKE_OUT].unless_at = 8;
    T.pairs[MAKE_OUT].unless_mask = 4;
    for (uint32_t value = 0; value < 8; value++) {
        says[2] = value;
        SAME(HOOK(MAKE_OUT, int (*)(int, void **, uint32_t *))(0, &out, says), 0);
        SAME((uint64_t)out, next_handle);
    }
    SAME(family().created, 4);
    SAME(HOOK(MAKE_OUT, int (*)(int, void **, uint32_t *))(0, &out, 0), 0);
    SAME(family().created, 5);
}

/* Runs on a stack with hardly a word above the frame that calls. */
static void *edge_result;
static void (*edge_resume)(void);

#if defined(__x86_64__)
static __attribute__((noinline)) void *call_on(void *stack_top, void *(*function)(void))
{
    void *got;
    __asm__ volatile("mov %%rsp, %%rbx\n  mov %1, %%rsp\n  call *%2\n  mov %%rbx, %%rsp"
                     : "=a"(got)
                     : "r"(stack_top), "r"(function)
                     : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
    return got;
}
#else
static __attribute__((noinline)) void *call_on(void *stack_top, void *(*function)(void))
{
    (void)stack_top;
    return function();
}
#endif

static void edge(void)
{
    begin();
    char *room = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(room != MAP_FAILED, "room");
    munmap(room + (1 << 20) - 4096, 4096);
    cg_try_looking();
    char *top = room + (1 << 20) - 4096;
    for (uint32_t above = 0; above < 20; above += 2) {
        edge_result = call_on(top - 8 * above, HOOK(MAKE, void *(*)(void)));
        SAME((uint64_t)edge_result, next_handle);
    }
    (void)edge_resume;
    SAME(family().created, 10);
}

static void exception(void)
{
    begin();
    CHECK(catches != 0, "linked with the C++ part");
    for (int round = 0; round < 100; round++)
        SAME(catches(HOOK(THROW, int (*)(int))), 42);
    SAME(family().created, 0);
    CHECK(R->overflow.inside == 0, "nobody is inside");
    for (uint32_t i = 0; i < CG_MAX_THREADS; i++)
        SAME(R->threads[i].inside, 0);
    HOOK(MAKE, void *(*)(void))();
    SAME(family().created, 1);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {{"arguments", arguments}, {"results", results}, {"counting", counting},
               {"both", blocks_and_handles}, {"off", off}, {"many", many}, {"threads", threads},
               {"edge", edge}, {"early", early}, {"exempt", exempt}, {"exception", exception}};
    CHECK(argc == 2, "the name of a test");
    for (uint32_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(argv[1], all[i].name) == 0) {
            made_errno = errno;
            all[i].run();
            puts("right");
            return 0;
        }
    return 2;
}
