/* Unwind rules of C code, read from a module's .eh_frame.
 *
 * module tables + pc -> one rule: where the frame's CFA, its caller's frame pointer and its return address are.
 *
 * Only three things are tracked, because a walk over return addresses needs no more: the CFA, the frame pointer
 * (rbp, x29) and the return address column (16 on x86-64, x30 on AArch64). The code runs inside a malloc hook of a
 * process that is not ours: no libc, no allocation, no globals, no locks; every read is checked against the two ranges
 * below; the work per call is bounded whatever the tables say. Formats: DWARF 5 §6.4, LSB Core §10.6 (.eh_frame,
 * .eh_frame_hdr), psABI for the register numbers. */
#ifndef CG_EHFRAME_H
#define CG_EHFRAME_H

#include <stdint.h>

/* A mapped ELF module, as the controller describes it; all addresses are those in this process. Ends are exclusive.
 * hdr == hdr_end means that there is no .eh_frame_hdr: .eh_frame is then scanned, which is slow and limited.
 * Both table ranges must stay mapped and readable for the length of a call. */
struct cg_module {
    uint64_t start, end;       /* mapped range */
    uint64_t hdr, hdr_end;     /* .eh_frame_hdr */
    uint64_t frame, frame_end; /* .eh_frame */
};

/* How to find the CFA. SP and FP are the values the registers had in this frame, at pc. */
enum {
    CG_CFA_SP = 1,      /* SP + cfa_offset */
    CG_CFA_FP = 2,      /* FP + cfa_offset */
    CG_CFA_FP_DEREF = 3 /* *(FP + cfa_offset): GCC's realigned stacks (DRAP) */
};

/* Where the caller's frame pointer is. */
enum {
    CG_FP_SAME = 0,   /* still in the register */
    CG_FP_AT_CFA = 1, /* saved at CFA + fp_offset */
    CG_FP_AT_FP = 2   /* saved at FP + fp_offset: comes with realigned stacks */
};

enum {
    CG_RULE_NONE = 0, /* no table entry, or a rule that these enums cannot say */
    CG_RULE_OK = 1,   /* return address at CFA + ra_offset; the caller's SP is the CFA */
    CG_RULE_END = 2   /* return address undefined: the outermost frame; the offsets mean nothing */
};

struct cg_rule {
    int32_t cfa_offset;
    int32_t fp_offset;
    int32_t ra_offset;    /* -8 in all code that compilers make for x86-64 */
    uint8_t kind;         /* CG_RULE_* */
    uint8_t cfa;          /* CG_CFA_* */
    uint8_t fp;           /* CG_FP_* */
    uint8_t signal_frame; /* 1: the caller of this frame was interrupted: look its pc up as it is, not pc - 1 */
};

/* Find the rule for the code that holds pc, and return its kind. Pass the return address - 1 for a frame that made a
 * call. Offsets are as the tables say, unchecked: the walker checks each address against the stack's bounds before it
 * reads. On AArch64 the return address may carry a pointer authentication code: the walker strips it. A function
 * that keeps its return address in x30 has no rule: code that called something has saved it. */
int cg_rule_at(const struct cg_module *m, uint64_t pc, struct cg_rule *out);

/* Stands before each read of a table or of a stack. A test may define it, to check and to count them. */
#ifndef CG_READING
#define CG_READING(address, bytes) ((void)0)
#endif

#endif
