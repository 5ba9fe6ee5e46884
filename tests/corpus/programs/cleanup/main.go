//go:build go1.24

// C memory behind Go objects with runtime.AddCleanup.
package main

/*
#include <stdlib.h>
static void *page_new(void) { return malloc(256); }
*/
import "C"

import (
	"os"
	"runtime"
	"unsafe"
)

type page struct{ data unsafe.Pointer }

func open(clean bool) *page {
	p := &page{C.page_new()}
	if clean {
		runtime.AddCleanup(p, func(data unsafe.Pointer) { C.free(data) }, p.data)
	}
	return p
}

var last *page

func main() {
	for i := 0; i < 200; i++ {
		last = open(os.Args[1] == "clean")
	}
	last = nil
}
