/* Hostile .eh_frame and .eh_frame_hdr: tables that are right but for a few bytes, between unreadable pages. */
#ifndef CGOLEAK_TEST_HOSTILE_H
#define CGOLEAK_TEST_HOSTILE_H

#include "ehframe.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROOM = 4096, MOST_FUNCTIONS = 6 };
static uint64_t hostile_seed;

static uint64_t rng(void) /* splitmix64: same numbers everywhere for a seed */
{
    uint64_t z = hostile_seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static unsigned below(unsigned n)
{
    return (unsigned)(rng() % n);
}

struct bytes {
    uint8_t at[ROOM];
    unsigned size;
};

static void emit(struct bytes *b, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes && b->size < ROOM; i++)
        b->at[b->size++] = (uint8_t)(value >> (8 * i));
}

static void patch32(struct bytes *b, unsigned at, uint64_t value)
{
    for (unsigned i = 0; i < 4 && at + i < ROOM; i++)
        b->at[at + i] = (uint8_t)(value >> (8 * i));
}

static void emit_string(struct bytes *b, const char *text)
{
    for (const char *c = text; *c; c++)
        emit(b, (uint8_t)*c, 1);
    emit(b, 0, 1);
}

/* Mostly right instructions, with registers and operands that matter to the code under test. */
static void emit_program(struct bytes *b)
{
    static const uint8_t registers[] = {6, 7, 6, 7, 6, 7, 3, 10, 16, 29, 30, 31};
    unsigned depth = 0, wild = below(3) ? 9 : 12; /* most programs hold no instruction that ends them */
    for (unsigned n = below(64) ? 0 : below(40); n > 0; n--)
        emit(b, 0x0a, 1);
    for (unsigned n = below(16); n > 0; n--) {
        uint64_t reg = registers[below(wild == 9 ? 7 : 12)];
        switch (below(wild)) {
        case 0: emit(b, 0x40 | below(16), 1); break;
        case 1: emit(b, 0x80 | reg, 1), emit(b, below(below(2) ? 40 : 3), 1); break;
        case 2: emit(b, 0xc0 | reg, 1); break;
        case 3: emit(b, 0x0a, 1), depth++; break;
        case 4: emit(b, depth > 0 || below(16) == 0 ? 0x0b : 0, 1), depth -= depth > 0; break;
        case 5: emit(b, 0x0c, 1), emit(b, reg, 1), emit(b, below(128), 1); break;
        case 6: emit(b, 0x0e, 1), emit(b, 0x80 | (rng() & 0x7fff), 2); break;
        case 7: /* a CFA expression: breg, deref, or the linker's */
            emit(b, 0x0f, 1);
            if (below(3) == 0)
                emit(b, 2, 1), emit(b, 0x76 + below(2), 1), emit(b, below(128), 1);
            else if (below(2))
                emit(b, 3, 1), emit(b, 0x70 + reg, 1), emit(b, below(128), 1), emit(b, 0x06, 1);
            else
                emit(b, 11, 1), emit(b, 0x77, 1), emit(b, below(128), 1), emit(b, 0x80, 1),
                    emit(b, UINT64_C(0x2224333b2a1a3f00), 8);
            break;
        case 8: emit(b, 0x10, 1), emit(b, reg, 1), emit(b, 2, 1), emit(b, 0x70 + reg, 1), emit(b, below(128), 1); break;
        case 9: emit(b, 0x02 + below(3), 1), emit(b, rng() & 0x0f, 1 + below(4)); break;
        case 10: emit(b, below(0x30), 1), emit(b, reg, 1), emit(b, rng(), below(9)); break;
        default: emit(b, rng(), below(9));
        }
    }
}

/* What the tables speak of. */
struct subject {
    uint64_t code;
    unsigned span;  /* bytes of code per function */
    unsigned frame; /* size of the frames that the functions really have; 0: of no one */
};

