// Keeps some of libvips' images and gives others up, as a test says.
package main

// #cgo pkg-config: vips
// #include <vips/vips.h>
// static VipsImage *black(int size) { VipsImage *out = NULL; return vips_black(&out, size, size, NULL) == 0 ? out : NULL; }
// static VipsImage *thumbnail(void *jpeg, size_t length, int width) {
//   VipsImage *out = NULL;
//   return vips_thumbnail_buffer(jpeg, length, &out, width, NULL) == 0 ? out : NULL;
// }
// static void *jpeg_of(VipsImage *in, size_t *length) { void *found = NULL; return vips_jpegsave_buffer(in, &found, length, NULL) == 0 ? found : NULL; }
// static void unref(void *one) { g_object_unref(one); }
// static int init(void) { return vips_init("work"); }
import "C"

import (
	"unsafe"

	"example.org/obey"
)

var kept []*C.VipsImage
var jpeg unsafe.Pointer
var length C.size_t

func keepMemory() { kept = append(kept, C.vips_image_new_memory()) }

func giveUpMemory() { C.unref(unsafe.Pointer(C.vips_image_new_memory())) }

func keepBlack() { kept = append(kept, C.black(64)) }

func giveUpBlack() { C.unref(unsafe.Pointer(C.black(64))) }

func keepReferences() {
	one := C.vips_image_new_memory()
	C.g_object_ref(C.gpointer(one))
	C.unref(unsafe.Pointer(one))
}

func thumbnails() { C.unref(unsafe.Pointer(C.thumbnail(jpeg, length, 32))) }

func keepThumbnails() { kept = append(kept, C.thumbnail(jpeg, length, 32)) }

func main() {
	if C.init() != 0 {
		panic("vips")
	}
	in := C.black(256)
	jpeg = C.jpeg_of(in, &length)
	C.unref(unsafe.Pointer(in))
	thumbnails()
	obey.Lines(map[string]func(int){
		"keepMemory": obey.Each(keepMemory), "giveUpMemory": obey.Each(giveUpMemory),
		"keepBlack": obey.Each(keepBlack), "giveUpBlack": obey.Each(giveUpBlack),
		"keepReferences": obey.Each(keepReferences),
		"thumbnails":     obey.Each(thumbnails), "keepThumbnails": obey.Each(keepThumbnails),
		"noCache": func(int) { C.vips_cache_set_max(0) },
	})
}
