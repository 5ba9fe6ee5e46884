#include "ehframe.h"

#include <stdbool.h>

/* DWARF register numbers: psABI x86-64 figure 3.36, AAPCS64 DWARF table 4.1. */
#if defined(__x86_64__)
enum { EH_REG_FP = 6, EH_REG_SP = 7, EH_REG_PC = 16 };
#elif defined(__aarch64__)
enum { EH_REG_FP = 29, EH_REG_SP = 31, EH_REG_PC = 32 };
#else
#error "no register numbers for this architecture"
#endif

/* Bounds on the work of one call. glibc, libstdc++ and libcrypto never remember a second state, and their longest
 * program has 362 instructions. A full scan takes some milliseconds; there is one only where the linker has made no
 * search table. */
enum {
    EH_MAX_REMEMBERED = 8,
    EH_MAX_INSTRUCTIONS = 1 << 16,
    EH_MAX_SCANNED = 1 << 16,
    EH_MAX_AUGMENTATION = 16,
    EH_MAX_ALIGNMENT = 1 << 16
};

/* Pointer encodings, LSB Core §10.5. */
enum {
    EH_PE_ABSPTR = 0x00,
    EH_PE_ULEB128 = 0x01,
    EH_PE_UDATA2 = 0x02,
    EH_PE_UDATA4 = 0x03,
    EH_PE_UDATA8 = 0x04,
    EH_PE_SLEB128 = 0x09,
    EH_PE_SDATA2 = 0x0a,
    EH_PE_SDATA4 = 0x0b,
    EH_PE_SDATA8 = 0x0c,
    EH_PE_FORMAT = 0x0f,
    EH_PE_PCREL = 0x10,
    EH_PE_DATAREL = 0x30,
    EH_PE_ALIGNED = 0x50,
    EH_PE_OMIT = 0xff
};

/* Call frame instructions, DWARF 5 §7.24; the GNU and AArch64 ones from binutils include/dwarf2.def. */
enum {
    EH_CFA_NOP = 0x00,
    EH_CFA_SET_LOC = 0x01,
    EH_CFA_ADVANCE_LOC1 = 0x02,
    EH_CFA_ADVANCE_LOC2 = 0x03,
    EH_CFA_ADVANCE_LOC4 = 0x04,
    EH_CFA_OFFSET_EXTENDED = 0x05,
    EH_CFA_RESTORE_EXTENDED = 0x06,
    EH_CFA_UNDEFINED = 0x07,
    EH_CFA_SAME_VALUE = 0x08,
    EH_CFA_REGISTER = 0x09,
    EH_CFA_REMEMBER_STATE = 0x0a,
    EH_CFA_RESTORE_STATE = 0x0b,
    EH_CFA_DEF_CFA = 0x0c,
    EH_CFA_DEF_CFA_REGISTER = 0x0d,
    EH_CFA_DEF_CFA_OFFSET = 0x0e,
    EH_CFA_DEF_CFA_EXPRESSION = 0x0f,
    EH_CFA_EXPRESSION = 0x10,
    EH_CFA_OFFSET_EXTENDED_SF = 0x11,
    EH_CFA_DEF_CFA_SF = 0x12,
    EH_CFA_DEF_CFA_OFFSET_SF = 0x13,
    EH_CFA_VAL_OFFSET = 0x14,
    EH_CFA_VAL_OFFSET_SF = 0x15,
    EH_CFA_VAL_EXPRESSION = 0x16,
    EH_CFA_NEGATE_RA_STATE_WITH_PC = 0x2c,
    EH_CFA_NEGATE_RA_STATE = 0x2d, /* on other machines GNU_window_save: no operand either */
    EH_CFA_GNU_ARGS_SIZE = 0x2e,
    EH_CFA_GNU_NEGATIVE_OFFSET_EXTENDED = 0x2f,
    EH_CFA_ADVANCE_LOC = 1, /* these three in the upper two bits, the operand in the lower six */
    EH_CFA_OFFSET = 2,
    EH_CFA_RESTORE = 3
};

