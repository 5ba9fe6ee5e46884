/* How the probe gets in, takes orders, and leaves.
 *
 * Frida's injector loads this object with dlopen and calls cgoleak_entry on a thread of its own.
 * The entry copies the object into a mapping that nobody unmaps (a memfd named cgoleak-probe) and
 * starts a bare thread there; then Frida takes away all that it brought. The copy stays when
 * measuring ends, without hooks and without a thread, because threads may still be on their way
 * out of it; the next attach starts the same copy again. */
#include "state.h"

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

#ifndef CG_BUILD
#define CG_BUILD 0
#endif

struct cg_header cgoleak_header = {
    .magic = CG_MAGIC,
    .version = CG_VERSION,
    .build = CG_BUILD,
    .shared_fd = -1,
    .command_fd = -1,
    .event_fd = -1,
};
/* The name under which the driver finds it; our own code reaches it without a relocation. */
extern struct cg_header cgoleak_header_at __attribute__((alias("cgoleak_header"), visibility("default")));
struct cg_tables T;
struct cg_resident *R;

#define CG_TICK_MS 50u
#define CG_CONTROL_STACK (64u * 1024u)
#define CG_QUIET_MS 2000u
#define CG_HOLD_MS 500u
#define CG_SUM_MS 200u

static int cg_command_in = -1; /* our end of the command pipe */
static uint64_t cg_control_stack;
static uint64_t cg_began_ms;
static uint64_t cg_held_since; /* CG_CMD_HOLD: dlclose waits; 0: it does not */
static uint64_t cg_left_at; /* tables that a thread was still in when the last measurement ended */
static uint64_t cg_left_size;
static uint32_t cg_mode = CG_EXACT;
static uint32_t cg_filter_next; /* threads before this one are known to know that we sample */
static uint64_t cg_clock_began, cg_clock_began_ns, cg_timed_at;

/* --- tables ---------------------------------------------------------------------------------- */

static uint64_t cg_part(uint64_t *at, uint64_t size)
{
    uint64_t here = *at;
    *at = (here + size + 4095) & ~4095ull;
    return here;
}

/* Offsets of all parts; returns the size of the whole. */
static uint64_t cg_plan(struct cg_shared *s)
{
    uint64_t at = 0;
    cg_part(&at, sizeof *s);
    s->modules_at[0] = cg_part(&at, CG_MAX_MODULES * sizeof(struct cg_module));
    s->modules_at[1] = cg_part(&at, CG_MAX_MODULES * sizeof(struct cg_module));
    s->slots_at = cg_part(&at, CG_MAX_SLOTS * sizeof(struct cg_slot));
    s->shards_at = cg_part(&at, CG_SHARDS * sizeof(struct cg_shard));
    s->stacks_at = cg_part(&at, CG_MAX_STACKS * sizeof(struct cg_stack));
    s->stack_index_at = cg_part(&at, 2 * CG_MAX_STACKS * sizeof(uint32_t));
    s->pool_at = cg_part(&at, CG_POOL_WORDS * sizeof(uint64_t));
    s->rules_at = cg_part(&at, CG_RULES * sizeof(struct cg_rule_entry));
    s->memos_at = cg_part(&at, (uint64_t)CG_MAX_THREADS * sizeof(struct cg_memos));
    s->regions_at = cg_part(&at, CG_REGIONS * sizeof(struct cg_region));
    s->weighted_at = cg_part(&at, CG_MAX_STACKS * sizeof(struct cg_row));
    s->rows_at = cg_part(&at, (uint64_t)CG_SHARDS * CG_MAX_STACKS * sizeof(struct cg_row));
    for (uint32_t level = 0; level < CG_LEVELS; level++)
        s->levels_at[level] = cg_part(&at, (1ull << (CG_LEVEL0_BITS + level)) * sizeof(struct cg_block));
    s->pairs_at = cg_part(&at, CG_PAIR_FUNCTIONS * sizeof(struct cg_pair));
    s->families_at = cg_part(&at, CG_FAMILIES * sizeof(struct cg_family));
    for (uint32_t level = 0; level < CG_HANDLE_LEVELS; level++)
        s->handles_at[level] = cg_part(&at, (1ull << (CG_HANDLE_LEVEL0_BITS + level)) * sizeof(struct cg_handle));
    s->size = at;
    return at;
}

static void cg_point(char *base, const struct cg_shared *plan)
{
    T.shared = (struct cg_shared *)base;
    T.modules[0] = (struct cg_module *)(base + plan->modules_at[0]);
    T.modules[1] = (struct cg_module *)(base + plan->modules_at[1]);
    T.slots = (struct cg_slot *)(base + plan->slots_at);
    T.shards = (struct cg_shard *)(base + plan->shards_at);
    T.rows = (struct cg_row *)(base + plan->rows_at);
    T.weighted = (struct cg_row *)(base + plan->weighted_at);
    T.stacks = (struct cg_stack *)(base + plan->stacks_at);
    T.stack_index = (uint32_t *)(base + plan->stack_index_at);
    T.pool = (uint64_t *)(base + plan->pool_at);
    T.rules = (struct cg_rule_entry *)(base + plan->rules_at);
    T.memos = (struct cg_memos *)(base + plan->memos_at);
    T.regions = (struct cg_region *)(base + plan->regions_at);
    for (uint32_t level = 0; level < CG_LEVELS; level++)
        T.levels[level] = (struct cg_block *)(base + plan->levels_at[level]);
    T.pairs = (struct cg_pair *)(base + plan->pairs_at);
    T.families = (struct cg_family *)(base + plan->families_at);
    for (uint32_t level = 0; level < CG_HANDLE_LEVELS; level++)
        T.handles[level] = (struct cg_handle *)(base + plan->handles_at[level]);
}

