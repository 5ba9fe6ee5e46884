// An early return in C forgets a block.
package main

/*
#include <stdlib.h>
#include <string.h>
static int parse(const char *text, int careful)
{
    char *copy = malloc(strlen(text) + 1);
    strcpy(copy, text);
    if (copy[0] == '#') {
        if (careful)
            free(copy);
        return 0;
    }
    int n = (int)strlen(copy);
    free(copy);
    return n;
}
*/
import "C"

import (
	"os"
	"unsafe"
)

func count(text string, careful C.int) int {
	c := C.CString(text)
	defer C.free(unsafe.Pointer(c))
	return int(C.parse(c, careful))
}

func main() {
	careful := C.int(0)
	if os.Args[1] == "clean" {
		careful = 1
	}
	for i := 0; i < 200; i++ {
		count("# a comment", careful)
		count("a line", careful)
	}
}
