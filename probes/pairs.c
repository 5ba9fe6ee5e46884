/* Functions of the user's own pairs: what makes a handle, and what gives it up.
 *
 * Nothing is known of such a function but which argument or result is the handle. So it is called
 * with every register that may carry an argument as it was, and with a copy of the words above the
 * return address, where further arguments lie: CG_PAIR_WORDS of them, which is room for 22 integers.
 * A function that is given more cannot be hooked (docs/pairs.md).
 *
 * A function that only gives up a handle is jumped to, like dlopen: no frame of ours is on the stack.
 * One whose result must be seen is called from a frame of ours, which our own unwinder steps over. */
#include "state.h"

#define CG_PAIR_ARGUMENTS 8u /* in registers, on aarch64; 6 on x86-64 */
#if defined(__x86_64__)
#define CG_PAIR_REGISTERS 6u
#else
#define CG_PAIR_REGISTERS 8u
#endif

/* Ends where the frame pointer points to. */
struct cg_pair_frame {
    uint64_t vector[16];
    uint64_t argument[CG_PAIR_ARGUMENTS];
    uint64_t other[2]; /* rax, r10; x8 */
    uint64_t result[2];
    uint64_t index;
    uint64_t real;
    struct cg_pair pair;
    uint64_t where; /* the handle comes to lie here */
    uint64_t size;
    uint64_t rounds;
    struct cg_handle old; /* what was taken out, and may have to be put back; key 0: nothing */
    uint64_t cleaned;
    uint64_t began; /* tick */
    uint64_t spare;
    uint64_t fp; /* the caller's */
    uint64_t pc;
    uint64_t stack[CG_PAIR_WORDS];
};
#define CG_PAIR_FRAME __builtin_offsetof(struct cg_pair_frame, fp)
_Static_assert(CG_PAIR_FRAME == 352, "the number in the assembly; a multiple of 16");
_Static_assert(__builtin_offsetof(struct cg_pair_frame, argument) == 128, "as in the assembly");
_Static_assert(__builtin_offsetof(struct cg_pair_frame, other) == 192, "as in the assembly");
_Static_assert(__builtin_offsetof(struct cg_pair_frame, result) == 208, "as in the assembly");
_Static_assert(__builtin_offsetof(struct cg_pair_frame, index) == 224, "as in the assembly");
_Static_assert(__builtin_offsetof(struct cg_pair_frame, real) == 232, "as in the assembly");
_Static_assert(CG_PAIR_WORDS == 16 && CG_PAIR_FUNCTIONS == 240 && CG_PAIR_THUNK_BYTES == 16, "as in the assembly");

/* How many words above the return address may be read. The caller's frame is there, as a rule longer
 * than that; near the outer end of a stack, the page after it need not be. */
static uint32_t cg_pair_words(const struct cg_pair_frame *f)
{
    uint64_t at = (uint64_t)f->stack;
    /* The page of the return address is there: that is where we come from. */
    uint64_t left = (CG_PAGE - ((at - 8) & (CG_PAGE - 1))) / 8 - 1;
    if (CG_LIKELY(left >= CG_PAIR_WORDS) || !cg_can_look || cg_readable(at + 8 * left, 1))
        return CG_PAIR_WORDS;
    return (uint32_t)left;
}

static uint64_t cg_pair_argument(const struct cg_pair_frame *f, uint32_t number)
{
    if (number == 0)
        return 0;
    if (number <= CG_PAIR_REGISTERS)
        return f->argument[number - 1];
    number -= CG_PAIR_REGISTERS + 1;
    return number < cg_pair_words(f) ? f->stack[number] : 0;
}

static uint64_t cg_pair_size(const struct cg_pair_frame *f)
{
    if (f->pair.size_argument == 0)
        return f->pair.size;
    uint64_t size = cg_pair_argument(f, f->pair.size_argument);
    return f->pair.count_argument == 0 ? size : size * cg_pair_argument(f, f->pair.count_argument);
}

static int cg_pair_succeeded(const struct cg_pair_frame *f)
{
    int32_t result = (int32_t)f->result[0];
    switch (f->pair.success) {
    case CG_IF_ZERO:
        return result == 0;
    case CG_IF_NONZERO:
        return result != 0;
    case CG_IF_POSITIVE:
        return result > 0;
    case CG_IF_NOT_NEGATIVE:
        return result >= 0;
    case CG_IF_TRUE:
        return (uint8_t)f->result[0] != 0;
    default:
        return 1;
    }
}

