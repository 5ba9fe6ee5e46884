// A buffer that realloc enlarges is replaced by the next one.
package main

/*
#include <stdlib.h>
#include <string.h>
static char *buffer;
static void collect(int parts, int careful)
{
    char *grown = NULL;
    for (int i = 1; i <= parts; i++) {
        grown = realloc(grown, (size_t)i * 64);
        memset(grown + (i - 1) * 64, i, 64);
    }
    if (careful)
        free(buffer);
    buffer = grown;
}
*/
import "C"

import "os"

func gather(careful C.int) { C.collect(8, careful) }

func main() {
	careful := C.int(0)
	if os.Args[1] == "clean" {
		careful = 1
	}
	for i := 0; i < 200; i++ {
		gather(careful)
	}
}
