// C memory behind Go objects: with a finalizer it waits for the GC, without one it is lost.
package main

/*
#include <stdlib.h>
static void *texture_new(void) { return malloc(256); }
*/
import "C"

import (
	"os"
	"runtime"
	"unsafe"
)

type texture struct {
	name string
	data unsafe.Pointer
}

func open(finalize bool) *texture {
	t := &texture{"texture", C.texture_new()}
	if finalize {
		runtime.SetFinalizer(t, func(t *texture) { C.free(t.data) })
	}
	return t
}

var last *texture

func main() {
	for i := 0; i < 200; i++ {
		last = open(os.Args[1] == "clean")
	}
	last = nil
}