/* Neither 0 nor -1, by which functions say that there is none. */
static int cg_pair_is_handle(uint64_t handle)
{
    return handle + 1 > 1;
}

/* Nothing is made that must be given up: a thread that is detached from its beginning. */
static int cg_pair_is_exempt(const struct cg_pair_frame *f)
{
    if (f->pair.unless_argument == 0)
        return 0;
    uint64_t at = cg_pair_argument(f, f->pair.unless_argument);
    return at != 0 && (*(const uint32_t *)(at + f->pair.unless_at) & f->pair.unless_mask) != 0;
}

/* Takes out the handle that an argument names. */
static void cg_pair_give_up(struct cg_thread *t, struct cg_pair_frame *f)
{
    uint64_t handle = cg_pair_argument(f, f->pair.handle);
    if (f->pair.indirect && handle != 0)
        handle = *(const uint64_t *)handle;
    if (!cg_pair_is_handle(handle))
        return;
    f->cleaned = (uint64_t)cg_is_cleaner();
    if (!cg_handle_take(t, f->pair.family, handle, (int)f->cleaned, &f->old))
        f->old.key = 0;
}

/* Returns the number of words to copy for the call; below zero: it is jumped to instead. */
__attribute__((used, visibility("hidden"))) int cg_pair_before(struct cg_pair_frame *f)
{
    f->real = CG_LOAD_ACQUIRE(&cgoleak_header.pair_real[f->index]);
    f->old.key = 0;
    struct cg_thread *t = cg_enter();
    if (t == 0)
        return -1;
    int words = -1;
    f->pair = T.pairs[f->index];
    f->rounds = CG_LOAD(&cgoleak_header.rounds);
    if (f->pair.real == f->real && f->pair.family < CG_FAMILIES)
        switch (f->pair.role) {
        case CG_ROLE_CREATE:
            if (cg_pair_is_exempt(f))
                break;
            if (f->pair.early) {
                f->began = CG_LOAD(&T.shared->tick);
                cg_handle_making(f->pair.family, 1);
            }
            f->where = cg_pair_argument(f, f->pair.handle);
            f->size = cg_pair_size(f);
            words = (int)cg_pair_words(f);
            break;
        case CG_ROLE_DESTROY:
            cg_pair_give_up(t, f);
            if (f->old.key != 0 && f->pair.success != CG_IF_ANY)
                words = (int)cg_pair_words(f);
            break;
        case CG_ROLE_RESIZE:
            cg_pair_give_up(t, f);
            f->size = cg_pair_size(f);
            words = (int)cg_pair_words(f);
            break;
        default:
            break;
        }
    cg_leave(t);
    return words;
}

__attribute__((used, visibility("hidden"))) void cg_pair_after(struct cg_pair_frame *f)
{
    struct cg_thread *t = cg_enter();
    if (t == 0)
        return;
    if (f->rounds == CG_LOAD(&cgoleak_header.rounds)) {
        uint64_t handle = 0;
        if (cg_pair_succeeded(f)) {
            if (f->pair.role == CG_ROLE_RESIZE || (f->pair.role == CG_ROLE_CREATE && f->pair.handle == 0))
                handle = f->result[0];
            else if (f->pair.role == CG_ROLE_CREATE && f->where != 0)
                handle = f->pair.indirect ? *(const uint64_t *)f->where : f->where;
        }
        if (cg_pair_is_handle(handle)) {
            cg_handle_insert(t, f->pair.family, handle, f->size,
                             cg_stack_of_handle(t, (uint64_t)f->stack, f->pc, f->fp, f->pair.family));
            if (f->pair.early)
                cg_handle_settle(t, f->pair.family, handle, (uint32_t)f->began);
        } else if (f->old.key != 0 && (f->pair.role == CG_ROLE_RESIZE ? f->size != 0 : !cg_pair_succeeded(f)))
            cg_handle_restore(t, &f->old, (int)f->cleaned);
        if (f->pair.early)
            cg_handle_making(f->pair.family, 0);
    }
    cg_leave(t);
}