/* Gives a descriptor or an error. Such a file can be mapped as code whatever its mode is, which is
 * for execve, and on whatever mount: it lies on one of the kernel's own. Linux 6.3 to 6.5 refuse one
 * without the seal where vm.memfd_noexec is 2; before 6.3 the flag is unknown. */
static long cg_memory_file(const char *name)
{
    long fd = cg_sys2(CG_NR_MEMFD_CREATE, name, CG_MFD_CLOEXEC | CG_MFD_NOEXEC_SEAL);
    return cg_is_error(fd) ? cg_sys2(CG_NR_MEMFD_CREATE, name, CG_MFD_CLOEXEC) : fd;
}

/* --- slots ----------------------------------------------------------------------------------- */

static int cg_peek(uint64_t address, uint64_t *value)
{
    struct {
        uint64_t base, size;
    } remote = {address, 8}, local = {(uint64_t)value, 8};
    long got = cg_sys6(CG_NR_PROCESS_VM_READV, cgoleak_header.owner_pid, &local, 1, &remote, 1, 0);
    if (got == 8)
        return 1;
    if (got == -CG_EFAULT || !cg_is_readable_word(address))
        return 0;
    /* A seccomp filter forbids it. */
    *value = __atomic_load_n((const uint64_t *)address, __ATOMIC_RELAXED);
    return 1;
}

/* One aligned eight-byte store. Pages that the loader made read-only (RELRO) are opened for it and
 * closed again; mprotect fails, and nothing is stored, if the module has gone. */
static int cg_poke(const struct cg_slot *slot, uint64_t value)
{
    uint64_t page = slot->address & ~4095ull;
    int closed = !(slot->prot & CG_PROT_WRITE);
    if (closed && cg_sys3(CG_NR_MPROTECT, page, 4096, slot->prot | CG_PROT_WRITE) != 0)
        return 0;
    __atomic_store_n((uint64_t *)slot->address, value, __ATOMIC_SEQ_CST);
    if (closed)
        cg_sys3(CG_NR_MPROTECT, page, 4096, slot->prot);
    return 1;
}

/* Keeps dlclose out while slots are stored to; false if after two seconds there is one under way
 * still. */
static int cg_patching_begin(void)
{
    for (uint32_t waited = 0; waited < 2000; waited++) {
        __atomic_store_n(&R->patching, 1u, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&R->unloading, __ATOMIC_SEQ_CST) == 0)
            return 1;
        __atomic_store_n(&R->patching, 0u, __ATOMIC_SEQ_CST);
        cg_sleep_ms(1);
    }
    __atomic_store_n(&R->patching, 1u, __ATOMIC_SEQ_CST);
    return 0;
}

static void cg_patching_end(void)
{
    __atomic_store_n(&R->patching, 0u, __ATOMIC_SEQ_CST);
}

static uint64_t cg_hook_of(uint32_t function)
{
    if (function < CG_FUNCTIONS)
        return cgoleak_header.hook[function];
    return cgoleak_header.pair_hook + (uint64_t)(function - CG_FUNCTIONS) * CG_PAIR_THUNK_BYTES;
}

static uint64_t cg_real_of(uint32_t function)
{
    return function < CG_FUNCTIONS ? cgoleak_header.real[function] : cgoleak_header.pair_real[function - CG_FUNCTIONS];
}

static int cg_is_releasing(uint32_t function)
{
    if (function >= CG_FUNCTIONS)
        return T.pairs[function - CG_FUNCTIONS].role == CG_ROLE_DESTROY;
    return function == CG_FREE || function == CG_MUNMAP || function == CG_DLCLOSE;
}

/* Frees are hooked before allocations and let go after them: a block that is entered must not be
 * freed past us. Returns the number of slots that could not be taken. */
static uint32_t cg_install(uint32_t first, uint32_t last)
{
    uint32_t failed = 0;
    if (cg_held_since == 0)
        cg_patching_begin();
    cg_held_since = 0;
    for (int releasing = 1; releasing >= 0; releasing--)
        for (uint32_t i = first; i < last && i < CG_MAX_SLOTS; i++) {
            struct cg_slot *slot = &T.slots[i];
            if (slot->state != CG_SLOT_WANTED || slot->function >= CG_FUNCTIONS + CG_PAIR_FUNCTIONS ||
                cg_real_of(slot->function) == 0 || cg_is_releasing(slot->function) != releasing)
                continue;
            uint64_t now;
            if (!cg_peek(slot->address, &now)) {
                slot->state = CG_SLOT_GONE;
                failed++;
            } else if (now != slot->original) {
                slot->state = CG_SLOT_FOREIGN; /* bound or changed since the driver looked */
                failed++;
            } else if (cg_poke(slot, cg_hook_of(slot->function))) {
                slot->state = CG_SLOT_TAKEN;
            } else {
                slot->state = CG_SLOT_GONE;
                failed++;
            }
        }
    cg_patching_end();
    return failed;
}

