/* Records are handles of a library. */
#include <stddef.h>
#include "handles.h"
#include "work.h"

static struct handle *kept;

__attribute__((noinline)) struct handle *make_record(int mark)
{
	struct handle *made = handle_open(mark); /* planted */
	__asm__ volatile("" : "+r"(made));
	return made;
}

void lose(void) { kept = make_record(1); }

void give_back(void)
{
	handle_close(kept);
	kept = NULL;
}

int churn(int rounds)
{
	int good = 1;
	for (int i = 0; i < rounds; i++) {
		struct handle *one = make_record(i);
		good &= one != NULL && handle_mark(one) == i;
		handle_close(one);
	}
	return good;
}

void use(void) { churn(10); }