/* Expression operators, DWARF 5 §7.7.1. */
enum {
    EH_OP_DEREF = 0x06,
    EH_OP_AND = 0x1a,
    EH_OP_PLUS = 0x22,
    EH_OP_SHL = 0x24,
    EH_OP_GE = 0x2a,
    EH_OP_LIT0 = 0x30,
    EH_OP_LIT31 = 0x4f,
    EH_OP_BREG0 = 0x70
};

/* Bytes still to be read; at <= end always. Reading past the end gives 0 and sets bad, which sticks. */
struct eh_cursor {
    uint64_t at, end;
    bool bad;
};

enum eh_where { EH_UNSET, EH_SAME, EH_AT_CFA, EH_AT_FP, EH_UNDEFINED, EH_ELSEWHERE };

struct eh_column {
    int32_t offset;
    enum eh_where where;
};

/* One row of the table that a program describes. */
struct eh_row {
    uint64_t cfa_register;
    uint64_t expression, expression_end; /* the CFA is an expression where expression != 0 */
    int32_t cfa_offset;                  /* kept beside an expression: def_cfa_register goes back to it */
    struct eh_column fp, ra;
};

struct eh_cie {
    uint64_t at;
    bool usable;
    uint8_t encoding; /* of the FDEs' pointers */
    bool augmented;   /* FDEs hold augmentation data */
    bool signal_frame;
    uint64_t code_alignment, ra_register;
    int64_t data_alignment;
    struct eh_cursor program;
};

struct eh_fde {
    uint64_t begin;
    struct eh_cursor program;
};

struct eh_machine {
    struct eh_cursor code;
    const struct eh_cie *cie;
    uint64_t begin;    /* of the function */
    uint64_t location; /* of the current row, from begin */
    uint64_t wanted;   /* pc, from begin */
    unsigned remembered;
    struct eh_row row, initial;
    struct eh_row stack[EH_MAX_REMEMBERED];
};

/* --- bytes ------------------------------------------------------------------------------------ */

static inline uint64_t eh_load(uint64_t address, unsigned bytes)
{
    const uint8_t *from = (const uint8_t *)(uintptr_t)address;
    uint64_t value = 0;
    CG_READING(address, bytes);
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i); /* becomes one load; tables need not be aligned */
    return value;
}

static inline uint64_t eh_take(struct eh_cursor *c, unsigned bytes)
{
    if (c->end - c->at < bytes) {
        c->bad = true;
        c->at = c->end;
        return 0;
    }
    uint64_t value = eh_load(c->at, bytes);
    c->at += bytes;
    return value;
}

static uint8_t eh_take_byte(struct eh_cursor *c)
{
    return (uint8_t)eh_take(c, 1);
}

/* Split the next `bytes` bytes off. */
static struct eh_cursor eh_take_block(struct eh_cursor *c, uint64_t bytes)
{
    if (c->end - c->at < bytes) {
        c->bad = true;
        c->at = c->end;
        bytes = 0;
    }
    struct eh_cursor block = {c->at, c->at + bytes, c->bad};
    c->at += bytes;
    return block;
}

static uint64_t eh_take_uleb(struct eh_cursor *c)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = eh_take_byte(c);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (shift == 63 && byte > 1)
                break;
            return value;
        }
    }
    c->bad = true;
    return 0;
}

static int64_t eh_take_sleb(struct eh_cursor *c)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) { /* nine bytes hold 63 bits; no rule needs more */
        uint64_t byte = eh_take_byte(c);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte & 0x40)
                value |= ~UINT64_C(0) << (shift + 7);
            return (int64_t)value;
        }
    }
    c->bad = true;
    return 0;
}

static struct eh_cursor eh_take_expression(struct eh_cursor *c)
{
    return eh_take_block(c, eh_take_uleb(c));
}

