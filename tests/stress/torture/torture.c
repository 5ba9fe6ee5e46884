#define _GNU_SOURCE
#include "torture.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN_FRAME __attribute__((noinline, noclone))

unsigned long long pairs, kept_blocks, kept_bytes;
static unsigned long long signals_handled;

extern int goCallback(int depth);

void count_pairs(unsigned long long n) { __atomic_fetch_add(&pairs, n, __ATOMIC_RELAXED); }

/* What is allocated here is never freed: cgoleak's count of it must be exact. */
OWN_FRAME void *keep_block(unsigned long size)
{
    void *volatile block = malloc(size);
    if (block != NULL) {
        __atomic_fetch_add(&kept_blocks, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&kept_bytes, size, __ATOMIC_RELAXED);
        memset(block, 7, size);
    }
    return block;
}

/* Every function of the family, with contents checked. errno must come through successful calls. */
OWN_FRAME int churn(int n)
{
    int good = 1;
    for (int i = 0; i < n; i++) {
        size_t size = (size_t)(i * 37 % 900) + 16;
        errno = 77;
        unsigned char *a = malloc(size), *b = calloc(4, size), *d = NULL;
        good &= errno == 77;
        memset(a, i & 255, size);
        good &= b[0] == 0 && b[4 * size - 1] == 0;
        unsigned char *c = realloc(a, size * 3);
        good &= c[0] == (unsigned char)(i & 255) && c[size - 1] == (unsigned char)(i & 255);
        void *aligned = NULL;
        good &= posix_memalign(&aligned, 256, size) == 0 && ((unsigned long)aligned & 255) == 0;
        good &= (d = reallocarray(NULL, size, 2)) != NULL;
        errno = 78;
        free(b);
        free(c);
        free(aligned);
        free(d);
        good &= errno == 78;
        char *word = strdup("forty-two");
        good &= strcmp(word, "forty-two") == 0;
        free(word);
    }
    count_pairs((unsigned long long)n * 6);
    return good;
}

int fork_and_exit(int churns)
{
    int good = churn(2);
    pid_t child = fork();
    if (child == 0)
        _exit(churn(churns) ? 42 : 1);
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 0;
    return good && child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

int fork_and_exec(const char *program)
{
    int good = churn(2);
    pid_t child = fork();
    if (child == 0) {
        free(malloc(100));
        execl(program, program, "-mode", "child", (char *)NULL);
        _exit(9);
    }
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 0;
    return good && child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

int open_and_close(const char *library)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return 0;
    int (*work)(int) = (int (*)(int))dlsym(handle, "plugin_work");
    int good = work != NULL && work(200) == 199;
    return dlclose(handle) == 0 && good;
}

static void *short_life(void *argument)
{
    char *block = malloc(64);
    block[0] = *(char *)argument;
    free(argument);
    return block;
}

int threads_once(int n)
{
    pthread_t threads[64];
    int good = 1;
    if (n > 64)
        n = 64;
    for (int i = 0; i < n; i++) {
        char *byte = malloc(1);
        *byte = (char)i;
        good &= pthread_create(&threads[i], NULL, short_life, byte) == 0;
    }
    for (int i = 0; i < n; i++) {
        void *result = NULL;
        good &= pthread_join(threads[i], &result) == 0 && *(char *)result == (char)i;
        free(result);
    }
    return good;
}

static OWN_FRAME int climb(int depth, jmp_buf *out, void **blocks)
{
    blocks[depth] = malloc((size_t)depth + 1);
    if (depth == 0)
        longjmp(*out, 5);
    int result = climb(depth - 1, out, blocks);
    __asm__ volatile("" ::: "memory");
    return result + 1;
}

int jump_out(int depth)
{
    jmp_buf out;
    void *blocks[64] = {0};
    if (depth > 63)
        depth = 63;
    int came = setjmp(out);
    if (came == 0)
        return climb(depth, &out, blocks) * 0;
    for (int i = 0; i <= depth; i++)
        free(blocks[i]);
    return came == 5;
}

OWN_FRAME int recurse(int depth)
{
    int result = depth > 0 ? recurse(depth - 1) : churn(3);
    __asm__ volatile("" ::: "memory");
    return result;
}

/* malloc is not for signal handlers, but programs do it, and where the handler interrupts the hook
 * and not malloc itself nothing may go wrong. The thread that handles the signal is one that only
 * sleeps or computes outside malloc, so that this program is correct by itself. */
static volatile sig_atomic_t may_allocate;
static int allocate_in_handler;

static void on_signal(int number)
{
    (void)number;
    int before = errno;
    __atomic_fetch_add(&signals_handled, 1, __ATOMIC_RELAXED);
    if (allocate_in_handler && may_allocate) {
        char *volatile block = malloc(50);
        block[0] = 1;
        free(block);
    }
    errno = before;
}

static void *only_computes(void *unused)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    may_allocate = 1;
    for (volatile unsigned long i = 0;; i++)
        if ((i & 0xffff) == 0)
            usleep(200);
    return unused;
}

static pthread_t computing;

static void *ticks(void *argument)
{
    long hertz = (long)argument;
    for (;;) {
        usleep((useconds_t)(1000000 / hertz));
        pthread_kill(computing, SIGUSR1);
    }
    return NULL;
}

int start_timer(int hertz, int in_handler)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    pthread_t ticking;
    allocate_in_handler = in_handler;
    if (sigaction(SIGUSR1, &action, NULL) != 0)
        return 0;
    if (pthread_create(&computing, NULL, only_computes, NULL) != 0)
        return 0;
    return pthread_create(&ticking, NULL, ticks, (void *)(long)hertz) == 0;
}

unsigned long long handled(void) { return __atomic_load_n(&signals_handled, __ATOMIC_RELAXED); }

int start_profiling_timer(int hertz)
{
    struct timeval every = {0, 1000000 / hertz};
    struct itimerval timer = {every, every};
    return setitimer(ITIMER_PROF, &timer, NULL) == 0;
}

OWN_FRAME int call_back(int depth)
{
    char *block = malloc(200);
    block[0] = (char)depth;
    int result = goCallback(depth);
    result &= block[0] == (char)depth;
    free(block);
    return result;
}

/* Each bit of the way is a frame: at depth n as many stacks as there are numbers of n bits. */
OWN_FRAME static int left(unsigned way, int depth) { return by_way(way, depth) & 1; }

OWN_FRAME static int right(unsigned way, int depth) { return by_way(way, depth) & 3; }

OWN_FRAME int by_way(unsigned way, int depth)
{
    if (depth > 0)
        return way & 1 ? left(way >> 1, depth - 1) : right(way >> 1, depth - 1);
    unsigned *volatile block = malloc(sizeof *block);
    *block = way;
    int good = *block == way;
    free(block);
    return good;
}

/* More mappings at a time than the probe has room for. Every other page has other rights, so that none are merged. */
OWN_FRAME int map_and_unmap(int n)
{
    char **pages = calloc((size_t)n, sizeof *pages);
    int good = pages != NULL;
    for (int i = 0; good && i < n; i++) {
        pages[i] = mmap(NULL, 4096, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        good = pages[i] != MAP_FAILED;
        if (good && !(i & 1))
            pages[i][7] = (char)i;
    }
    for (int i = 0; good && i < n; i++)
        good = (i & 1 || pages[i][7] == (char)i) && munmap(pages[i], 4096) == 0;
    free(pages);
    return good;
}

int raise_signal(int number) { return raise(number); }