/* Entries, one a function, each of which only says which it is; then what they share. */
#if defined(__x86_64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".hidden cg_pair_thunks\n.globl cg_pair_thunks\n.type cg_pair_thunks, @function\n"
        "cg_pair_thunks:\n"
        ".set cg_pair_number, 0\n"
        ".rept 240\n"
        "  .p2align 4\n"
        "  movl $cg_pair_number, %r11d\n"
        "  jmp cg_pair_enter\n"
        ".set cg_pair_number, cg_pair_number + 1\n"
        ".endr\n"
        ".p2align 4\n"
        ".size cg_pair_thunks, . - cg_pair_thunks\n"
        ".hidden cg_pair_begin\n.globl cg_pair_begin\n"
        "cg_pair_begin:\n"
        ".type cg_pair_enter, @function\n"
        "cg_pair_enter:\n"
        "  .cfi_startproc\n"
        "  push %rbp\n"
        "  .cfi_def_cfa_offset 16\n"
        "  .cfi_offset %rbp, -16\n"
        "  mov %rsp, %rbp\n"
        "  .cfi_def_cfa_register %rbp\n"
        "  sub $352, %rsp\n"
        "  movups %xmm0, 0(%rsp)\n  movups %xmm1, 16(%rsp)\n  movups %xmm2, 32(%rsp)\n  movups %xmm3, 48(%rsp)\n"
        "  movups %xmm4, 64(%rsp)\n  movups %xmm5, 80(%rsp)\n  movups %xmm6, 96(%rsp)\n  movups %xmm7, 112(%rsp)\n"
        "  mov %rdi, 128(%rsp)\n  mov %rsi, 136(%rsp)\n  mov %rdx, 144(%rsp)\n"
        "  mov %rcx, 152(%rsp)\n  mov %r8, 160(%rsp)\n  mov %r9, 168(%rsp)\n"
        "  mov %rax, 192(%rsp)\n  mov %r10, 200(%rsp)\n  mov %r11, 224(%rsp)\n"
        "  mov %rsp, %rdi\n"
        "  call cg_pair_before\n"
        "  test %eax, %eax\n"
        "  js 3f\n"
        /* Room for all words, so that the stack stays aligned. */
        "  sub $128, %rsp\n"
        "  mov %eax, %ecx\n"
        "1: dec %ecx\n"
        "  js 2f\n"
        "  mov 16(%rbp,%rcx,8), %rdx\n"
        "  mov %rdx, (%rsp,%rcx,8)\n"
        "  jmp 1b\n"
        "2: call cg_pair_restore\n"
        "  call *-120(%rbp)\n"
        "  lea -352(%rbp), %rsp\n"
        "  mov %rax, 208(%rsp)\n  mov %rdx, 216(%rsp)\n"
        "  movups %xmm0, 0(%rsp)\n  movups %xmm1, 16(%rsp)\n"
        "  mov %rsp, %rdi\n"
        "  call cg_pair_after\n"
        "  movups 0(%rsp), %xmm0\n  movups 16(%rsp), %xmm1\n"
        "  mov 208(%rsp), %rax\n  mov 216(%rsp), %rdx\n"
        "  leave\n"
        "  .cfi_remember_state\n"
        "  .cfi_def_cfa %rsp, 8\n"
        "  ret\n"
        "  .cfi_restore_state\n"
        "3: call cg_pair_restore\n"
        "  mov -120(%rbp), %r11\n"
        "  leave\n"
        "  .cfi_def_cfa %rsp, 8\n"
        "  jmp *%r11\n"
        "  .cfi_endproc\n"
        ".size cg_pair_enter, . - cg_pair_enter\n"
        /* Loads what a call may be given from the frame at rbp. */
        ".type cg_pair_restore, @function\n"
        "cg_pair_restore:\n"
        "  .cfi_startproc\n"
        "  movups -352(%rbp), %xmm0\n  movups -336(%rbp), %xmm1\n  movups -320(%rbp), %xmm2\n"
        "  movups -304(%rbp), %xmm3\n  movups -288(%rbp), %xmm4\n  movups -272(%rbp), %xmm5\n"
        "  movups -256(%rbp), %xmm6\n  movups -240(%rbp), %xmm7\n"
        "  mov -224(%rbp), %rdi\n  mov -216(%rbp), %rsi\n  mov -208(%rbp), %rdx\n"
        "  mov -200(%rbp), %rcx\n  mov -192(%rbp), %r8\n  mov -184(%rbp), %r9\n"
        "  mov -160(%rbp), %rax\n  mov -152(%rbp), %r10\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size cg_pair_restore, . - cg_pair_restore\n"
        ".hidden cg_pair_end\n.globl cg_pair_end\n"
        "cg_pair_end:\n");