static uint64_t eh_take_format(struct eh_cursor *c, uint8_t format)
{
    switch (format) {
    case EH_PE_ABSPTR:
    case EH_PE_UDATA8:
    case EH_PE_SDATA8:
        return eh_take(c, 8);
    case EH_PE_UDATA4:
        return eh_take(c, 4);
    case EH_PE_SDATA4:
        return (uint64_t)(int64_t)(int32_t)eh_take(c, 4);
    case EH_PE_UDATA2:
        return eh_take(c, 2);
    case EH_PE_SDATA2:
        return (uint64_t)(int64_t)(int16_t)eh_take(c, 2);
    case EH_PE_ULEB128:
        return eh_take_uleb(c);
    case EH_PE_SLEB128:
        return (uint64_t)eh_take_sleb(c);
    default:
        c->bad = true;
        return 0;
    }
}

/* Read an encoded pointer. data is the base of DATAREL, 0 where none is known. An indirect pointer would have to be
 * read outside the two ranges, so it is bad. 0 stays 0 whatever the base, as in libgcc: the linker's mark for
 * a function that it has dropped. */
static uint64_t eh_take_pointer(struct eh_cursor *c, uint8_t encoding, uint64_t data)
{
    uint64_t field = c->at;
    uint64_t value = eh_take_format(c, encoding & EH_PE_FORMAT);
    uint64_t base = 0;
    switch (encoding & ~EH_PE_FORMAT) {
    case EH_PE_ABSPTR:
        break;
    case EH_PE_PCREL:
        base = field;
        break;
    case EH_PE_DATAREL:
        base = data;
        if (data == 0)
            c->bad = true;
        break;
    default:
        c->bad = true;
    }
    return value == 0 ? 0 : value + base;
}

static void eh_skip_personality(struct eh_cursor *c)
{
    uint8_t encoding = eh_take_byte(c);
    if (encoding == EH_PE_OMIT)
        return;
    if (encoding == EH_PE_ALIGNED) {
        (void)eh_take_block(c, (0 - c->at) & 7);
        (void)eh_take(c, 8);
        return;
    }
    (void)eh_take_format(c, encoding & EH_PE_FORMAT);
}

static bool eh_fits(int64_t value)
{
    return value >= INT32_MIN && value <= INT32_MAX;
}

/* --- entries ---------------------------------------------------------------------------------- */

/* Open the entry at `at`: body is what follows its length. Extended lengths (64 bit) are refused: no toolchain
 * writes them into .eh_frame. A length of 0 ends the section. */
static bool eh_open_entry(const struct cg_module *m, uint64_t at, struct eh_cursor *body)
{
    if (at < m->frame || at >= m->frame_end)
        return false;
    struct eh_cursor c = {at, m->frame_end, false};
    uint64_t length = eh_take(&c, 4);
    if (length == 0 || length == UINT32_MAX)
        return false;
    *body = eh_take_block(&c, length);
    return !c.bad;
}

static bool eh_read_augmentation(struct eh_cie *cie, struct eh_cursor letters, struct eh_cursor *c)
{
    if (letters.at == letters.end)
        return true;
    if (eh_take_byte(&letters) != 'z')
        return false; /* without a length nothing after it can be found; GCC 2's "eh" is the known case */
    cie->augmented = true;
    struct eh_cursor data = eh_take_block(c, eh_take_uleb(c));
    while (letters.at < letters.end) {
        switch (eh_take_byte(&letters)) {
        case 'R':
            cie->encoding = eh_take_byte(&data);
            break;
        case 'P':
            eh_skip_personality(&data);
            break;
        case 'L':
            (void)eh_take_byte(&data);
            break;
        case 'S':
            cie->signal_frame = true;
            break;
        case 'B': /* return addresses signed with the B key */
        case 'G': /* memory-tagged frame */
            break;
        default:
            return false;
        }
    }
    return !data.bad;
}

