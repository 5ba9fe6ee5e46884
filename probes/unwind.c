/* The stack that called a hook: C frames by .eh_frame, Go frames by the frame-pointer chain of
 * the goroutine, and both again for every C -> Go -> C.
 *
 * A faulting read here kills the target (Go blocks SIGSEGV in some windows), so nothing is read
 * that was not first shown to lie in a stack: [sp, limit) of the C stack, with the limit from g0
 * or from pages seen to be readable, and [stack.lo, stack.hi) of the goroutine, which does not move
 * while it is in a cgo call (runtime/stack.go isShrinkStackSafe: syscallsp != 0).
 *
 * Layout of asmcgocall's and cgocallback's frames: runtime/asm_amd64.s, asm_arm64.s. */
#include "state.h"

#define CG_MAX_SEGMENTS 8u
#define CG_PAGE 4096ull

static inline uint64_t cg_read(uint64_t address)
{
    CG_READING(address, 8);
    return *(const uint64_t *)address;
}

static inline uint64_t cg_code(uint64_t pc)
{
#if defined(__aarch64__)
    return pc & 0x0000ffffffffffffull; /* strip a pointer authentication code */
#else
    return pc;
#endif
}

static inline int cg_in(uint64_t pc, const uint64_t range[2])
{
    return pc - range[0] < range[1] - range[0];
}

static inline int cg_in_either(uint64_t pc, const uint64_t ranges[4])
{
    return cg_in(pc, ranges) || cg_in(pc, ranges + 2);
}

/* --- the goroutine --------------------------------------------------------------------------- */

struct cg_goroutine {
    uint64_t g0;
    uint64_t m;
    uint64_t curg;
    uint64_t switch_sp; /* m.g0.sched.sp */
    uint64_t limit;     /* A: the C stack of this call lies below */
};

/* The goroutine whose cgo call this is. 0 where there is none: a C thread, the runtime's own
 * calls, a signal handler. Every pointer is checked before it is followed, in the order of
 * docs/decisions/0002-go-stacks-in-the-hook.md. */
static inline CG_HOT int cg_goroutine_here(uint64_t sp, struct cg_goroutine *out)
{
    const struct cg_go *go = &T.go;
    if (!go->present)
        return 0;
    uint64_t g = cg_read(cg_thread_pointer() + (uint64_t)go->tls_g);
    if (g == 0)
        return 0;
    uint64_t m = cg_read(g + go->g_m);
    if (m == 0 || cg_read(m + go->m_g0) != g)
        return 0;
    uint64_t curg = cg_read(m + go->m_curg);
    if (curg == 0 || cg_read(curg + go->g_m) != m || *(const uint8_t *)(m + go->m_incgo) == 0)
        return 0;
    if (go->m_isextra_in_c != ~0u && *(const uint8_t *)(m + go->m_isextra) &&
        *(const uint8_t *)(m + go->m_isextra_in_c))
        return 0;
    uint64_t switch_sp = cg_read(g + go->g_sched_sp);
    uint64_t limit = (switch_sp - go->asm_pad) & ~15ull;
    if (switch_sp == 0 || sp < cg_read(g) || sp >= limit || switch_sp > cg_read(g + 8))
        return 0;
    if (cg_read(limit + go->asm_saved_g) != curg)
        return 0;
#if defined(__x86_64__)
    if (!cg_in_either(cg_read(limit - 8), go->asmcgocall))
        return 0;
#endif
    out->g0 = g;
    out->m = m;
    out->curg = curg;
    out->switch_sp = switch_sp;
    out->limit = limit;
    return 1;
}

CG_HOT int cg_is_cleaner(void)
{
    const struct cg_go *go = &T.go;
    if (!go->present || go->cleaners[0] == 0)
        return 0;
    uint64_t g = cg_read(cg_thread_pointer() + (uint64_t)go->tls_g);
    if (g == 0)
        return 0;
    uint64_t m = cg_read(g + go->g_m);
    if (m == 0 || cg_read(m + go->m_g0) != g)
        return 0;
    uint64_t curg = cg_read(m + go->m_curg);
    if (curg == 0 || cg_read(curg + go->g_m) != m)
        return 0;
    uint64_t start = cg_read(curg + go->g_startpc);
    for (uint32_t i = 0; i < 8 && go->cleaners[i] != 0; i++)
        if (go->cleaners[i] == start)
            return 1;
    return 0;
}

