/* Records are made by a library that is loaded when the first is wanted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include "work.h"

static void (*lose_there)(void), (*give_back_there)(void), (*use_there)(void);
static int (*churn_there)(int);

static void load(void)
{
	void *library = dlopen("libwork.so", RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) abort();
	lose_there = (void (*)(void))dlsym(library, "lose");
	give_back_there = (void (*)(void))dlsym(library, "give_back");
	use_there = (void (*)(void))dlsym(library, "use");
	churn_there = (int (*)(int))dlsym(library, "churn");
}

static void loaded(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, load);
}

/* Nothing that comes after the call: compilers must not jump. */
void lose(void) { loaded(); lose_there(); __asm__ volatile(""); }
void give_back(void) { loaded(); give_back_there(); __asm__ volatile(""); }
void use(void) { loaded(); use_there(); __asm__ volatile(""); }
int churn(int rounds) { loaded(); return churn_there(rounds); }