static struct eh_cursor eh_take_string(struct eh_cursor *c)
{
    struct eh_cursor text = {c->at, c->at, false};
    for (unsigned i = 0; i < EH_MAX_AUGMENTATION; i++) {
        if (eh_take_byte(c) == 0)
            return text; /* the end of the bytes reads as 0 too; c->bad says so */
        text.end = c->at;
    }
    c->bad = true;
    return text;
}

static bool eh_read_cie(const struct cg_module *m, uint64_t at, struct eh_cie *cie)
{
    struct eh_cursor c;
    if (!eh_open_entry(m, at, &c) || eh_take(&c, 4) != 0)
        return false;
    uint8_t version = eh_take_byte(&c);
    if (version != 1 && version != 3 && version != 4)
        return false;
    struct eh_cursor letters = eh_take_string(&c);
    if (version == 4 && eh_take(&c, 2) != 8) /* address size 8, no segment selectors */
        return false;
    cie->code_alignment = eh_take_uleb(&c);
    cie->data_alignment = eh_take_sleb(&c);
    cie->ra_register = version == 1 ? eh_take_byte(&c) : eh_take_uleb(&c);
    cie->encoding = EH_PE_ABSPTR;
    cie->augmented = false;
    cie->signal_frame = false;
    if (c.bad || !eh_read_augmentation(cie, letters, &c))
        return false;
    cie->program = c;
    return !c.bad && cie->code_alignment <= EH_MAX_ALIGNMENT && cie->data_alignment >= -EH_MAX_ALIGNMENT &&
           cie->data_alignment <= EH_MAX_ALIGNMENT;
}

/* Read the FDE in body if it covers pc. cie holds the CIE read last: a scan meets the same one again and again. */
static bool eh_read_fde(const struct cg_module *m, struct eh_cursor body, uint64_t pc, struct eh_cie *cie,
                        struct eh_fde *fde)
{
    uint64_t field = body.at;
    uint64_t distance = eh_take(&body, 4); /* from this field back to the CIE; 0 in a CIE itself */
    if (body.bad || distance == 0 || distance > field - m->frame)
        return false;
    if (cie->at != field - distance) {
        cie->at = field - distance;
        cie->usable = eh_read_cie(m, cie->at, cie);
    }
    if (!cie->usable)
        return false;
    fde->begin = eh_take_pointer(&body, cie->encoding, 0);
    uint64_t length = eh_take_format(&body, cie->encoding & EH_PE_FORMAT);
    if (body.bad || pc < fde->begin || pc - fde->begin >= length)
        return false;
    if (cie->augmented)
        (void)eh_take_block(&body, eh_take_uleb(&body));
    fde->program = body;
    return !body.bad;
}

/* --- finding the FDE of pc -------------------------------------------------------------------- */

/* Find pc in the binary search table: at is the FDE that may cover it, 0 for none. False: there is no table that
 * can be searched. Entries are pairs of 4-byte offsets from hdr, (function, FDE), sorted (LSB Core §10.6.2). */
static bool eh_search(const struct cg_module *m, uint64_t pc, uint64_t *at)
{
    *at = 0;
    if (m->hdr >= m->hdr_end)
        return false;
    struct eh_cursor c = {m->hdr, m->hdr_end, false};
    uint8_t version = eh_take_byte(&c);
    uint8_t frame_encoding = eh_take_byte(&c);
    uint8_t count_encoding = eh_take_byte(&c);
    uint8_t table_encoding = eh_take_byte(&c);
    if (version != 1 || count_encoding == EH_PE_OMIT || table_encoding != (EH_PE_DATAREL | EH_PE_SDATA4))
        return false;
    if (frame_encoding != EH_PE_OMIT)
        (void)eh_take_pointer(&c, frame_encoding, m->hdr);
    uint64_t count = eh_take_pointer(&c, count_encoding, m->hdr);
    if (c.bad)
        return false;
    if (count > (c.end - c.at) / 8)
        count = (c.end - c.at) / 8;

    int64_t wanted = (int64_t)(pc - m->hdr);
    uint64_t low = 0; /* entries below start at or before pc, entries from `count` on start after it */
    while (low < count) {
        uint64_t middle = low + (count - low) / 2;
        if ((int32_t)eh_load(c.at + 8 * middle, 4) <= wanted)
            low = middle + 1;
        else
            count = middle;
    }
    if (low > 0)
        *at = m->hdr + (uint64_t)(int64_t)(int32_t)eh_load(c.at + 8 * (low - 1) + 4, 4);
    return true;
}

