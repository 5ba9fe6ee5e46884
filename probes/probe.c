/* One translation unit, so that a hook is one function after inlining. */
#include "state.h"

/* The compiler may make calls to these out of plain code. */
__attribute__((used, visibility("hidden"))) void *memcpy(void *to, const void *from, size_t size)
{
    char *d = to;
    const char *s = from;
    while (size--)
        *d++ = *s++;
    return to;
}

__attribute__((used, visibility("hidden"))) void *memset(void *to, int value, size_t size)
{
    char *d = to;
    while (size--)
        *d++ = (char)value;
    return to;
}

#include "ehframe.c"
#include "sample.c"
#include "tables.c"
#include "unwind.c"
#include "hooks.c"
#include "pairs.c"
#include "control.c"
#include "borrow.c"
#include "scan.c"
