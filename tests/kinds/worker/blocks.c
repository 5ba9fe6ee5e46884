/* Records are blocks of whatever MALLOC is. */
#include <stdlib.h>
#include <string.h>
#include "work.h"

#ifndef MALLOC
#define MALLOC malloc
#define REALLOC realloc
#define FREE free
#else
void *MALLOC(size_t size);
void *REALLOC(void *block, size_t size);
void FREE(void *block);
#endif
#ifndef RECORD
#define RECORD 1000
#endif

static char *kept;

__attribute__((noinline)) char *make_record(size_t size, int mark)
{
	char *record = MALLOC(size); /* planted */
	if (record != NULL) memset(record, mark, size);
	return record;
}

void lose(void) { kept = make_record(RECORD, 1); }

void give_back(void)
{
	FREE(kept);
	kept = NULL;
}

static int is_whole(const char *record, size_t size, int mark)
{
	for (size_t at = 0; at < size; at += 61)
		if (record[at] != (char)mark) return 0;
	return record[size - 1] == (char)mark;
}

int churn(int rounds)
{
	int good = 1;
	for (int i = 0; i < rounds; i++) {
		size_t size = 16 + (size_t)(i * 37) % 900;
		char *one = make_record(size, i & 127), *other = make_record(size / 2 + 1, ~i & 127);
		if (one == NULL || other == NULL) return 0;
		good &= is_whole(one, size, i & 127);
		if (i % 8 == 0) {
			char *grown = REALLOC(one, size * 3);
			if (grown == NULL) return 0;
			good &= is_whole(grown, size, i & 127);
			one = grown;
		}
		good &= is_whole(other, size / 2 + 1, ~i & 127);
		FREE(other);
		FREE(one);
	}
	return good;
}

void use(void) { churn(10); }