static bool eh_scan(const struct cg_module *m, uint64_t pc, struct eh_cie *cie, struct eh_fde *fde)
{
    uint64_t at = m->frame;
    struct eh_cursor body;
    for (unsigned i = 0; i < EH_MAX_SCANNED && eh_open_entry(m, at, &body); i++) {
        if (eh_read_fde(m, body, pc, cie, fde))
            return true;
        at = body.end;
    }
    return false;
}

static bool eh_find(const struct cg_module *m, uint64_t pc, struct eh_cie *cie, struct eh_fde *fde)
{
    uint64_t at;
    struct eh_cursor body;
    if (!eh_search(m, pc, &at))
        return eh_scan(m, pc, cie, fde);
    return eh_open_entry(m, at, &body) && eh_read_fde(m, body, pc, cie, fde);
}

/* --- call frame programs ---------------------------------------------------------------------- */

static struct eh_column *eh_tracked(struct eh_machine *s, uint64_t reg)
{
    if (reg == s->cie->ra_register)
        return &s->row.ra;
    return reg == EH_REG_FP ? &s->row.fp : 0;
}

static void eh_set(struct eh_machine *s, uint64_t reg, enum eh_where where, int32_t offset)
{
    struct eh_column *column = eh_tracked(s, reg);
    if (column) {
        column->where = where;
        column->offset = offset;
    }
}

/* The register is saved at CFA + factor * data alignment. */
static void eh_set_saved(struct eh_machine *s, uint64_t reg, int64_t factor)
{
    int64_t offset = 0;
    if (!eh_tracked(s, reg))
        return;
    if (__builtin_mul_overflow(factor, s->cie->data_alignment, &offset) || !eh_fits(offset))
        s->code.bad = true;
    eh_set(s, reg, EH_AT_CFA, s->code.bad ? 0 : (int32_t)offset);
}

static void eh_restore(struct eh_machine *s, uint64_t reg)
{
    if (reg == s->cie->ra_register)
        s->row.ra = s->initial.ra;
    else if (reg == EH_REG_FP)
        s->row.fp = s->initial.fp;
}

static void eh_set_cfa_register(struct eh_machine *s, uint64_t reg)
{
    s->row.cfa_register = reg;
    s->row.expression = 0;
}

/* Leaves an expression in force, like libgcc: only def_cfa and def_cfa_register replace it. */
static void eh_set_cfa_offset(struct eh_machine *s, int64_t factor, int64_t alignment)
{
    int64_t offset = 0;
    if (__builtin_mul_overflow(factor, alignment, &offset) || !eh_fits(offset)) {
        s->code.bad = true;
        return;
    }
    s->row.cfa_offset = (int32_t)offset;
}

/* An unsigned operand. A stack frame of 2 GiB is no rule that anybody could use. */
static int64_t eh_take_factor(struct eh_cursor *c)
{
    uint64_t value = eh_take_uleb(c);
    if (value > INT32_MAX)
        c->bad = true;
    return c->bad ? 0 : (int64_t)value;
}

/* Go on to the row `delta` units later; false if that one lies behind pc. */
static bool eh_advance(struct eh_machine *s, uint64_t delta)
{
    s->location += delta * s->cie->code_alignment;
    return s->location <= s->wanted;
}

static bool eh_set_location(struct eh_machine *s)
{
    s->location = eh_take_pointer(&s->code, s->cie->encoding, 0) - s->begin;
    return s->location <= s->wanted;
}