/* A thread that was in the lazy binder while its slot was taken overwrites it afterwards. Its page
 * is writable then. In one that the loader closes (RELRO) nobody binds late: a provider there is
 * another load of the library, whose loader may not have done with that page; the driver looks. */
static uint32_t cg_verify(void)
{
    uint32_t again = 0;
    int alone = cg_patching_begin();
    for (uint32_t i = 0; i < T.shared->slots_count && i < CG_MAX_SLOTS; i++) {
        struct cg_slot *slot = &T.slots[i];
        uint64_t now;
        if (slot->state != CG_SLOT_TAKEN)
            continue;
        if (!cg_peek(slot->address, &now)) {
            slot->state = CG_SLOT_GONE;
        } else if (alone && slot->prot & CG_PROT_WRITE && now == cg_real_of(slot->function)) {
            /* It is bound now; that is what it would hold without us. */
            slot->original = now;
            cg_poke(slot, cg_hook_of(slot->function));
            again++;
        }
    }
    cg_patching_end();
    return again;
}

static uint32_t cg_restore(void)
{
    uint32_t failed = 0;
    cg_patching_begin();
    for (int releasing = 0; releasing <= 1; releasing++)
        for (uint32_t i = 0; i < T.shared->slots_count && i < CG_MAX_SLOTS; i++) {
            struct cg_slot *slot = &T.slots[i];
            uint64_t now;
            if (slot->state != CG_SLOT_TAKEN || cg_is_releasing(slot->function) != releasing)
                continue;
            if (!cg_peek(slot->address, &now)) {
                slot->state = CG_SLOT_GONE;
            } else if (now != cg_hook_of(slot->function)) {
                slot->state = CG_SLOT_FOREIGN; /* somebody else has it now: leave it alone */
            } else if (cg_poke(slot, slot->original)) {
                slot->state = CG_SLOT_RESTORED;
            } else {
                slot->state = CG_SLOT_GONE;
                failed++;
            }
        }
    cg_patching_end();
    return failed;
}

/* --- leaving --------------------------------------------------------------------------------- */

static int cg_somebody_inside(void)
{
    if (CG_LOAD(&R->overflow.inside) != 0)
        return 1;
    for (uint32_t i = 0; i < CG_MAX_THREADS; i++)
        if (CG_LOAD(&R->threads[i].key) != 0 && CG_LOAD(&R->threads[i].inside) != 0)
            return 1;
    return 0;
}

/* --- sampling -------------------------------------------------------------------------------- */

/* Waits, a while, until no thread can be in a hook that it entered before sampling began. */
static int cg_all_know(void)
{
    uint32_t patience = 20;
    for (; cg_filter_next <= CG_MAX_THREADS; cg_filter_next++) {
        const struct cg_thread *t = cg_filter_next < CG_MAX_THREADS ? &R->threads[cg_filter_next] : &R->overflow;
        while (CG_LOAD(&t->inside) != 0) {
            if (patience-- == 0)
                return 0;
            cg_sleep_ms(1);
        }
    }
    return 1;
}

static int cg_next_data(int fd, uint64_t *at, uint64_t end, uint64_t *lo, uint64_t *hi);

/* Enters the blocks from before sampling into the filter. Until then every free looks in the table.
 * One that goes meanwhile may stay in the filter, which costs a look; none can be missing. */
static void cg_fill_filter(void)
{
    if (CG_LOAD(&R->filter_ready) || !cg_all_know())
        return;
    const char *base = (const char *)T.shared;
    uint32_t levels = CG_LOAD_ACQUIRE(&T.shared->levels_used);
    for (uint32_t level = 0; level < levels && level < CG_LEVELS; level++) {
        uint64_t at = T.shared->levels_at[level], lo, hi;
        uint64_t end = at + (sizeof(struct cg_block) << (CG_LEVEL0_BITS + level));
        while (cg_next_data(cgoleak_header.shared_fd, &at, end, &lo, &hi))
            for (const struct cg_block *b = (const struct cg_block *)(base + lo); b < (const struct cg_block *)(base + hi); b++) {
                uint64_t who = CG_LOAD(&b->who);
                if (who != 0 && cg_epoch_in(who) == 0)
                    cg_filter_add(who >> CG_OWNER_BITS << 3);
            }
    }
    CG_STORE_RELEASE(&R->filter_ready, 1u);
}