int cg_is_runtime_call(void)
{
    const struct cg_go *go = &T.go;
    if (!go->present)
        return 0;
    uint64_t g = cg_read(cg_thread_pointer() + (uint64_t)go->tls_g);
    if (g == 0)
        return 0;
    uint64_t m = cg_read(g + go->g_m);
    if (m == 0 || *(const uint8_t *)(m + go->m_incgo) != 0)
        return 0;
    return !(go->m_isextra_in_c != ~0u && *(const uint8_t *)(m + go->m_isextra) &&
             *(const uint8_t *)(m + go->m_isextra_in_c));
}

/* --- stacks without g0 ----------------------------------------------------------------------- */

/* False where seccomp filters forbid all that cg_readable asks: then stacks without g0 are not followed. */
static uint32_t cg_can_look;
static uint32_t cg_looks_by_mask;

/* Whether the word at an address can be read, by a call that does nothing else: the kernel reads the
 * new mask before it looks what is to be done with it, and nothing is done by that number
 * (kernel/signal.c). For where a filter forbids process_vm_readv, which Go can do without. */
int cg_is_readable_word(uint64_t at)
{
    return cg_sys6(CG_NR_RT_SIGPROCMASK, ~0u, at, 0, 8, 0, 0) == -CG_EINVAL;
}

/* Number of readable pages from first on, at most 64, found without touching them. */
static uint32_t cg_readable(uint64_t first, uint32_t pages)
{
    struct {
        uint64_t base, size;
    } remote[64], local;
    char sink[64];
    if (pages > 64)
        pages = 64;
    if (CG_LOAD(&cg_looks_by_mask)) {
        uint32_t got = 0;
        while (got < pages && cg_is_readable_word(first + got * CG_PAGE))
            got++;
        return got;
    }
    for (uint32_t i = 0; i < pages; i++) {
        remote[i].base = first + i * CG_PAGE;
        remote[i].size = 1;
    }
    local.base = (uint64_t)sink;
    local.size = pages;
    long got = cg_sys6(CG_NR_PROCESS_VM_READV, cgoleak_header.owner_pid, &local, 1, remote, pages, 0);
    return got < 0 ? 0 : (uint32_t)got;
}

void cg_try_looking(void)
{
    uint64_t here = (uint64_t)&cgoleak_header & ~(CG_PAGE - 1);
    uint32_t can = cg_readable(here, 1);
    if (!can) {
        CG_STORE(&cg_looks_by_mask, 1u);
        can = cg_readable(here, 1);
    }
    CG_STORE(&cg_can_look, can);
}

/* Upper end of what may be read from sp on. A pthread's control block lies at the upper end of
 * its stack (glibc allocatestack.c, musl pthread_create.c); whether all up to it is readable is
 * tried, page by page, once per thread. */
static uint64_t cg_stack_limit(struct cg_thread *t, uint64_t sp)
{
    if (t == &R->overflow)
        return 0;
    if (CG_LIKELY(sp >= t->range_lo && sp < t->range_hi))
        return t->range_hi;
    uint64_t top = 0;
    if (t->key > sp && t->key - sp < (64ull << 20))
        top = t->key;
    else if (T.shared->main_stack_top > sp && T.shared->main_stack_top - sp < (1ull << 30))
        top = T.shared->main_stack_top;
    uint64_t lo = sp & ~(CG_PAGE - 1), hi = lo;
    uint64_t known = t->range_lo;
    while (hi < top) {
        if (hi == known) {
            hi = t->range_hi; /* the rest was seen before */
            break;
        }
        uint64_t end = known > hi && known < top ? known : (top + CG_PAGE - 1) & ~(CG_PAGE - 1);
        uint64_t want = (end - hi) / CG_PAGE;
        if (want > 64)
            want = 64;
        uint32_t got = cg_readable(hi, (uint32_t)want);
        hi += got * CG_PAGE;
        if (got < want)
            break;
    }
    if (hi > top)
        hi = top;
    t->range_lo = lo;
    t->range_hi = hi;
    return hi;
}

/* --- C frames -------------------------------------------------------------------------------- */