static void eh_remember(struct eh_machine *s)
{
    if (s->remembered == EH_MAX_REMEMBERED) {
        s->code.bad = true;
        return;
    }
    s->stack[s->remembered++] = s->row;
}

static void eh_recall(struct eh_machine *s)
{
    if (s->remembered == 0) {
        s->code.bad = true;
        return;
    }
    s->row = s->stack[--s->remembered];
}

/* The register is saved at the address that an expression gives. Known: FP + offset, which GCC writes for rbp itself
 * once the stack has been realigned. */
static void eh_set_by_expression(struct eh_machine *s, uint64_t reg, struct eh_cursor code)
{
    if (!eh_tracked(s, reg))
        return;
    bool from_fp = eh_take_byte(&code) == EH_OP_BREG0 + EH_REG_FP;
    int64_t offset = eh_take_sleb(&code);
    if (from_fp && !code.bad && code.at == code.end && eh_fits(offset))
        eh_set(s, reg, EH_AT_FP, (int32_t)offset);
    else
        eh_set(s, reg, EH_ELSEWHERE, 0);
}

/* Instructions about one register: opcode, register, operand. */
static void eh_run_register(struct eh_machine *s, uint8_t opcode)
{
    struct eh_cursor *c = &s->code;
    uint64_t reg = eh_take_uleb(c);
    switch (opcode) {
    case EH_CFA_OFFSET_EXTENDED:
        eh_set_saved(s, reg, eh_take_factor(c));
        break;
    case EH_CFA_OFFSET_EXTENDED_SF:
        eh_set_saved(s, reg, eh_take_sleb(c));
        break;
    case EH_CFA_GNU_NEGATIVE_OFFSET_EXTENDED:
        eh_set_saved(s, reg, -eh_take_factor(c));
        break;
    case EH_CFA_RESTORE_EXTENDED:
        eh_restore(s, reg);
        break;
    case EH_CFA_UNDEFINED:
        eh_set(s, reg, EH_UNDEFINED, 0);
        break;
    case EH_CFA_SAME_VALUE:
        eh_set(s, reg, EH_SAME, 0);
        break;
    case EH_CFA_EXPRESSION:
        eh_set_by_expression(s, reg, eh_take_expression(c));
        break;
    case EH_CFA_VAL_EXPRESSION:
        (void)eh_take_expression(c);
        eh_set(s, reg, EH_ELSEWHERE, 0);
        break;
    case EH_CFA_REGISTER:
    case EH_CFA_VAL_OFFSET:
    case EH_CFA_VAL_OFFSET_SF: /* one LEB operand each, whose value is not needed */
        (void)eh_take_uleb(c);
        eh_set(s, reg, EH_ELSEWHERE, 0);
        break;
    default:
        c->bad = true;
    }
}

/* Instructions about the CFA, and those without operands. */
static void eh_run_other(struct eh_machine *s, uint8_t opcode)
{
    struct eh_cursor *c = &s->code;
    struct eh_cursor code;
    switch (opcode) {
    case EH_CFA_NOP:
    case EH_CFA_NEGATE_RA_STATE:
    case EH_CFA_NEGATE_RA_STATE_WITH_PC:
        break;
    case EH_CFA_GNU_ARGS_SIZE:
        (void)eh_take_uleb(c);
        break;
    case EH_CFA_REMEMBER_STATE:
        eh_remember(s);
        break;
    case EH_CFA_RESTORE_STATE:
        eh_recall(s);
        break;
    case EH_CFA_DEF_CFA:
        eh_set_cfa_register(s, eh_take_uleb(c));
        eh_set_cfa_offset(s, eh_take_factor(c), 1);
        break;
    case EH_CFA_DEF_CFA_SF:
        eh_set_cfa_register(s, eh_take_uleb(c));
        eh_set_cfa_offset(s, eh_take_sleb(c), s->cie->data_alignment);
        break;
    case EH_CFA_DEF_CFA_REGISTER:
        eh_set_cfa_register(s, eh_take_uleb(c));
        break;
    case EH_CFA_DEF_CFA_OFFSET:
        eh_set_cfa_offset(s, eh_take_factor(c), 1);
        break;
    case EH_CFA_DEF_CFA_OFFSET_SF:
        eh_set_cfa_offset(s, eh_take_sleb(c), s->cie->data_alignment);
        break;
    case EH_CFA_DEF_CFA_EXPRESSION:
        code = eh_take_expression(c);
        s->row.expression = code.at;
        s->row.expression_end = code.end;
        break;
    default:
        eh_run_register(s, opcode);
    }
}