/* Begins to sample, or goes to another rate. False if that cannot be. */
static int cg_sample(uint64_t rate)
{
    struct cg_shared *s = T.shared;
    uint64_t epoch = s->epoch + 1;
    if (rate == 0 || rate > CG_RATE_MOST || epoch >= CG_EPOCHS)
        return 0;
    s->rates[epoch] = rate;
    if (epoch == 1) {
        /* Room for four times as many blocks as are there now. */
        uint64_t cells = CG_FILTER_LEAST << CG_LOAD(&s->levels_used) >> 1;
        CG_STORE(&R->filter_mask, (cells < CG_FILTER_MOST ? cells : CG_FILTER_MOST) - 1);
        CG_STORE(&R->filter_ready, CG_LOAD(&R->enabled) == 0);
        cg_filter_next = 0;
    }
    CG_STORE_RELEASE(&s->epoch, epoch);
    CG_STORE_RELEASE(&R->epoch, epoch);
    cg_mode = CG_SAMPLED;
    if (epoch == 1 && CG_LOAD(&R->enabled) != 0) {
        CG_STORE_RELEASE(&R->enabled, cg_mode);
        if (cg_sys3(CG_NR_MEMBARRIER, CG_MEMBARRIER_PRIVATE_EXPEDITED, 0, 0) != 0)
            cg_sleep_ms(100);
        cg_fill_filter();
    }
    return 1;
}

#define CG_PLACES_MS 1000u

/* Lets each call place begin anew. Not before the filter is complete: it would enter these blocks again. */
static void cg_forget_places(void)
{
    for (uint32_t i = 0; i < CG_PLACES / 8; i++)
        CG_STORE(&R->seen[i], 0);
    uint32_t rare = CG_LOAD(&T.shared->cmd_rare);
    CG_STORE(&R->rare, rare < UINT8_MAX ? rare : UINT8_MAX);
}

/* Sums what the threads have counted. */
static void cg_sum_events(void)
{
    if (cg_mode != CG_SAMPLED)
        return;
    uint64_t births = R->overflow.births, frees = R->overflow.frees;
    for (uint32_t i = 0; i < CG_MAX_THREADS; i++)
        if (CG_LOAD(&R->threads[i].key) != 0) {
            births += CG_LOAD(&R->threads[i].births);
            frees += CG_LOAD(&R->threads[i].frees);
        }
    CG_STORE(&T.shared->passed_births, births);
    CG_STORE(&T.shared->passed_frees, frees);
}

/* --- what an event costs --------------------------------------------------------------------- */

#define CG_TIMING_EVERY_MS 500u
#define CG_LONGEST_US 20u

static void cg_start_clock(void)
{
    R->clock_most = 0;
    cg_clock_began = cg_clock();
    cg_clock_began_ns = cg_now_ns();
    cg_timed_at = 0;
}

/* Times the events of a millisecond, now and then: that does not make the others dearer. */
static void cg_time_events(void)
{
    uint64_t now = cg_now_ns(), passed = now - cg_clock_began_ns;
    if (passed < 10000000 || CG_LOAD(&R->enabled) == 0 || now - cg_timed_at < CG_TIMING_EVERY_MS * 1000000ull)
        return;
    cg_timed_at = now;
    uint64_t per_ms = (cg_clock() - cg_clock_began) / (passed / 1000) * 1000;
    CG_STORE(&T.shared->clock_per_ms, per_ms);
    CG_STORE(&R->clock_most, per_ms * CG_LONGEST_US / 1000);
    CG_STORE(&R->enabled, cg_mode | CG_TIMED);
    cg_sleep_ms(1);
    CG_STORE(&R->enabled, cg_mode);
}

/* Turns the hooks off and waits until no thread is between cg_enter and cg_leave. */
static int cg_quiesce(void)
{
    CG_STORE(&R->enabled, 0);
    if (cg_sys3(CG_NR_MEMBARRIER, CG_MEMBARRIER_PRIVATE_EXPEDITED, 0, 0) != 0)
        cg_sleep_ms(100); /* no membarrier: store buffers drain long before that */
    for (uint32_t waited = 0; waited < CG_QUIET_MS; waited++) {
        if (!cg_somebody_inside())
            return 1;
        cg_sleep_ms(1);
    }
    return 0;
}

static void cg_close(int32_t *fd)
{
    int32_t was = __atomic_exchange_n(fd, -1, __ATOMIC_ACQ_REL);
    if (was >= 0)
        cg_sys1(CG_NR_CLOSE, was);
}