/* A rule as one word: kind 2, cfa 2, fp 2, signal 1 bits, offsets 28 bits each. */
static inline uint64_t cg_pack(const struct cg_rule *r)
{
    if (r->kind != CG_RULE_OK)
        return r->kind;
#if defined(__x86_64__)
    if (r->ra_offset != -8)
        return CG_RULE_NONE;
#endif
    int32_t limit = 1 << 26;
    if (r->cfa_offset >= limit || r->cfa_offset < -limit || r->fp_offset >= limit || r->fp_offset < -limit)
        return CG_RULE_NONE;
    return (uint64_t)r->kind | (uint64_t)r->cfa << 2 | (uint64_t)r->fp << 4 | (uint64_t)(r->signal_frame & 1) << 6 |
           ((uint64_t)(uint32_t)r->cfa_offset & 0xfffffff) << 8 | ((uint64_t)(uint32_t)r->fp_offset & 0xfffffff) << 36;
}

static inline int64_t cg_unpack_offset(uint64_t packed, uint32_t shift)
{
    return (int64_t)(packed << (64 - 28 - shift)) >> 36;
}

/* Which tables were seen to be mapped, and under which generation. */
static uint32_t cg_checked[CG_MAX_MODULES];

static int cg_all_readable(uint64_t from, uint64_t to)
{
    for (uint64_t at = from & ~(CG_PAGE - 1); at < to;) {
        uint64_t want = (to - at + CG_PAGE - 1) / CG_PAGE;
        if (want > 64)
            want = 64;
        if (cg_readable(at, (uint32_t)want) != want)
            return 0;
        at += want * CG_PAGE;
    }
    return 1;
}

/* Whether a module's unwind tables are where the driver saw them. Between a dlclose and its next
 * look they may be gone, with another library in their place: a table that is mapped is read safely
 * whatever is in it, one that is not must not be touched. */
static int cg_tables_mapped(const struct cg_module *m, uint32_t index, uint32_t generation)
{
    if (!cg_can_look)
        return 1;
    if (CG_LOAD(&cg_checked[index]) == generation + 1)
        return 1;
    if (!cg_all_readable(m->hdr, m->hdr_end) || !cg_all_readable(m->frame, m->frame_end))
        return 0;
    CG_STORE(&cg_checked[index], generation + 1);
    return 1;
}

static __attribute__((noinline)) uint64_t cg_rule_miss(uint64_t pc, uint64_t key, uint32_t generation,
                                                       struct cg_rule_entry *entry)
{
    uint32_t now = CG_LOAD_ACQUIRE(&T.shared->modules_now);
    const struct cg_module *modules = T.modules[now & 1];
    uint32_t lo = 0, hi = CG_LOAD(&T.shared->modules_count[now & 1]);
    if (hi > CG_MAX_MODULES)
        hi = CG_MAX_MODULES;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (modules[mid].end <= pc)
            lo = mid + 1;
        else
            hi = mid;
    }
    CG_ADD_SHARED(&T.shards[CG_SHARDS - 1].rule_misses, 1ull);
    struct cg_rule rule = {0};
    uint64_t packed = CG_RULE_NONE;
    if (lo < CG_MAX_MODULES && modules[lo].start <= pc && pc < modules[lo].end) {
        /* The driver may be filling this table anew: then what was copied does not count. */
        struct cg_module m = {
            CG_LOAD_ACQUIRE(&modules[lo].start),   CG_LOAD_ACQUIRE(&modules[lo].end),
            CG_LOAD_ACQUIRE(&modules[lo].hdr),     CG_LOAD_ACQUIRE(&modules[lo].hdr_end),
            CG_LOAD_ACQUIRE(&modules[lo].frame),   CG_LOAD_ACQUIRE(&modules[lo].frame_end),
        };
        if (CG_LOAD(&T.shared->modules_now) != now || !cg_tables_mapped(&m, lo, generation))
            return CG_RULE_NONE; /* for now: the driver is about to say what lies here */
        cg_rule_at(&m, pc, &rule);
        packed = cg_pack(&rule);
    }
    CG_STORE(&entry->packed, packed);
    CG_STORE(&entry->key, key ^ packed);
    return packed;
}

static inline uint64_t cg_rule_of(uint64_t pc)
{
    uint32_t generation = CG_LOAD(&T.shared->rules_generation);
    uint64_t key = pc | (uint64_t)(generation & 0xffff) << 48;
    struct cg_rule_entry *entry = &T.rules[((pc * 0x9e3779b97f4a7c15ull) >> 40) & (CG_RULES - 1)];
    uint64_t packed = CG_LOAD(&entry->packed);
    if (CG_LIKELY((CG_LOAD(&entry->key) ^ packed) == key))
        return packed;
    return cg_rule_miss(pc, key, generation, entry);
}