/* Run the program until it ends or its next row starts after pc; false if it cannot be followed. */
static bool eh_run(struct eh_machine *s)
{
    struct eh_cursor *c = &s->code;
    for (unsigned i = 0; i < EH_MAX_INSTRUCTIONS; i++) {
        if (c->bad)
            return false;
        if (c->at == c->end)
            return true;
        uint8_t opcode = eh_take_byte(c);
        uint8_t operand = opcode & 0x3f;
        bool here = true;
        if (opcode >> 6 == EH_CFA_ADVANCE_LOC)
            here = eh_advance(s, operand);
        else if (opcode >> 6 == EH_CFA_OFFSET)
            eh_set_saved(s, operand, eh_take_factor(c));
        else if (opcode >> 6 == EH_CFA_RESTORE)
            eh_restore(s, operand);
        else if (opcode == EH_CFA_SET_LOC)
            here = eh_set_location(s);
        else if (opcode >= EH_CFA_ADVANCE_LOC1 && opcode <= EH_CFA_ADVANCE_LOC4)
            here = eh_advance(s, eh_take(c, 1U << (opcode - EH_CFA_ADVANCE_LOC1)));
        else
            eh_run_other(s, opcode);
        if (!here)
            return !c->bad;
    }
    return false;
}

static void eh_clear(struct eh_row *row)
{
    row->cfa_register = UINT64_MAX;
    row->expression = 0;
    row->expression_end = 0;
    row->cfa_offset = 0;
    row->fp.where = EH_UNSET;
    row->fp.offset = 0;
    row->ra.where = EH_UNSET;
    row->ra.offset = 0;
}

/* --- from the row to the rule ----------------------------------------------------------------- */

static int64_t eh_take_literal(struct eh_cursor *c)
{
    uint8_t opcode = eh_take_byte(c);
    if (opcode < EH_OP_LIT0 || opcode > EH_OP_LIT31)
        c->bad = true;
    return opcode - EH_OP_LIT0;
}

static void eh_expect(struct eh_cursor *c, uint8_t opcode)
{
    if (eh_take_byte(c) != opcode)
        c->bad = true;
}

/* The linker's expression for .plt: SP + offset + (((pc & mask) >= pushed) << shift), one more word once the entry has
 * pushed its index (binutils bfd/elf64-x86-64.c, elf_x86_64_eh_frame_lazy_plt). c stands behind the first term. */
static int64_t eh_take_plt_term(struct eh_cursor *c, uint64_t pc)
{
    eh_expect(c, EH_OP_BREG0 + EH_REG_PC % 32);
    if (eh_take_sleb(c) != 0)
        c->bad = true;
    int64_t mask = eh_take_literal(c);
    eh_expect(c, EH_OP_AND);
    int64_t pushed = eh_take_literal(c);
    eh_expect(c, EH_OP_GE);
    int64_t shift = eh_take_literal(c);
    eh_expect(c, EH_OP_SHL);
    eh_expect(c, EH_OP_PLUS);
    if (c->bad)
        return 0;
    return (int64_t)((int64_t)(pc & (uint64_t)mask) >= pushed) << shift;
}

