// A Go map of C objects is a cache; the leak deletes entries without freeing them.
package main

/*
#include <stdlib.h>
static void *handle_new(void) { return malloc(80); }
*/
import "C"

import (
	"os"
	"runtime"
	"unsafe"
)

type handle struct{ p unsafe.Pointer }

var open = map[int]*handle{}

func lookup(key int) *handle {
	h := open[key]
	if h == nil {
		h = &handle{C.handle_new()}
		open[key] = h
	}
	return h
}

func main() {
	for i := 0; i < 300; i++ {
		lookup(i)
		if i >= 32 && os.Args[1] == "leak" {
			delete(open, i-32)
		}
	}
	runtime.KeepAlive(open)
}
