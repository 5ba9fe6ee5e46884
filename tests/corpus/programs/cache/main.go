// A cache in C fills and then replaces its entries; the leak forgets those that it replaces.
package main

/*
#include <stdlib.h>
#define SLOTS 64
static char *entries[SLOTS];
static void cache_put(unsigned key, int careful)
{
    char *entry = malloc(100 + key % 50);
    entry[0] = (char)key;
    if (careful)
        free(entries[key % SLOTS]);
    entries[key % SLOTS] = entry;
}
*/
import "C"

import "os"

func remember(key int, careful C.int) { C.cache_put(C.uint(key), careful) }

func main() {
	careful := C.int(0)
	if os.Args[1] == "clean" {
		careful = 1
	}
	for i := 0; i < 500; i++ {
		remember(i, careful)
	}
}
