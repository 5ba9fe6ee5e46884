// The program dies of SIGSEGV in C; what it had lost until then is a leak all the same.
package main

/*
#include <stdlib.h>
static void *frame_new(void) { return malloc(128); }
static void *held;
static void hold(void) { held = malloc(64); }
static void crash(void) { *(volatile int *)8 = 1; }
*/
import "C"

import "os"

func decode(careful bool) {
	f := C.frame_new()
	if careful {
		C.free(f)
	}
}

func main() {
	C.hold()
	for i := 0; i < 200; i++ {
		decode(os.Args[1] == "clean")
	}
	C.crash()
}