#else
__asm__(".text\n"
        ".p2align 4\n"
        ".hidden cg_pair_thunks\n.globl cg_pair_thunks\n.type cg_pair_thunks, %function\n"
        "cg_pair_thunks:\n"
        ".set cg_pair_number, 0\n"
        ".rept 240\n"
        "  .p2align 4\n"
        "  mov w16, #cg_pair_number\n"
        "  b cg_pair_enter\n"
        ".set cg_pair_number, cg_pair_number + 1\n"
        ".endr\n"
        ".p2align 4\n"
        ".size cg_pair_thunks, . - cg_pair_thunks\n"
        ".hidden cg_pair_begin\n.globl cg_pair_begin\n"
        "cg_pair_begin:\n"
        ".type cg_pair_enter, %function\n"
        "cg_pair_enter:\n"
        "  .cfi_startproc\n"
        "  stp x29, x30, [sp, #-16]!\n"
        "  .cfi_def_cfa_offset 16\n"
        "  .cfi_offset x29, -16\n"
        "  .cfi_offset x30, -8\n"
        "  mov x29, sp\n"
        "  .cfi_def_cfa_register x29\n"
        "  sub sp, sp, #352\n"
        "  stp q0, q1, [sp]\n  stp q2, q3, [sp, #32]\n  stp q4, q5, [sp, #64]\n  stp q6, q7, [sp, #96]\n"
        "  stp x0, x1, [sp, #128]\n  stp x2, x3, [sp, #144]\n  stp x4, x5, [sp, #160]\n  stp x6, x7, [sp, #176]\n"
        "  str x8, [sp, #192]\n  str x16, [sp, #224]\n"
        "  mov x0, sp\n"
        "  bl cg_pair_before\n"
        "  tbnz w0, #31, 3f\n"
        "  sub sp, sp, #128\n"
        "  mov x9, sp\n"
        "  add x10, x29, #16\n"
        "  cbz w0, 2f\n"
        "1: ldr x11, [x10], #8\n"
        "  str x11, [x9], #8\n"
        "  subs w0, w0, #1\n"
        "  b.ne 1b\n"
        "2: bl cg_pair_restore\n"
        "  ldur x16, [x29, #-120]\n"
        "  blr x16\n"
        "  sub sp, x29, #352\n"
        "  stp x0, x1, [sp, #208]\n"
        "  stp q0, q1, [sp]\n  stp q2, q3, [sp, #32]\n"
        "  mov x0, sp\n"
        "  bl cg_pair_after\n"
        "  ldp q0, q1, [sp]\n  ldp q2, q3, [sp, #32]\n"
        "  ldp x0, x1, [sp, #208]\n"
        "  mov sp, x29\n"
        "  ldp x29, x30, [sp], #16\n"
        "  .cfi_remember_state\n"
        "  .cfi_restore x29\n  .cfi_restore x30\n  .cfi_def_cfa sp, 0\n"
        "  ret\n"
        "  .cfi_restore_state\n"
        "3: bl cg_pair_restore\n"
        "  ldur x16, [x29, #-120]\n"
        "  mov sp, x29\n"
        "  ldp x29, x30, [sp], #16\n"
        "  .cfi_restore x29\n  .cfi_restore x30\n  .cfi_def_cfa sp, 0\n"
        "  br x16\n"
        "  .cfi_endproc\n"
        ".size cg_pair_enter, . - cg_pair_enter\n"
        ".type cg_pair_restore, %function\n"
        "cg_pair_restore:\n"
        "  .cfi_startproc\n"
        "  sub x9, x29, #352\n"
        "  ldp q0, q1, [x9]\n  ldp q2, q3, [x9, #32]\n  ldp q4, q5, [x9, #64]\n  ldp q6, q7, [x9, #96]\n"
        "  ldp x0, x1, [x9, #128]\n  ldp x2, x3, [x9, #144]\n  ldp x4, x5, [x9, #160]\n  ldp x6, x7, [x9, #176]\n"
        "  ldr x8, [x9, #192]\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size cg_pair_restore, . - cg_pair_restore\n"
        ".hidden cg_pair_end\n.globl cg_pair_end\n"
        "cg_pair_end:\n");
#endif