static bool eh_solve_expression(const struct eh_row *row, uint64_t pc, struct cg_rule *out)
{
    struct eh_cursor c = {row->expression, row->expression_end, false};
    uint8_t opcode = eh_take_byte(&c);
    int64_t offset = eh_take_sleb(&c);
    if (c.bad || !eh_fits(offset) || (opcode != EH_OP_BREG0 + EH_REG_SP && opcode != EH_OP_BREG0 + EH_REG_FP))
        return false;
    out->cfa = opcode == EH_OP_BREG0 + EH_REG_SP ? CG_CFA_SP : CG_CFA_FP;
    if (c.at < c.end && eh_load(c.at, 1) == EH_OP_DEREF) {
        if (out->cfa != CG_CFA_FP)
            return false;
        out->cfa = CG_CFA_FP_DEREF;
        c.at++;
    } else if (c.at < c.end) {
        offset += eh_take_plt_term(&c, pc);
    }
    out->cfa_offset = eh_fits(offset) ? (int32_t)offset : 0;
    return !c.bad && c.at == c.end && eh_fits(offset);
}

static bool eh_solve_cfa(const struct eh_row *row, uint64_t pc, struct cg_rule *out)
{
    if (row->expression)
        return eh_solve_expression(row, pc, out);
    out->cfa_offset = row->cfa_offset;
    out->cfa = row->cfa_register == EH_REG_SP ? CG_CFA_SP : CG_CFA_FP;
    return row->cfa_register == EH_REG_SP || row->cfa_register == EH_REG_FP;
}

static bool eh_solve_fp(const struct eh_row *row, struct cg_rule *out)
{
    out->fp_offset = row->fp.offset;
    switch (row->fp.where) {
    case EH_UNSET:
    case EH_SAME:
        out->fp = CG_FP_SAME;
        return true;
    case EH_AT_CFA:
        out->fp = CG_FP_AT_CFA;
        return true;
    case EH_AT_FP:
        out->fp = CG_FP_AT_FP;
        return true;
    case EH_UNDEFINED:
    case EH_ELSEWHERE:
        break;
    }
    return false;
}

static uint8_t eh_solve(const struct eh_row *row, uint64_t pc, struct cg_rule *out)
{
    if (row->ra.where == EH_UNDEFINED)
        return CG_RULE_END;
    if (row->ra.where != EH_AT_CFA || !eh_solve_cfa(row, pc, out) || !eh_solve_fp(row, out))
        return CG_RULE_NONE;
    out->ra_offset = row->ra.offset;
    return CG_RULE_OK;
}

static bool eh_compile(const struct eh_cie *cie, const struct eh_fde *fde, uint64_t pc, struct eh_row *row)
{
    struct eh_machine s;
    s.cie = cie;
    s.begin = fde->begin;
    s.location = 0;
    s.wanted = pc - fde->begin;
    s.remembered = 0;
    eh_clear(&s.row);
    eh_clear(&s.initial);
    s.code = cie->program;
    if (!eh_run(&s))
        return false;
    s.initial = s.row;
    s.code = fde->program;
    s.location = 0;
    s.remembered = 0;
    if (!eh_run(&s))
        return false;
    *row = s.row;
    return true;
}

static void eh_reset(struct cg_rule *out)
{
    out->cfa_offset = out->fp_offset = out->ra_offset = 0;
    out->kind = CG_RULE_NONE;
    out->cfa = out->fp = out->signal_frame = 0;
}

int cg_rule_at(const struct cg_module *m, uint64_t pc, struct cg_rule *out)
{
    struct eh_cie cie;
    struct eh_fde fde;
    struct eh_row row;
    cie.at = 0;
    eh_reset(out);
    if (pc < m->start || pc >= m->end || m->frame == 0 || m->frame >= m->frame_end || !eh_find(m, pc, &cie, &fde) ||
        !eh_compile(&cie, &fde, pc, &row))
        return CG_RULE_NONE;
    uint8_t kind = eh_solve(&row, pc, out);
    if (kind != CG_RULE_OK)
        eh_reset(out);
    out->kind = kind;
    out->signal_frame = cie.signal_frame && kind != CG_RULE_NONE;
    return kind;
}
