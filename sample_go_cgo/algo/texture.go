package algo

/*
#include "counters.h"
#include "keep.h"
*/
import "C"

import (
	"errors"
	"runtime"
)

// ErrNoCleanups says that this Go has no runtime.AddCleanup.
var ErrNoCleanups = errors.New("runtime.AddCleanup needs Go 1.24")

// Texture is a Go object that owns a C block.
type Texture struct {
	c     *C.struct_texture
	bytes int
}

// NewTexture makes a texture whose C block is freed by a finalizer, some time after a GC has found it unreachable.
func NewTexture(bytes int) *Texture {
	t := &Texture{C.texture_new(C.size_t(bytes)), bytes}
	runtime.SetFinalizer(t, (*Texture).finalize)
	return t
}

func (t *Texture) finalize() { C.texture_free(t.c) }

// Bytes is the size of the texture.
func (t *Texture) Bytes() int { return t.bytes }
