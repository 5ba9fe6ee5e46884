/* Records are threads that end at once, and are joined or not. */
#include <pthread.h>
#include <stdint.h>
#include "work.h"

#define STACK (128u << 10)

static pthread_t kept;
static int is_kept;

static void *run(void *mark) { return (void *)((uintptr_t)mark + 1); }

__attribute__((noinline)) int make_record(pthread_t *made, int mark)
{
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	int failed = pthread_create(made, &attributes, run, (void *)(uintptr_t)mark); /* planted */
	pthread_attr_destroy(&attributes);
	return !failed;
}

void lose(void) { is_kept = make_record(&kept, 1); }

void give_back(void)
{
	if (is_kept) pthread_join(kept, NULL);
	is_kept = 0;
}

int churn(int rounds)
{
	int good = 1;
	for (int i = 0; i < rounds / 25 + 1; i++) {
		pthread_t one;
		void *result = NULL;
		if (!make_record(&one, i)) return 0;
		good &= pthread_join(one, &result) == 0 && (uintptr_t)result == (uintptr_t)i + 1;
	}
	return good;
}

void use(void) { churn(1); }
