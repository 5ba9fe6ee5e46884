package algo

// #include "fault.h"
import "C"

var faults = map[string]C.enum_fault{
	"c-leak":        C.FAULT_C_LEAK,
	"cpp-leak":      C.FAULT_CPP_LEAK,
	"realloc-leak":  C.FAULT_REALLOC_LEAK,
	"callback-leak": C.FAULT_CALLBACK_LEAK,
	"thread-leak":   C.FAULT_THREAD_LEAK,
	"dlopen-leak":   C.FAULT_DLOPEN_LEAK,
	"aligned-leak":  C.FAULT_ALIGNED_LEAK,
	"strdup-leak":   C.FAULT_STRDUP_LEAK,
	"mmap-leak":     C.FAULT_MMAP_LEAK,
	"cache-fills":   C.FAULT_CACHE_FILLS,
	"pool":          C.FAULT_POOL,
	"restart":       C.FAULT_RESTART,
}

// SwitchOn switches a fault of the C module on; false when it has none of that name.
func SwitchOn(fault string) bool {
	f, known := faults[fault]
	if known {
		C.fault_switch_on(f)
	}
	return known
}
