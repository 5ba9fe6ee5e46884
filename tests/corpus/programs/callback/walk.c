#include <stdlib.h>

#include "_cgo_export.h"

void *note_new(int n) { return malloc((size_t)n); }

void walk(int n)
{
    for (int i = 0; i < n; i++)
        goVisit(i);
}
