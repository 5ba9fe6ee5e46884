// One single block, lost for good: no growth to be seen.
package main

/*
#include <stdlib.h>
static void *config_new(void) { return calloc(1, 500); }
static void use(void *p) { *(char *)p = 1; }
*/
import "C"

import (
	"os"
	"unsafe"
)

//go:noinline
func load(careful bool) {
	p := C.config_new()
	C.use(p)
	if careful {
		C.free(unsafe.Pointer(p))
	}
}

//go:noinline
func busy(n int) int {
	var room [256]int
	for i := range room {
		room[i] = n + i
	}
	return room[n%256]
}

func main() {
	load(os.Args[1] == "clean")
	for i := 0; i < 100; i++ {
		busy(i)
	}
}