/* A walk in progress, and what a memo must remember of it. */
struct cg_walk {
    struct cg_thread *t;
    uint64_t sp;     /* where it began */
    uint64_t fp;     /* caller's frame pointer then */
    uint32_t words;  /* words of the C stack that decided it */
    uint32_t memo_full;
    uint32_t uses_fp;
    uint32_t truncated;
    uint32_t c_count;
    uint32_t c_cut[CG_MAX_SEGMENTS + 1]; /* ends of the C segments in c[] */
    uint32_t segments;
    uint32_t go_count;
    uint32_t go_cut[CG_MAX_SEGMENTS + 1];
    uint32_t go_segments;
    uint32_t at[CG_MEMO_FRAMES];
    uint64_t word[CG_MEMO_FRAMES];
    uint32_t step[CG_MEMO_FRAMES]; /* from one Go frame to the next */
    uint64_t c[CG_MAX_FRAMES];
    uint64_t go[CG_MAX_FRAMES];
};

static inline void cg_depends(struct cg_walk *w, uint64_t address, uint64_t value)
{
    if (CG_UNLIKELY(w->words >= CG_MEMO_FRAMES || address - w->sp >= 1ull << 32)) {
        w->memo_full = 1;
        return;
    }
    w->at[w->words] = (uint32_t)(address - w->sp);
    w->word[w->words++] = value;
}

enum cg_end { CG_LOST, CG_OUTERMOST, CG_IN_GO };

/* Follows C frames from (sp, pc, fp) upwards below limit. fp_at: where fp was read, 0 for the register. */
static enum cg_end cg_walk_c(struct cg_walk *w, uint64_t sp, uint64_t pc, uint64_t fp, uint64_t fp_at, uint64_t limit)
{
    uint64_t interrupted = 0;
    while (w->c_count < CG_MAX_FRAMES) {
        pc = cg_code(pc);
        if (T.go.present && cg_in(pc, T.go.text)) {
            w->c[w->c_count++] = pc;
            return CG_IN_GO;
        }
        if (pc == 0)
            return CG_OUTERMOST;
        if (CG_UNLIKELY(pc - (uint64_t)cg_pair_begin < (uint64_t)(cg_pair_end - cg_pair_begin))) {
            /* Our own frame, between a function of the user's pairs and its caller: stepped over. */
            if (fp < sp || fp > limit - 16 || (fp & 7))
                return CG_LOST;
            if (fp_at == 0)
                w->uses_fp = 1;
            else
                cg_depends(w, fp_at, fp);
            pc = cg_read(fp + 8);
            cg_depends(w, fp + 8, pc);
            sp = fp + 16;
            fp_at = fp;
            fp = cg_read(fp_at);
            interrupted = 0;
            continue;
        }
        w->c[w->c_count++] = pc;
        uint64_t packed = cg_rule_of(interrupted ? pc : pc - 1);
        uint32_t kind = packed & 3;
        if (kind != CG_RULE_OK)
            return kind == CG_RULE_END ? CG_OUTERMOST : CG_LOST;
        uint32_t cfa_by = (packed >> 2) & 3, fp_by = (packed >> 4) & 3;
        int64_t cfa_offset = cg_unpack_offset(packed, 8), fp_offset = cg_unpack_offset(packed, 36);
        if (cfa_by != CG_CFA_SP || fp_by == CG_FP_AT_FP) {
            /* Only now does the frame pointer matter: its value becomes part of what must hold. */
            if (fp_at == 0)
                w->uses_fp = 1;
            else
                cg_depends(w, fp_at, fp);
        }
        uint64_t cfa;
        if (cfa_by == CG_CFA_SP) {
            cfa = sp + (uint64_t)cfa_offset;
        } else {
            cfa = fp + (uint64_t)cfa_offset;
            if (cfa_by == CG_CFA_FP_DEREF) {
                if (cfa < sp || cfa > limit - 8 || (cfa & 7))
                    return CG_LOST;
                cg_depends(w, cfa, cg_read(cfa));
                cfa = cg_read(cfa);
            }
        }
        if (cfa <= sp || cfa > limit || (cfa & 7) || cfa - 8 < sp)
            return CG_LOST;
        if (fp_by != CG_FP_SAME) {
            uint64_t saved = (fp_by == CG_FP_AT_CFA ? cfa : fp) + (uint64_t)fp_offset;
            if (saved < sp || saved > limit - 8 || (saved & 7))
                return CG_LOST;
            fp_at = saved;
            fp = cg_read(saved);
        }
#if defined(__aarch64__)
        /* The return address is kept beside the frame pointer. */
        uint64_t ra_at = fp_by == CG_FP_SAME ? 0 : fp_at + 8;
        if (ra_at == 0 || ra_at > limit - 8)
            return CG_LOST;
#else
        uint64_t ra_at = cfa - 8;
#endif
        pc = cg_read(ra_at);
        cg_depends(w, ra_at, pc);
        interrupted = (packed >> 6) & 1;
        sp = cfa;
    }
    return CG_LOST;
}

