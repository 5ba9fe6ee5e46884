// Package algo is the worker's door to its algorithm module, which is written in C and C++.
package algo

/*
// The module is free of warnings with -Wall -Wextra; what cgo generates around it is not.
#cgo CFLAGS: -std=c11 -D_GNU_SOURCE -O2 -fomit-frame-pointer -g
#cgo CXXFLAGS: -std=c++17 -D_GNU_SOURCE -O2 -fomit-frame-pointer -g
#cgo LDFLAGS: -ldl -lpthread
#include <stdlib.h>
#include <string.h>
#include "hammer.h"
#include "keep.h"
#include "plugin.h"
#include "thumb.h"
*/
import "C"

import (
	"errors"
	"sync/atomic"
	"unsafe"
)

// ErrNoPicture says that a body holds nothing to make a thumbnail of.
var ErrNoPicture = errors.New("no picture in the body")

// Thumbnail is what came of one picture.
type Thumbnail struct {
	PGM           []byte
	Width, Height int
	Mean          int
}

// pictures counts the calls of goPictureDone.
var pictures atomic.Uint64

// Process makes a thumbnail. seq numbers the pictures: the faults go by it. churn is how many times over the picture is blurred, each
// time with about a hundred short-lived C blocks.
func Process(body []byte, seq uint64, churn int) (Thumbnail, error) {
	if len(body) == 0 {
		return Thumbnail{}, ErrNoPicture
	}
	var r C.struct_thumb_result
	at := (*C.uint8_t)(unsafe.Pointer(&body[0]))
	if C.thumb_process(at, C.size_t(len(body)), C.uint64_t(seq), C.uint(churn), &r) != 0 {
		return Thumbnail{}, ErrNoPicture
	}
	defer C.thumb_result_free(&r)
	return Thumbnail{
		PGM:   C.GoBytes(unsafe.Pointer(r.data), C.int(r.len)),
		Width: int(r.w), Height: int(r.h), Mean: int(r.mean),
	}, nil
}

// goPictureDone is called by C in the middle of Process, and calls C again.
//
//export goPictureDone
func goPictureDone(seq C.uint64_t, mean C.uint) {
	pictures.Add(1)
	C.annotate(seq, mean)
}

// Caption hands a text to C, which has no use for it any more. With leak, the C copy is never freed.
func Caption(text string, leak bool) int {
	c := C.CString(text)
	goCounts.cstring.alloc(len(text) + 1)
	n := int(C.strlen(c))
	if !leak {
		goCounts.cstring.free(len(text) + 1)
		C.free(unsafe.Pointer(c))
	}
	return n
}

// SessionTick leaves one small C block behind for good.
func SessionTick() { C.session_tick() }

// Storm lets threads of C allocate many blocks at once and free all but one in keepEvery. It returns when they have ended.
func Storm(threads, blocks, bytes, keepEvery int) {
	C.storm_run(C.uint(threads), C.uint(blocks), C.size_t(bytes), C.uint(keepEvery))
}

// LoadPlugin loads the watermark library; later pictures go through it.
func LoadPlugin(path string) error {
	c := C.CString(path)
	goCounts.cstring.alloc(len(path) + 1)
	defer C.free(unsafe.Pointer(c))
	defer goCounts.cstring.free(len(path) + 1)
	if why := C.plugin_load(c); why != nil {
		return errors.New(C.GoString(why))
	}
	return nil
}

// Hammer makes pairs of malloc and free on the calling thread, below depth C frames more; one block in keepEvery stays outstanding
// (0: none). It returns the nanoseconds that took.
func Hammer(pairs uint64, depth int, keepEvery uint64) uint64 {
	return uint64(C.hammer_run(C.uint64_t(pairs), C.uint(depth), C.uint64_t(keepEvery)))
}

// HammerRelease frees what Hammer has kept.
func HammerRelease() { C.hammer_release() }