/* Right tables: one CIE, some FDEs, and the search table. */
static unsigned build(struct bytes *frame, struct bytes *hdr, uint64_t frame_at, uint64_t hdr_at, const struct subject *of)
{
    static const char *const augmentations[] = {"zR", "zPLR", "zRS", "zRB", "zRPL", "", "zRG", "eh", "zX"};
    static const uint8_t encodings[] = {0x1b, 0x1b, 0x1b, 0x1b, 0x00, 0x03, 0x0b, 0x10, 0x1c, 0x01, 0x50, 0x9b, 0xff};
    const char *augmentation = augmentations[below(3) ? 0 : below(9)];
    uint8_t encoding = *augmentation != 'z' ? 0 : below(3) ? 0x1b : encodings[below(13)];
    unsigned fdes[MOST_FUNCTIONS], functions = 1 + below(MOST_FUNCTIONS);

    emit(frame, 0, 8);
    emit(frame, below(8) ? 1 : below(6), 1);
    emit_string(frame, augmentation);
    emit(frame, 1, 1), emit(frame, 0x78, 1), emit(frame, below(8) ? 16 : 30, 1);
    if (*augmentation == 'z') {
        unsigned length = frame->size;
        emit(frame, 0, 1);
        for (const char *letter = augmentation + 1; *letter; letter++) {
            if (*letter == 'R')
                emit(frame, encoding, 1);
            else if (*letter == 'P')
                emit(frame, encodings[below(13)], 1), emit(frame, rng(), 4 + 4 * below(2));
            else if (*letter == 'L')
                emit(frame, 0x1b, 1);
        }
        frame->at[length] = (uint8_t)(frame->size - length - 1);
    }
    emit(frame, 0x0c, 1), emit(frame, 7, 1), emit(frame, 8, 1), emit(frame, 0x90, 1), emit(frame, 1, 1);
    patch32(frame, 0, frame->size - 4);
    for (unsigned i = 0; i < functions; i++) {
        unsigned start = fdes[i] = frame->size, wide = encoding == 0x00 || encoding == 0x1c || encoding == 0x10 ? 8 : 4;
        emit(frame, 0, 4);
        emit(frame, frame->size, 4);
        uint64_t field = frame_at + frame->size, pc = of->code + of->span * i;
        emit(frame, encoding & 0x10 ? pc - field : pc, wide), emit(frame, of->span, wide);
        if (*augmentation == 'z')
            emit(frame, 0, 1);
        if (of->frame)
            emit(frame, 0x0e, 1), emit(frame, of->frame, 1);
        if (!of->frame || below(4) == 0)
            emit_program(frame);
        patch32(frame, start, frame->size - start - 4);
    }
    if (below(4))
        emit(frame, 0, 4);

    emit(hdr, 1, 1), emit(hdr, 0x1b, 1), emit(hdr, 0x03, 1), emit(hdr, 0x3b, 1);
    emit(hdr, frame_at - hdr_at - 4, 4), emit(hdr, functions, 4);
    for (unsigned i = 0; i < functions; i++)
        emit(hdr, of->code + of->span * i - hdr_at, 4), emit(hdr, frame_at + fdes[i] - hdr_at, 4);
    return functions;
}

static void mutate(struct bytes *b)
{
    static const uint8_t evil[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe, 0x0f, 0x10};
    if (b->size == 0)
        return;
    if (below(2))
        return;
    for (unsigned n = below(6); n > 0; n--) {
        unsigned at = below(b->size);
        switch (below(4)) {
        case 0: b->at[at] = (uint8_t)rng(); break;
        case 1: b->at[at] ^= (uint8_t)(1u << below(8)); break;
        case 2: b->at[at] = evil[below(8)]; break;
        default: patch32(b, at, below(2) ? UINT64_C(0xffffffff) - below(16) : rng() & 0x1ff);
        }
    }
    if (below(4) == 0)
        b->size = below(b->size + 1);
}

/* One ROOM between two unreadable pages; the tables lie against the one or the other. */
static uint64_t guarded(uint64_t at)
{
    void *got = mmap((void *)(uintptr_t)at, 3 * ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != (void *)(uintptr_t)at || sysconf(_SC_PAGESIZE) > ROOM ||
        mprotect((void *)(uintptr_t)(at + ROOM), ROOM, PROT_READ | PROT_WRITE) != 0) {
        perror("no guarded room");
        exit(2);
    }
    return at + ROOM;
}

/* Tables in the two rooms, right ones damaged or none at all. Returns how many functions they may tell of. */
static unsigned any_tables(uint64_t frame_room, uint64_t hdr_room, const struct subject *of, struct cg_module *m)
{
    static struct bytes frame, hdr;
    frame.size = hdr.size = 0;
    bool left = below(2);
    unsigned functions = MOST_FUNCTIONS;
    /* Built twice when flush right, because the addresses in the tables depend on their sizes. */
    uint64_t state = hostile_seed, frame_at = frame_room, hdr_at = hdr_room;
    if (below(8) == 0) {
        frame.size = below(ROOM / 8), hdr.size = below(128);
        for (unsigned i = 0; i < frame.size; i++)
            frame.at[i] = (uint8_t)(below(3) ? rng() : rng() & 0x11);
        for (unsigned i = 0; i < hdr.size; i++)
            hdr.at[i] = (uint8_t)rng();
        if (hdr.size >= 4 && below(2))
            memcpy(hdr.at, "\x01\x1b\x03\x3b", 4);
    } else {
        functions = build(&frame, &hdr, frame_at, hdr_at, of);
        if (!left) {
            frame_at += ROOM - frame.size, hdr_at += ROOM - hdr.size;
            frame.size = hdr.size = 0;
            hostile_seed = state;
            (void)below(8);
            functions = build(&frame, &hdr, frame_at, hdr_at, of);
        }
        mutate(&frame), mutate(&hdr);
    }
    if (!left)
        frame_at = frame_room + ROOM - frame.size, hdr_at = hdr_room + ROOM - hdr.size;
    memcpy((void *)(uintptr_t)frame_at, frame.at, frame.size);
    memcpy((void *)(uintptr_t)hdr_at, hdr.at, hdr.size);
    *m = (struct cg_module){0, UINT64_MAX, hdr_at, hdr_at + hdr.size, frame_at, frame_at + frame.size};
    if (below(8) == 0)
        m->hdr = m->hdr_end = 0;
    else if (below(64) == 0)
        m->hdr_end = m->hdr - below(ROOM);
    if (below(64) == 0)
        m->frame_end = m->frame - below(ROOM);
    return functions;
}

#endif