/* --- Go frames ------------------------------------------------------------------------------- */

/* The next Go return address; 0 at the end. *fp is moved outwards. Crossing a callback from C, the
 * chain leaves the goroutine's stack: cgocallback's frame is 32 bytes (48 on arm64) and above it
 * lies the saved g0.sched.sp (facts: runtime/asm_amd64.s cgocallback). */
struct cg_go_chain {
    uint64_t fp, lo, hi;
    uint64_t g0_lo, g0_hi;
    uint32_t lost;
    uint32_t crossed;
};

#if defined(__aarch64__)
/* On arm64 the frame record lies below a frame's locals, so that cgocallback's frame is found from
 * g0: its record there names it, it holds the g0.sched.sp from before, and that one the depth of the
 * goroutine's stack at the outer call. */
static void cg_go_cross_by_g0(struct cg_go_chain *chain, uint64_t record)
{
    uint64_t at = record + 8;
    chain->fp = 0;
    if (at < chain->g0_lo || at > chain->g0_hi - 24 || (at & 7))
        return;
    uint64_t outer = (cg_read(at + 16) - T.go.asm_pad) & ~15ull;
    if (outer < chain->g0_lo || outer > chain->g0_hi - 16)
        return;
    uint64_t depth = cg_read(outer + 8);
    if (depth <= chain->hi - chain->lo)
        chain->fp = chain->hi - depth - 8;
}
#endif

static inline uint64_t cg_go_next(struct cg_go_chain *chain)
{
    const struct cg_go *go = &T.go;
    uint64_t fp = chain->fp;
    chain->crossed = 0;
    if (fp == 0)
        return 0;
    if (CG_UNLIKELY(fp < chain->lo || fp >= chain->hi || chain->hi - fp < 16 || (fp & 7))) {
        chain->lost = 1;
        return 0;
    }
    uint64_t pc = cg_read(fp + 8);
    if (pc == 0)
        return 0;
    if (CG_UNLIKELY(cg_in_either(pc, go->goexit))) {
        chain->fp = 0;
        return pc;
    }
    if (CG_UNLIKELY(cg_in_either(pc, go->cgocallback))) {
        chain->crossed = 1;
#if defined(__aarch64__)
        cg_go_cross_by_g0(chain, cg_read(fp));
        return pc;
#endif
        uint64_t saved = fp + 16 + 32;
        if (saved >= chain->hi || chain->hi - saved < 16) {
            chain->fp = 0;
        } else if (cg_in_either(cg_read(saved), go->goexit)) {
            chain->fp = 0; /* a thread that C made: nothing further out on this goroutine */
        } else {
            chain->fp = saved + 8 + go->cgocall_frame;
        }
        return pc;
    }
    uint64_t next = cg_read(fp);
    if (CG_UNLIKELY(next != 0 && next <= fp)) {
        chain->lost = 1;
        next = 0;
    }
    chain->fp = next;
    return pc;
}

/* Where the chain of a goroutine in a cgo call begins: the frame pointer that asmcgocall pushed, or
 * up to Go 1.20 that of cgocall. By sched.sp, which cgocallback puts back on its way out to C; sched.bp
 * it leaves as the callback had it (asm_amd64.s). */
static inline uint64_t cg_go_first(uint64_t curg)
{
    uint64_t sp = cg_read(curg + T.go.g_sched_sp);
#if defined(__aarch64__)
    return sp - 8; /* the frame record lies below the stack pointer */
#else
    return sp + T.go.cgocall_frame;
#endif
}

static inline void cg_go_begin(struct cg_go_chain *chain, const struct cg_goroutine *here)
{
    uint64_t curg = here->curg;
    chain->g0_lo = cg_read(here->g0);
    chain->g0_hi = cg_read(here->g0 + 8);
    chain->fp = cg_go_first(curg);
    chain->lo = cg_read(curg);
    chain->hi = cg_read(curg + 8);
    chain->lost = 0;
    chain->crossed = 0;
}

