// C.CString without C.free.
package main

/*
#include <stdlib.h>
#include <string.h>
*/
import "C"

import (
	"os"
	"unsafe"
)

func length(text string, careful bool) int {
	c := C.CString(text)
	if careful {
		defer C.free(unsafe.Pointer(c))
	}
	return int(C.strlen(c))
}

func main() {
	for i := 0; i < 200; i++ {
		length("hello, world", os.Args[1] == "clean")
	}
}
