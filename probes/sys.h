/* System calls without libc: the probe must run in glibc and musl processes alike, on a thread of
 * its own without TLS, and must never touch errno. Negative results are -errno. */
#ifndef CGOLEAK_SYS_H
#define CGOLEAK_SYS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define CG_NR_READ 0
#define CG_NR_WRITE 1
#define CG_NR_CLOSE 3
#define CG_NR_LSEEK 8
#define CG_NR_MMAP 9
#define CG_NR_MPROTECT 10
#define CG_NR_MUNMAP 11
#define CG_NR_RT_SIGPROCMASK 14
#define CG_NR_MADVISE 28
#define CG_NR_GETPID 39
#define CG_NR_CLONE 56
#define CG_NR_EXIT 60
#define CG_NR_FTRUNCATE 77
#define CG_NR_FCNTL 72
#define CG_NR_GETTID 186
#define CG_NR_CLOCK_GETTIME 228
#define CG_NR_PPOLL 271
#define CG_NR_PIPE2 293
#define CG_NR_PROCESS_VM_READV 310
#define CG_NR_MEMFD_CREATE 319
#define CG_NR_MEMBARRIER 324

static inline long cg_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline uint64_t cg_thread_pointer(void)
{
    /* glibc and musl keep the address of the thread control block in its first word. */
    uint64_t tp;
    __asm__("mov %%fs:0, %0" : "=r"(tp));
    return tp;
}

#elif defined(__aarch64__)
#define CG_NR_READ 63
#define CG_NR_WRITE 64
#define CG_NR_CLOSE 57
#define CG_NR_LSEEK 62
#define CG_NR_MMAP 222
#define CG_NR_MPROTECT 226
#define CG_NR_MUNMAP 215
#define CG_NR_RT_SIGPROCMASK 135
#define CG_NR_MADVISE 233
#define CG_NR_GETPID 172
#define CG_NR_CLONE 220
#define CG_NR_EXIT 93
#define CG_NR_FTRUNCATE 46
#define CG_NR_FCNTL 25
#define CG_NR_GETTID 178
#define CG_NR_CLOCK_GETTIME 113
#define CG_NR_PPOLL 73
#define CG_NR_PIPE2 59
#define CG_NR_PROCESS_VM_READV 270
#define CG_NR_MEMFD_CREATE 279
#define CG_NR_MEMBARRIER 283

static inline long cg_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

static inline uint64_t cg_thread_pointer(void)
{
    uint64_t tp;
    __asm__("mrs %0, tpidr_el0" : "=r"(tp));
    return tp;
}
#else
#error "cgoleak's probe knows x86-64 and aarch64"
#endif

#define cg_sys0(nr) cg_syscall6((nr), 0, 0, 0, 0, 0, 0)
#define cg_sys1(nr, a) cg_syscall6((nr), (long)(a), 0, 0, 0, 0, 0)
#define cg_sys2(nr, a, b) cg_syscall6((nr), (long)(a), (long)(b), 0, 0, 0, 0)
#define cg_sys3(nr, a, b, c) cg_syscall6((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define cg_sys4(nr, a, b, c, d) cg_syscall6((nr), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define cg_sys6(nr, a, b, c, d, e, f) \
    cg_syscall6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#define CG_PROT_NONE 0
#define CG_PROT_READ 1
#define CG_PROT_WRITE 2
#define CG_PROT_EXEC 4
#define CG_MAP_SHARED 0x01
#define CG_MAP_PRIVATE 0x02
#define CG_MAP_FIXED 0x10
#define CG_MAP_ANONYMOUS 0x20
#define CG_MAP_NORESERVE 0x4000
#define CG_MAP_FIXED_NOREPLACE 0x100000
#define CG_MFD_CLOEXEC 1u
#define CG_MFD_NOEXEC_SEAL 8u
#define CG_O_CLOEXEC 02000000
#define CG_O_NONBLOCK 04000
#define CG_MADV_DONTFORK 10
#define CG_MADV_DONTDUMP 16
#define CG_MADV_WIPEONFORK 18
#define CG_MEMBARRIER_PRIVATE_EXPEDITED 8
#define CG_MEMBARRIER_REGISTER_PRIVATE_EXPEDITED 16
#define CG_POLLIN 1
#define CG_F_OFD_GETLK 36
#define CG_F_WRLCK 1
#define CG_F_UNLCK 2
#define CG_EBUSY 16
#define CG_EAGAIN 11
#define CG_EEXIST 17
#define CG_EINTR 4
#define CG_EFAULT 14
#define CG_EINVAL 22

static inline long cg_mmap(uint64_t at, uint64_t size, int prot, int flags, int fd, uint64_t offset)
{
    return cg_sys6(CG_NR_MMAP, at, size, prot, flags, fd, offset);
}

static inline int cg_is_error(long result)
{
    return result < 0 && result > -4096;
}

struct cg_timespec {
    int64_t seconds;
    int64_t nanoseconds;
};

static inline uint64_t cg_now_ns(void)
{
    struct cg_timespec now = {0, 0};
    cg_sys2(CG_NR_CLOCK_GETTIME, 1 /* CLOCK_MONOTONIC */, &now);
    return (uint64_t)now.seconds * 1000000000u + (uint64_t)now.nanoseconds;
}

static inline uint64_t cg_now_ms(void)
{
    struct cg_timespec now = {0, 0};
    cg_sys2(CG_NR_CLOCK_GETTIME, 1 /* CLOCK_MONOTONIC */, &now);
    return (uint64_t)now.seconds * 1000u + (uint64_t)now.nanoseconds / 1000000u;
}

static inline void cg_sleep_ms(unsigned ms)
{
    struct cg_timespec wait = {0, (int64_t)ms * 1000000};
    cg_sys4(CG_NR_PPOLL, 0, 0, &wait, 0);
}

#endif
