// What strdup and asprintf return belongs to the caller.
package main

/*
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static size_t title(int n, int careful)
{
    char *made = NULL;
    if (asprintf(&made, "picture %d", n) < 0)
        return 0;
    char *copy = strdup(made);
    size_t length = strlen(copy);
    free(made);
    if (careful)
        free(copy);
    return length;
}
*/
import "C"

import "os"

func describe(n int, careful C.int) { C.title(C.int(n), careful) }

func main() {
	careful := C.int(0)
	if os.Args[1] == "clean" {
		careful = 1
	}
	for i := 0; i < 200; i++ {
		describe(i, careful)
	}
}