/* --- together -------------------------------------------------------------------------------- */

static void cg_cut_c(struct cg_walk *w)
{
    w->c_cut[w->segments++] = w->c_count;
}

/* The C code that called Go that called this C code: crosscall2 saved its registers on the g0
 * stack, and the old g0.sched.sp beside them. */
static void cg_walk_outer_c(struct cg_walk *w, const struct cg_goroutine *here)
{
    const struct cg_go *go = &T.go;
    uint64_t at = here->switch_sp;
    uint64_t top = cg_read(here->g0 + 8);
    while (w->segments <= w->go_segments && w->segments < CG_MAX_SEGMENTS) {
#if defined(__aarch64__)
        uint64_t cross_ra_at = at, prev_at = at + 16, saved = at + 0x30;
#else
        uint64_t cross_ra_at = at + 0x20, prev_at = at, saved = at + 0x28;
#endif
        uint64_t pc_at = saved + go->cross_ret, fp_at = saved + go->cross_bp;
        if (at < w->sp || pc_at > top - 16 || (at & 7))
            break;
        if (!cg_in(cg_read(cross_ra_at), go->crosscall2))
            break;
        uint64_t prev = cg_read(prev_at);
        cg_depends(w, cross_ra_at, cg_read(cross_ra_at));
        cg_depends(w, prev_at, prev);
        uint64_t sp = pc_at + 8;
        uint64_t limit = (prev - go->asm_pad) & ~15ull;
        int from_go = prev <= top && limit > sp && limit <= top && cg_read(limit + go->asm_saved_g) == here->curg;
        if (!from_go)
            limit = cg_stack_limit(w->t, sp);
        if (limit <= sp)
            break;
        uint64_t pc = cg_read(pc_at);
        cg_depends(w, pc_at, pc);
        if (cg_walk_c(w, sp, pc, cg_read(fp_at), fp_at, limit) == CG_LOST) {
            w->truncated |= from_go ? CG_STACK_GAP : CG_STACK_TRUNCATED;
            if (from_go && w->c_count < CG_MAX_FRAMES)
                w->c[w->c_count++] = 0;
        }
        cg_cut_c(w);
        if (!from_go)
            break;
        at = prev;
    }
}

/* --- memos ----------------------------------------------------------------------------------- */

/* What tells most stacks apart at a glance: where C is, and the nearest Go callers. */
static inline uint64_t cg_memo_tag(uint64_t sp, uint64_t pc, int is_go, const struct cg_goroutine *here)
{
    uint64_t h = sp ^ pc << 20;
    if (is_go) {
        uint64_t bp = cg_go_first(here->curg), lo = cg_read(here->curg);
        uint64_t room = cg_read(here->curg + 8) - 16 - lo;
        for (uint32_t i = 0; i < 4 && bp - lo <= room && (bp & 7) == 0; i++) {
            h = (h << 11 | h >> 53) ^ cg_read(bp + 8);
            bp = cg_read(bp);
        }
    }
    return (h * 0x9e3779b97f4a7c15ull) | 1;
}

/* The same stack as last time? Same sp and pc, and every word that decided the walk unchanged:
 * then the walk would take the same way again. The Go chain is followed anew each time, since
 * the goroutine may be another, on a stack elsewhere; its frames are compared. */
static inline CG_HOT int cg_memo_holds(const struct cg_thread *t, const struct cg_memo *memo, uint64_t sp, uint64_t pc,
                                       uint64_t fp, int is_go, const struct cg_goroutine *here)
{
    if (memo->sp != sp || memo->pc != pc || memo->stack == 0 || memo->is_go != is_go ||
        memo->generation != CG_LOAD(&T.shared->rules_generation) || (memo->uses_fp && memo->fp != fp))
        return 0;
    /* Everything that the memo looks at lies below this limit, which was shown to be readable. */
    if (is_go ? memo->limit != here->limit : memo->limit != t->range_hi || sp < t->range_lo)
        return 0;
    const uint32_t *at = memo->at;
    const uint64_t *value = memo->value, *end = value + memo->words;
    for (; value != end; value++)
        if (cg_read(sp + *at++) != *value)
            return 0;
    if (is_go && CG_LIKELY(!memo->crossed)) {
        /* What a return address means was settled when it was remembered: here it is compared. */
        uint64_t bp = cg_go_first(here->curg), lo = cg_read(here->curg);
        uint64_t room = cg_read(here->curg + 8) - 16 - lo;
        if (CG_UNLIKELY(bp - lo > room || memo->go_span > room - (bp - lo)))
            return 0;
        /* Where the next frame lies is known before it was read: so the reads need not wait for each other. */
        for (end = value + memo->go_frames; value != end;) {
            if (cg_read(bp + 8) != *value)
                return 0;
            if (++value == end)
                break;
            uint64_t next = bp + *at++;
            if (cg_read(bp) != next)
                return 0;
            bp = next;
        }
        return 1;
    }
    if (is_go) {
        struct cg_go_chain chain;
        cg_go_begin(&chain, here);
        for (uint32_t i = 0; i < memo->go_frames; i++)
            if (cg_go_next(&chain) != value[i])
                return 0;
        return chain.fp == 0 && !chain.lost;
    }
    return 1;
}

