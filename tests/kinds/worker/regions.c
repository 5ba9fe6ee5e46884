/* Records are mapped. */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/mman.h>
#include "work.h"

#define RECORD (64u << 10)

static char *kept;

__attribute__((noinline)) char *make_record(size_t size, int mark)
{
	char *record = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); /* planted */
	if (record == MAP_FAILED) return NULL;
	record[0] = record[size - 1] = (char)mark;
	return record;
}

void lose(void) { kept = make_record(RECORD, 1); }

void give_back(void)
{
	if (kept != NULL) munmap(kept, RECORD);
	kept = NULL;
}

int churn(int rounds)
{
	int good = 1;
	for (int i = 0; i < rounds; i++) {
		char *one = make_record(RECORD, i & 127);
		if (one == NULL) return 0;
		good &= one[0] == (char)(i & 127);
		good &= munmap(one, RECORD) == 0;
	}
	return good;
}

void use(void) { churn(3); }
