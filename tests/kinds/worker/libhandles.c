/* A library whose handles come from a table of its own: no block is made for them. */
#include <pthread.h>
#include <stddef.h>
#include "handles.h"

#define ALL 100000

struct handle {
	int mark, used;
};

static struct handle table[ALL];
static int next;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct handle *handle_open(int mark)
{
	struct handle *found = NULL;
	pthread_mutex_lock(&lock);
	for (int tried = 0; tried < ALL && found == NULL; tried++) {
		next = (next + 1) % ALL;
		if (!table[next].used) found = &table[next];
	}
	if (found != NULL) *found = (struct handle){mark, 1};
	pthread_mutex_unlock(&lock);
	return found;
}

int handle_mark(const struct handle *one) { return one->mark; }

void handle_close(struct handle *one)
{
	if (one == NULL) return;
	pthread_mutex_lock(&lock);
	one->used = 0;
	pthread_mutex_unlock(&lock);
}