static __attribute__((noinline)) uint32_t cg_stack_walk(struct cg_thread *t, uint64_t sp, uint64_t pc, uint64_t fp,
                                                        int is_go, const struct cg_goroutine *here,
                                                        struct cg_memo *memo, uint32_t flags)
{
    struct cg_walk w;
    cg_count_walk(t);
    w.t = t;
    w.sp = sp;
    w.fp = fp;
    w.words = w.memo_full = w.uses_fp = w.truncated = 0;
    w.c_count = w.segments = w.go_count = w.go_segments = 0;
    uint32_t generation = CG_LOAD(&T.shared->rules_generation);
    uint64_t limit = is_go ? here->limit : cg_stack_limit(t, sp);

    enum cg_end end = CG_LOST;
    if (limit > sp)
        end = cg_walk_c(&w, sp, pc, fp, 0, limit);
    else
        w.c[w.c_count++] = pc;
    if (end == CG_LOST) {
        w.truncated |= is_go ? CG_STACK_GAP : CG_STACK_TRUNCATED;
        if (is_go && w.c_count < CG_MAX_FRAMES)
            w.c[w.c_count++] = 0;
    }
    cg_cut_c(&w);

    uint32_t chain_lost = 0;
    uint64_t go_span = 0;
    if (is_go) {
        struct cg_go_chain chain;
        cg_go_begin(&chain, here);
        while (w.go_count < CG_MAX_FRAMES) {
            uint64_t at = chain.fp, next = cg_go_next(&chain);
            if (next == 0)
                break;
            if (w.go_count < CG_MEMO_FRAMES) {
                /* If it were above 2^32 the memo would not hold, and read no further than it says. */
                w.step[w.go_count] = chain.fp != 0 ? (uint32_t)(chain.fp - at) : 0;
                go_span += w.step[w.go_count];
            }
            w.go[w.go_count++] = next;
            if (chain.crossed && w.go_segments < CG_MAX_SEGMENTS)
                w.go_cut[w.go_segments++] = w.go_count;
        }
        chain_lost = chain.lost || w.go_count == CG_MAX_FRAMES;
        if (chain_lost || chain.fp != 0)
            w.truncated |= CG_STACK_TRUNCATED;
        if (w.go_segments > 0)
            cg_walk_outer_c(&w, here);
    }

    /* Leaf first: C, Go, C, Go, … */
    uint64_t pcs[CG_MAX_FRAMES];
    uint32_t count = 0, c_at = 0, go_at = 0;
    uint32_t rest = w.c_count - w.c_cut[0] + w.go_count;
    if (is_go && w.c_cut[0] + rest > CG_MAX_FRAMES && rest <= CG_MAX_FRAMES / 2) {
        /* A deep recursion in C: its outer part gives way, or the line of Go that it is all about would. */
        uint32_t kept = CG_MAX_FRAMES - rest;
        while (c_at < kept - 1)
            pcs[count++] = w.c[c_at++];
        pcs[count++] = 0;
        c_at = w.c_cut[0];
        w.truncated |= CG_STACK_GAP;
    }
    for (uint32_t s = 0; s < w.segments || go_at < w.go_count; s++) {
        uint32_t c_end = s < w.segments ? w.c_cut[s] : w.c_count;
        uint32_t go_end = s < w.go_segments ? w.go_cut[s] : w.go_count;
        while (c_at < c_end && count < CG_MAX_FRAMES)
            pcs[count++] = w.c[c_at++];
        while (go_at < go_end && count < CG_MAX_FRAMES)
            pcs[count++] = w.go[go_at++];
        if (count == CG_MAX_FRAMES) {
            if (c_at < w.c_count || go_at < w.go_count)
                w.truncated |= CG_STACK_TRUNCATED;
            break;
        }
    }
    uint32_t stack = cg_stack_intern(pcs, count, w.truncated | flags, t);

