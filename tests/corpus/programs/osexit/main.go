// os.Exit in the middle: deferred calls do not run, which is no leak; what was lost before is one.
package main

/*
#include <stdlib.h>
static void *session_new(void) { return malloc(300); }
static void *scratch_new(void) { return malloc(70); }
static void touch(void *p) { *(volatile char *)p = 1; }
*/
import "C"

import "os"

func step(careful bool) {
	s := C.scratch_new()
	C.touch(s)
	if careful {
		C.free(s)
	}
}

func run() {
	session := C.session_new()
	defer C.free(session)
	for i := 0; i < 200; i++ {
		step(os.Args[1] == "clean")
	}
	C.touch(session)
	os.Exit(0)
}

func main() { run() }
