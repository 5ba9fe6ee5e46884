// A C++ object with members is not deleted.
package main

// #include "layer.h"
import "C"

import "os"

func render(careful C.int) { C.draw(32, careful) }

func main() {
	careful := C.int(0)
	if os.Args[1] == "clean" {
		careful = 1
	}
	for i := 0; i < 200; i++ {
		render(careful)
	}
}