    /* The quick comparison takes the chain to end where it ended: at goexit, or at its cut. */
    if (memo != 0 && stack != 0 && !w.memo_full && !chain_lost && w.go_count <= CG_MEMO_FRAMES &&
        !(is_go && w.truncated & CG_STACK_TRUNCATED)) {
        memo->stack = 0; /* a handler that interrupts us must not believe half of it */
        CG_COMPILER_BARRIER();
        memo->sp = sp;
        memo->pc = pc;
        memo->fp = fp;
        memo->limit = limit;
        memo->generation = generation;
        memo->words = (uint16_t)w.words;
        memo->go_frames = (uint16_t)w.go_count;
        memo->uses_fp = (uint8_t)w.uses_fp;
        memo->is_go = (uint8_t)is_go;
        memo->crossed = w.go_segments > 0;
        for (uint32_t i = 0; i < w.words; i++) {
            memo->at[i] = w.at[i];
            memo->value[i] = w.word[i];
        }
        for (uint32_t i = 0; i < w.go_count; i++) {
            memo->at[w.words + i] = w.step[i];
            memo->value[w.words + i] = w.go[i];
        }
        memo->go_span = go_span;
        CG_COMPILER_BARRIER();
        memo->stack = stack;
    }
    return stack;
}

CG_HOT uint32_t cg_stack_of(struct cg_thread *t, uint64_t sp, uint64_t pc, uint64_t fp)
{
    struct cg_goroutine here = {0, 0, 0, 0, 0};
    int is_go = cg_goroutine_here(sp, &here);
    /* Memos belong to one thread, and not to the handler that interrupts it. */
    if (CG_UNLIKELY(t == &R->overflow || t->inside != 1 || t->index >= CG_MAX_THREADS))
        return cg_stack_walk(t, sp, pc, fp, is_go, &here, 0, 0);
    struct cg_memos *memos = &T.memos[t->index];
    struct cg_memo *all = &memos->memo[0][0];
    /* A program mostly goes the way that it went before: after the same one comes the same one. */
    uint64_t place = ((sp ^ pc << 20) * 0x9e3779b97f4a7c15ull) >> (64 - CG_MEMO_LAST_BITS);
    uint8_t *last = &memos->last[place ^ memos->before], expected = *last;
    if (CG_LIKELY(cg_memo_holds(t, &all[expected], sp, pc, fp, is_go, &here))) {
        memos->before = expected;
        return all[expected].stack;
    }
    uint64_t tag = cg_memo_tag(sp, pc, is_go, &here);
    uint32_t set = (uint32_t)(tag >> (64 - CG_MEMO_BITS)), way = CG_MEMO_WAYS;
    struct cg_memo *memo = memos->memo[set];
    for (uint32_t i = 0; i < CG_MEMO_WAYS; i++) {
        if (memos->tag[set][i] != tag)
            continue;
        if (CG_LIKELY(cg_memo_holds(t, &memo[i], sp, pc, fp, is_go, &here))) {
            memos->before = *last = (uint8_t)(&memo[i] - all);
            return memo[i].stack;
        }
        if (memo[i].stack == 0)
            way = i; /* nor could the last such walk be remembered: the others keep their places */
    }
    if (way == CG_MEMO_WAYS)
        way = memos->next[set]++ & (CG_MEMO_WAYS - 1);
    memo[way].stack = 0;
    memos->tag[set][way] = tag;
    memos->before = *last = (uint8_t)(&memo[way] - all);
    return cg_stack_walk(t, sp, pc, fp, is_go, &here, &memo[way], 0);
}

uint32_t cg_stack_of_handle(struct cg_thread *t, uint64_t sp, uint64_t pc, uint64_t fp, uint32_t family)
{
    struct cg_goroutine here = {0, 0, 0, 0, 0};
    int is_go = cg_goroutine_here(sp, &here);
    /* Without a memo: the same place may make blocks too. */
    return cg_stack_walk(t, sp, pc, fp, is_go, &here, 0, (family + 1) << CG_STACK_FAMILY_SHIFT);
}
