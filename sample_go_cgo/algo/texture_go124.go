//go:build go1.24

package algo

/*
#include "counters.h"
#include "keep.h"
*/
import "C"

import "runtime"

// NewTextureWithCleanup makes a texture whose C block is freed by a cleanup, some time after a GC has found it unreachable.
func NewTextureWithCleanup(bytes int) (*Texture, error) {
	t := &Texture{C.texture_new(C.size_t(bytes)), bytes}
	runtime.AddCleanup(t, freeTexture, t.c)
	return t, nil
}

func freeTexture(c *C.struct_texture) { C.texture_free(c) }

// HasCleanups says whether this Go has runtime.AddCleanup.
const HasCleanups = true
