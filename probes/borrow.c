/* The way in where no injector can go: a static program. x86-64 alone.
 *
 * The driver copies the code from cgoleak_borrow to cgoleak_borrow_end over dead code of the target,
 * and fills in the words at cgoleak_borrow_words. Then it stops one thread that waits in a system call,
 * and sets its program counter here. From that moment on nothing depends on the driver, which may be
 * killed: the thread starts another and goes back to where it was, every register as before. It uses
 * no stack, and no instruction that changes a flag. The new thread has all signals blocked; it maps a
 * page or two, waits three seconds at most until the driver has put this object there, calls it, takes
 * the mapping away and ends. */
#if defined(__x86_64__)

#define CG_TEXT_OF(x) #x
#define CG_TEXT(x) CG_TEXT_OF(x)

/* On the thread that was started: words has the start function of an idle copy, see cgoleak_entry. */
__attribute__((used, visibility("hidden"))) void cg_arrived(const char *words)
{
    cg_come_in(&words);
}

__asm__(
    ".pushsection .text\n"
    ".balign 16\n"
    ".globl cgoleak_borrow, cgoleak_borrow_done, cgoleak_borrow_apart, cgoleak_borrow_words\n"
    ".globl cgoleak_borrow_end, cgoleak_arrive\n"
    "cgoleak_borrow:\n"
    "  mov $14, %eax\n" /* rt_sigprocmask(SIG_SETMASK, all, 0, 8) */
    "  mov $2, %edi\n"
    "  lea 10f(%rip), %rsi\n"
    "  mov $0, %edx\n"
    "  mov $8, %r10d\n"
    "  syscall\n"
    "  mov $56, %eax\n" /* clone, with the flags of cg_spawn and without a stack */
    "  mov $0x50f00, %edi\n"
    "  mov $0, %esi\n"
    "  syscall\n"
    "  mov %rax, %rcx\n"
    "  jrcxz 1f\n"
    "  mov $14, %eax\n" /* rt_sigprocmask(SIG_SETMASK, as it was, 0, 8) */
    "  mov $2, %edi\n"
    "  lea 11f(%rip), %rsi\n"
    "  syscall\n"
    "cgoleak_borrow_done:\n"
    "  mov 12f(%rip), %rax\n"
    "  mov 13f(%rip), %rcx\n"
    "  mov 14f(%rip), %rdx\n"
    "  mov 15f(%rip), %rsi\n"
    "  mov 16f(%rip), %rdi\n"
    "  mov 17f(%rip), %r10\n"
    "  mov 18f(%rip), %r11\n"
    "  jmp *19f(%rip)\n"
    /* The new thread. */
    "cgoleak_borrow_apart:\n"
    "1: mov $9, %eax\n" /* mmap, readable and executable, there or nowhere */
    "  mov 20f(%rip), %rdi\n"
    "  mov %rdi, %r12\n"
    "  mov $" CG_TEXT(CG_BORROW_BYTES) ", %esi\n"
    "  mov $5, %edx\n"
    "  mov $0x100022, %r10d\n" /* MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE */
    "  or $-1, %r8\n"
    "  xor %r9d, %r9d\n"
    "  syscall\n"
    "  cmp %r12, %rax\n"
    "  jne 5f\n"
    "  mov $3000, %ebp\n"
    "  lea 21f(%rip), %rdi\n"
    "  xor %esi, %esi\n"
    "2: mov $35, %eax\n" /* nanosleep */
    "  syscall\n"
    "  cmpb $0, (%r12)\n"
    "  jne 3f\n"
    "  dec %ebp\n"
    "  jnz 2b\n"
    "  jmp 4f\n"
    "3: xor %eax, %eax\n"
    "  cpuid\n" /* nothing of what was written meanwhile has been fetched before */
    "  lea 4f(%rip), %rbx\n"
    "  jmp *8(%r12)\n" /* to cgoleak_arrive */
    "4: mov $11, %eax\n" /* munmap */
    "  mov %r12, %rdi\n"
    "  mov $" CG_TEXT(CG_BORROW_BYTES) ", %esi\n"
    "  syscall\n"
    "5: mov $60, %eax\n" /* exit */
    "  xor %edi, %edi\n"
    "  syscall\n"
    "cgoleak_borrow_words:\n" /* struct cg_borrow */
    "10: .quad -1\n"
    "11: .quad 0\n"
    "12: .quad 0\n"
    "13: .quad 0\n"
    "14: .quad 0\n"
    "15: .quad 0\n"
    "16: .quad 0\n"
    "17: .quad 0\n"
    "18: .quad 0\n"
    "19: .quad 0\n"
    "20: .quad 0\n"
    "21: .quad 0, 1000000\n"
    "cgoleak_borrow_end:\n"
    /* In the mapping, which r12 leads to; rbx: where to go in the end. */
    "cgoleak_arrive:\n"
    "  mov $9, %eax\n" /* mmap of a stack */
    "  xor %edi, %edi\n"
    "  mov $65536, %esi\n"
    "  mov $3, %edx\n"
    "  mov $0x22, %r10d\n"
    "  mov $-1, %r8\n"
    "  xor %r9d, %r9d\n"
    "  syscall\n"
    "  cmp $-4096, %rax\n"
    "  ja 6f\n"
    "  mov %rax, %r13\n"
    "  lea 65536(%rax), %rsp\n"
    "  xor %ebp, %ebp\n"
    "  cld\n"
    "  lea 16(%r12), %rdi\n"
    "  call cg_arrived\n"
    "  mov $11, %eax\n"
    "  mov %r13, %rdi\n"
    "  mov $65536, %esi\n"
    "  syscall\n"
    "6: jmp *%rbx\n"
    ".popsection\n");

#endif