/* Unmaps the stack it stands on, and ends the thread. */
static __attribute__((noreturn)) void cg_vanish(uint64_t stack, uint64_t size)
{
#if defined(__x86_64__)
    __asm__ volatile("syscall\n  mov %2, %%eax\n  xor %%edi, %%edi\n  syscall\n  hlt"
                     :
                     : "a"((long)CG_NR_MUNMAP), "D"(stack), "i"(CG_NR_EXIT), "S"(size)
                     : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = CG_NR_MUNMAP;
    register uint64_t x0 __asm__("x0") = stack;
    register uint64_t x1 __asm__("x1") = size;
    __asm__ volatile("svc 0\n  mov x8, %3\n  mov x0, #0\n  svc 0\n  brk #0"
                     :
                     : "r"(x8), "r"(x0), "r"(x1), "i"(CG_NR_EXIT)
                     : "memory");
#endif
    __builtin_unreachable();
}

static __attribute__((noreturn)) void cg_leave_target(uint32_t reason)
{
    struct cg_header *h = &cgoleak_header;
    CG_STORE(&h->state, CG_STOPPING);
    uint32_t failed = cg_restore();
    int quiet = cg_quiesce();
    cg_sum_events();
    T.shared->slots_failed = failed;
    CG_STORE_RELEASE(&T.shared->detached, 1u);
    h->reason = reason;
    h->leftover = quiet ? 0 : 1;
    if (quiet) {
        cg_sys2(CG_NR_MUNMAP, h->shared, h->shared_size);
    } else {
        cg_left_at = h->shared;
        cg_left_size = h->shared_size;
    }
    cg_close(&h->shared_fd);
    cg_close(&h->command_fd);
    cg_close(&h->event_fd);
    cg_close(&T.event_fd);
    cg_close(&cg_command_in);
    CG_STORE(&h->shared, 0);
    uint64_t stack = cg_control_stack;
    CG_STORE(&h->control_tid, 0);
    CG_STORE_RELEASE(&h->state, (uint32_t)CG_IDLE);
    cg_vanish(stack, CG_CONTROL_STACK);
}

/* Whether the driver still holds its lock on the tables. End of file on the command pipe says the same at once,
 * unless a child that was forked while the pipe was being made keeps its other end open. */
static int cg_controller_lives(void)
{
    struct {
        int16_t type, whence;
        int64_t start, length;
        int32_t pid;
    } lock = {CG_F_WRLCK, 0, 0, 1, 0};
    long result = cg_sys3(CG_NR_FCNTL, cgoleak_header.shared_fd, CG_F_OFD_GETLK, &lock);
    return cg_is_error(result) || lock.type != CG_F_UNLCK;
}

/* --- the control thread ---------------------------------------------------------------------- */

static void cg_tick(void)
{
    CG_STORE(&T.shared->tick, (uint32_t)((cg_now_ms() - cg_began_ms) / CG_TICK_MS) + 1);
    if (T.go.present && T.go.gc_cycles != 0)
        CG_STORE(&T.shared->gc_cycles, *(const volatile uint32_t *)T.go.gc_cycles);
}

static void cg_know_providers(void)
{
    for (uint32_t f = 0; f < CG_FUNCTIONS; f++)
        if (T.shared->real[f] != 0)
            CG_STORE(&cgoleak_header.real[f], T.shared->real[f]);
    for (uint32_t k = 0; k < CG_PAIR_FUNCTIONS; k++)
        if (cgoleak_header.pair_real[k] == 0)
            CG_STORE_RELEASE(&cgoleak_header.pair_real[k], T.pairs[k].real);
}

/* Maps pages that a direct call can reach. They are never writable: the driver fills them from
 * outside, before anything leads there. They stay, as this copy does. Returns 0 or an errno. */
static long cg_map_near(uint64_t at, uint64_t size)
{
    long fd = cg_memory_file("cgoleak-near");
    if (cg_is_error(fd))
        return -fd;
    long got = cg_sys2(CG_NR_FTRUNCATE, fd, size);
    if (!cg_is_error(got))
        got = cg_mmap(at, size, CG_PROT_READ | CG_PROT_EXEC, CG_MAP_PRIVATE | CG_MAP_FIXED_NOREPLACE, (int)fd, 0);
    cg_sys1(CG_NR_CLOSE, fd);
    if (cg_is_error(got))
        return -got;
    if ((uint64_t)got != at) { /* a kernel before 4.17 takes the address as a hint */
        cg_sys2(CG_NR_MUNMAP, got, size);
        return CG_EEXIST;
    }
    return 0;
}

static void cg_obey(char command)
{
    struct cg_shared *s = T.shared;
    switch (command) {
    case CG_CMD_INSTALL:
        if (s->cmd_held && cg_held_since == 0) {
            s->cmd_status = ~0u; /* too late: the driver must look again */
            break;
        }
        T.go = s->go;
        cg_know_providers();
        s->cmd_status = cg_install(s->cmd_first, s->cmd_last);
        CG_STORE_RELEASE(&R->enabled, cg_mode);
        break;
    case CG_CMD_PASS:
        cg_know_providers();
        s->cmd_status = cg_install(s->cmd_first, s->cmd_last);
        break;
    case CG_CMD_NEAR:
        cg_know_providers(); /* whoever comes by way of a call site finds its provider */
        s->cmd_status = s->cmd_near_size == 0 ? 0 : (uint32_t)cg_map_near(s->cmd_near, s->cmd_near_size);
        break;
    case CG_CMD_HOLD:
        if (cg_patching_begin())
            cg_held_since = cg_now_ms();
        else
            cg_patching_end(); /* the driver will be told that it is too late */
        break;
    case CG_CMD_VERIFY:
        s->cmd_status = cg_verify();
        break;
    case CG_CMD_SAMPLE:
        s->cmd_status = cg_sample(s->cmd_rate) ? 0 : 1;
        break;
    case CG_CMD_MODULES:
        CG_STORE_RELEASE(&s->modules_now, s->modules_now + 1u);
        CG_ADD_SHARED(&s->rules_generation, 1u);
        s->cmd_status = 0;
        break;
    default:
        return;
    }
    __atomic_fetch_add(&s->cmd_done, 1u, __ATOMIC_RELEASE);
}

__attribute__((noreturn, used, visibility("hidden"))) void cg_control(void)
{
    struct cg_header *h = &cgoleak_header;
    CG_STORE(&h->control_tid, (int32_t)cg_sys0(CG_NR_GETTID));
    CG_STORE_RELEASE(&h->state, (uint32_t)CG_RUNNING);
    uint64_t unheard_since = cg_now_ms(), looked = unheard_since, summed = unheard_since, forgot = 0;
    for (;;) {
        struct {
            int32_t fd;
            int16_t events, revents;
        } wait = {cg_command_in, CG_POLLIN, 0};
        struct cg_timespec timeout = {0, (int64_t)CG_TICK_MS * 1000000};
        long ready = cg_sys4(CG_NR_PPOLL, &wait, 1, &timeout, 0);
        cg_tick();
        cg_time_events();
        if (cg_now_ms() - summed > CG_SUM_MS) {
            summed = cg_now_ms();
            cg_sum_events();
            if (cg_mode == CG_SAMPLED)
                cg_fill_filter();
        }
        if (cg_mode == CG_SAMPLED && CG_LOAD(&R->filter_ready) && cg_now_ms() - forgot > CG_PLACES_MS) {
            forgot = cg_now_ms();
            cg_forget_places();
        }
        if (CG_LOAD(&h->command_fd) >= 0) {
            /* The driver has not taken its ends yet. While we hold the write end ourselves, its
             * death would go unnoticed: so it has ten seconds. */
            if (cg_now_ms() - unheard_since > 10000)
                cg_leave_target(CG_REASON_CONTROLLER_GONE);
        }
        if (cg_held_since != 0 && cg_now_ms() - cg_held_since > CG_HOLD_MS) {
            cg_held_since = 0;
            cg_patching_end();
        }
        if (ready <= 0) {
            if (cg_now_ms() - looked > 1000) {
                looked = cg_now_ms();
                if (CG_LOAD(&h->command_fd) < 0 && !cg_controller_lives())
                    cg_leave_target(CG_REASON_CONTROLLER_GONE);
            }
            continue;
        }
        char command = 0;
        long got = cg_sys3(CG_NR_READ, cg_command_in, &command, 1);
        if (got == -CG_EINTR || got == -CG_EAGAIN)
            continue;
        if (got <= 0)
            cg_leave_target(CG_REASON_CONTROLLER_GONE);
        if (command == CG_CMD_DETACH)
            cg_leave_target(CG_REASON_ASKED);
        if (command == 'C') {
            /* It has opened all three, and locked the tables: our copies of its ends are closed. */
            cg_close(&h->command_fd);
            cg_close(&h->event_fd);
            __atomic_fetch_add(&T.shared->cmd_done, 1u, __ATOMIC_RELEASE);
            continue;
        }
        cg_obey(command);
    }
}

/* A thread that libc does not know: no TLS, no cached stack, nothing left when it ends. */
static long cg_spawn(uint64_t stack_top)
{
    /* CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM */
    const long flags = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000;
    long result;
#if defined(__x86_64__)
    __asm__ volatile("syscall\n"
                     "  test %%eax, %%eax\n"
                     "  jnz 1f\n"
                     "  xor %%ebp, %%ebp\n"
                     "  call cg_control\n"
                     "  hlt\n"
                     "1:"
                     : "=a"(result)
                     : "a"((long)CG_NR_CLONE), "D"(flags), "S"(stack_top), "d"(0L)
                     : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = CG_NR_CLONE;
    register long x0 __asm__("x0") = flags;
    register uint64_t x1 __asm__("x1") = stack_top;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = 0;
    __asm__ volatile("svc 0\n"
                     "  cbnz x0, 1f\n"
                     "  mov x29, #0\n"
                     "  bl cg_control\n"
                     "  brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
                     : "memory", "x30");
    result = x0;
#endif
    return result;
}

/* --- coming in ------------------------------------------------------------------------------- */

static int cg_fail(uint32_t step, long error)
{
    cgoleak_header.step = step;
    cgoleak_header.error = (int32_t)-error;
    CG_STORE_RELEASE(&cgoleak_header.state, (uint32_t)CG_FAILED);
    return 0;
}

static int cg_make_tables(void)
{
    struct cg_header *h = &cgoleak_header;
    struct cg_shared plan;
    for (uint32_t i = 0; i < sizeof plan; i++)
        ((char *)&plan)[i] = 0;
    uint64_t size = cg_plan(&plan);
    long fd = cg_memory_file("cgoleak-tables");
    if (cg_is_error(fd))
        return cg_fail(3, fd);
    h->shared_fd = (int32_t)fd;
    long result = cg_sys2(CG_NR_FTRUNCATE, fd, size);
    if (cg_is_error(result))
        return cg_fail(4, result);
    result = cg_mmap(0, size, CG_PROT_READ | CG_PROT_WRITE, CG_MAP_SHARED | CG_MAP_NORESERVE, (int)fd, 0);
    if (cg_is_error(result))
        return cg_fail(5, result);
    char *base = (char *)result;
    cg_sys3(CG_NR_MADVISE, base, size, CG_MADV_DONTFORK);
    cg_sys3(CG_NR_MADVISE, base, size, CG_MADV_DONTDUMP);
    *(struct cg_shared *)base = plan;
    cg_point(base, &plan);
    T.shared->magic = CG_MAGIC;
    T.shared->version = CG_VERSION;
    T.shared->tick_ms = CG_TICK_MS;
    T.shared->levels_used = 1;
    T.shared->handle_levels_used = 1;
    CG_STORE(&h->shared_size, size);
    CG_STORE(&h->shared, (uint64_t)base);
    return 1;
}

static int cg_make_pipes(void)
{
    int32_t ends[2];
    long result = cg_sys2(CG_NR_PIPE2, ends, CG_O_CLOEXEC);
    if (cg_is_error(result))
        return cg_fail(6, result);
    cg_command_in = ends[0];
    cgoleak_header.command_fd = ends[1];
    result = cg_sys2(CG_NR_PIPE2, ends, CG_O_CLOEXEC | CG_O_NONBLOCK);
    if (cg_is_error(result))
        return cg_fail(7, result);
    cgoleak_header.event_fd = ends[0];
    T.event_fd = ends[1];
    return 1;
}

static void cg_undo_start(void)
{
    struct cg_header *h = &cgoleak_header;
    if (h->shared != 0)
        cg_sys2(CG_NR_MUNMAP, h->shared, h->shared_size);
    h->shared = 0;
    cg_close(&h->shared_fd);
    cg_close(&h->command_fd);
    cg_close(&h->event_fd);
    cg_close(&cg_command_in);
    cg_close(&T.event_fd);
}

/* Starts the resident copy, for the first time or again. Runs in the copy, on Frida's thread. */
static void cg_start(void)
{
    struct cg_header *h = &cgoleak_header;
    uint32_t idle = CG_IDLE;
    if (!__atomic_compare_exchange_n(&h->state, &idle, (uint32_t)CG_STARTING, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        uint32_t failed = CG_FAILED;
        if (!__atomic_compare_exchange_n(&h->state, &failed, (uint32_t)CG_STARTING, 0, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
            return; /* somebody else is measuring */
    }
    if (cg_left_at != 0) {
        if (cg_somebody_inside()) {
            cg_fail(1, -CG_EBUSY);
            return;
        }
        cg_sys2(CG_NR_MUNMAP, cg_left_at, cg_left_size);
        cg_left_at = 0;
    }
    h->rounds++;
    h->error = 0;
    h->step = 0;
    h->owner_pid = (int32_t)cg_sys0(CG_NR_GETPID);
    cg_hook_addresses(h->hook);
    h->pair_hook = (uint64_t)cg_pair_thunks;
    h->shared_fd = h->command_fd = h->event_fd = -1;
    T.event_fd = cg_command_in = -1;
    if (R == 0) {
        long at = cg_mmap(0, sizeof(struct cg_resident), CG_PROT_READ | CG_PROT_WRITE,
                          CG_MAP_PRIVATE | CG_MAP_ANONYMOUS | CG_MAP_NORESERVE, -1, 0);
        if (cg_is_error(at)) {
            cg_fail(2, at);
            return;
        }
        R = (struct cg_resident *)at;
        h->resident = (uint64_t)at;
    } else {
        /* What is kept per thread belongs to tables that are gone. */
        cg_sys3(CG_NR_MADVISE, &R->overflow, sizeof *R - 4096, 4 /* MADV_DONTNEED */);
    }
    cg_sys3(CG_NR_MADVISE, R, 4096, CG_MADV_WIPEONFORK);
    cg_try_looking();
    cg_held_since = 0;
    cg_mode = CG_EXACT;
    R->epoch = 0;
    R->filter_ready = 0;
    R->rare = 0;
    cg_start_clock();
    R->seed = cg_clock() ^ cg_now_ns() << 32;
    cg_sys3(CG_NR_MEMBARRIER, CG_MEMBARRIER_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    if (!cg_make_tables() || !cg_make_pipes()) {
        cg_undo_start();
        return;
    }
    long stack = cg_mmap(0, CG_CONTROL_STACK, CG_PROT_READ | CG_PROT_WRITE,
                         CG_MAP_PRIVATE | CG_MAP_ANONYMOUS, -1, 0);
    if (cg_is_error(stack)) {
        cg_undo_start();
        cg_fail(8, stack);
        return;
    }
    cg_control_stack = (uint64_t)stack;
    cg_began_ms = cg_now_ms();
    cg_tick();
    uint64_t all = ~0ull, before = 0;
    cg_sys4(CG_NR_RT_SIGPROCMASK, 2 /* SIG_SETMASK */, &all, &before, 8);
    long tid = cg_spawn(((uint64_t)stack + CG_CONTROL_STACK) & ~15ull);
    cg_sys4(CG_NR_RT_SIGPROCMASK, 2, &before, 0, 8);
    if (cg_is_error(tid)) {
        cg_sys2(CG_NR_MUNMAP, stack, CG_CONTROL_STACK);
        cg_undo_start();
        cg_fail(9, tid);
    }
}

/* ELF program header, 64 bit. */
struct cg_phdr {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

/* Maps a copy of this object that dlclose cannot take away. No relocation is needed: all its code
 * is position independent and refers to nothing outside (a test looks for relocations). */
static char *cg_settle(void)
{
    const char *image = __ehdr_start;
    uint64_t size = ((uint64_t)(_end - image) + 4095) & ~4095ull;
    long fd = cg_memory_file("cgoleak-probe");
    if (cg_is_error(fd))
        return 0;
    const struct cg_phdr *ph = (const struct cg_phdr *)(image + *(const uint64_t *)(image + 32));
    uint32_t count = *(const uint16_t *)(image + 56);
    char *base = 0;
    if (cg_is_error(cg_sys2(CG_NR_FTRUNCATE, fd, size)))
        goto out;
    long at = cg_mmap(0, size, CG_PROT_READ | CG_PROT_WRITE, CG_MAP_SHARED, (int)fd, 0);
    if (cg_is_error(at))
        goto out;
    for (uint32_t i = 0; i < count; i++)
        if (ph[i].type == 1)
            for (uint64_t b = 0; b < ph[i].memsz; b++)
                ((volatile char *)at)[ph[i].vaddr + b] = image[ph[i].vaddr + b];
    cg_sys2(CG_NR_MUNMAP, at, size);
    at = cg_mmap(0, size, CG_PROT_NONE, CG_MAP_PRIVATE, (int)fd, 0);
    if (cg_is_error(at))
        goto out;
    base = (char *)at;
    for (uint32_t i = 0; i < count; i++) {
        if (ph[i].type != 1)
            continue;
        uint64_t lo = ph[i].vaddr & ~4095ull, hi = (ph[i].vaddr + ph[i].memsz + 4095) & ~4095ull;
        int prot = (ph[i].flags & 4 ? CG_PROT_READ : 0) | (ph[i].flags & 2 ? CG_PROT_WRITE : 0) |
                   (ph[i].flags & 1 ? CG_PROT_EXEC : 0);
        if (cg_is_error(cg_mmap((uint64_t)base + lo, hi - lo, prot, CG_MAP_PRIVATE | CG_MAP_FIXED, (int)fd, lo))) {
            cg_sys2(CG_NR_MUNMAP, base, size);
            base = 0;
            break;
        }
    }
out:
    cg_sys1(CG_NR_CLOSE, fd);
    return base;
}

static uint64_t cg_hex(const char **s)
{
    uint64_t value = 0;
    for (;; ++*s) {
        char c = **s;
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* Keeps the injector's thread here until somebody outside watches for its end; false after ten
 * seconds without (see cgoleak/probe/entry/loaderend.py for the reason). */
static bool cg_wait_watched(struct cg_header *h)
{
    CG_STORE(&h->loader_watched, 0);
    CG_STORE(&h->loader_tid, (int32_t)cg_sys0(CG_NR_GETTID));
    bool watched = false;
    for (int i = 0; i < 5000 && !watched; i++) {
        cg_sleep_ms(2);
        watched = CG_LOAD(&h->loader_watched) != 0;
    }
    CG_STORE(&h->loader_tid, 0);
    return watched;
}

/* words: address of an idle resident copy's start function in hex, or 0 to settle a new one; what
 * follows it is left to the caller. Gives the copy's header; 0 if there was no room for a copy. */
static struct cg_header *cg_come_in(const char **words)
{
    uint64_t start = cg_hex(words);
    if (start == 0) {
        char *copy = cg_settle();
        if (copy == 0)
            return 0;
        uint64_t shift = (uint64_t)copy - (uint64_t)__ehdr_start;
        struct cg_header *theirs = (struct cg_header *)((uint64_t)&cgoleak_header + shift);
        theirs->image_start = (uint64_t)copy;
        theirs->image_size = ((uint64_t)(_end - __ehdr_start) + 4095) & ~4095ull;
        theirs->start = (uint64_t)cg_start + shift;
        start = theirs->start;
    }
    ((void (*)(void))start)();
    return (struct cg_header *)((uint64_t)&cgoleak_header + (start - (uint64_t)cg_start));
}

/* Called by Frida's injector; data: see cg_come_in; a "w" behind that: wait to be watched. */
__attribute__((visibility("default"))) void cgoleak_entry(const char *data, int *unload_policy, void *state)
{
    (void)state;
    *unload_policy = 0; /* immediate: Frida takes this object and its own pages away */
    struct cg_header *h = cg_come_in(&data);
    if (*data == 'w' && (h == 0 || !cg_wait_watched(h)))
        *unload_policy = 1; /* resident: what nobody watches must not be taken from under it */
}
