/* A whole malloc to be linked into a program: blocks of powers of two, cut from mappings of a
 * mebibyte and kept in a list per size, below one lock. Slow, and easy to see through. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define LEAST 5u
#define CLASSES 40u
#define PIECE ((size_t)1 << 20)

#ifdef PRIVATE_MALLOC
#pragma GCC visibility push(hidden)
#endif

struct free_block {
	struct free_block *next;
};

/* Lies before each block. */
struct head {
	char *start;
	uint32_t class;
	uint32_t spare;
};

static struct free_block *lists[CLASSES];
static char *rest;
static size_t left;
static atomic_flag lock = ATOMIC_FLAG_INIT;

static void take_lock(void) {
	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) sched_yield();
}

static void give_lock(void) { atomic_flag_clear_explicit(&lock, memory_order_release); }

static void *more(size_t size) {
	size_t piece = size > PIECE ? size : PIECE;
	void *got = mmap(NULL, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (got == MAP_FAILED) return NULL;
	rest = got;
	left = piece;
	return got;
}

static char *cut(uint32_t class) {
	size_t size = (size_t)1 << class;
	struct free_block *kept = lists[class];
	if (kept != NULL) {
		lists[class] = kept->next;
		return (char *)kept;
	}
	if (left < size && more(size) == NULL) return NULL;
	char *got = rest;
	rest += size;
	left -= size;
	return got;
}

static void *place(size_t alignment, size_t size) {
	if (alignment < 16) alignment = 16;
	size_t whole = size + alignment + sizeof(struct head);
	uint32_t class = LEAST;
	while (class < CLASSES && (size_t)1 << class < whole) class++;
	if (class == CLASSES || whole < size) {
		errno = ENOMEM;
		return NULL;
	}
	take_lock();
	char *start = cut(class);
	give_lock();
	if (start == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	uintptr_t at = ((uintptr_t)start + sizeof(struct head) + alignment - 1) & ~(alignment - 1);
	struct head *head = (struct head *)at - 1;
	head->start = start;
	head->class = class;
	return (void *)at;
}

void *malloc(size_t size) { return place(16, size); }

void free(void *block) {
	if (block == NULL) return;
	struct head head = ((struct head *)block)[-1];
	struct free_block *kept = (struct free_block *)head.start;
	take_lock();
	kept->next = lists[head.class];
	lists[head.class] = kept;
	give_lock();
}

void *calloc(size_t count, size_t size) {
	size_t whole;
	if (__builtin_mul_overflow(count, size, &whole)) {
		errno = ENOMEM;
		return NULL;
	}
	void *block = malloc(whole); /* a call of its own: no business of whoever counts calls */
	__asm__ volatile("" : "+r"(block)); /* or compilers make one call of calloc of these two */
	return block == NULL ? NULL : memset(block, 0, whole);
}

void *realloc(void *block, size_t size) {
	if (block == NULL) return malloc(size);
	struct head head = ((struct head *)block)[-1];
	size_t room = (size_t)(head.start + ((size_t)1 << head.class) - (char *)block);
	if (size <= room) return block;
	void *moved = malloc(size);
	if (moved != NULL) {
		memcpy(moved, block, room);
		free(block);
	}
	return moved;
}

int posix_memalign(void **block, size_t alignment, size_t size) {
	int before = errno;
	void *got = place(alignment, size);
	errno = before;
	if (got == NULL) return ENOMEM;
	*block = got;
	return 0;
}

void *aligned_alloc(size_t alignment, size_t size) { return place(alignment, size); }
void *memalign(size_t alignment, size_t size) { return place(alignment, size); }
