// C calls Go, and Go calls C, which allocates.
package main

/*
#include <stdlib.h>
void walk(int n);
void *note_new(int n);
*/
import "C"

import "os"

//export goVisit
func goVisit(n C.int) {
	note := C.note_new(n + 40)
	if os.Args[1] == "clean" {
		C.free(note)
	}
}

func main() {
	C.walk(200)
}
