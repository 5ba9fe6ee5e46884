package algo

/*
#include "counters.h"
#include "plugin.h"
*/
import "C"

import "sync/atomic"

// Count is what one allocating function has done so far. Blocks and Bytes are outstanding.
type Count struct {
	Allocs     uint64 `json:"allocs"`
	AllocBytes uint64 `json:"alloc_bytes"`
	Frees      uint64 `json:"frees"`
	FreeBytes  uint64 `json:"free_bytes"`
	Blocks     int64  `json:"blocks"`
	Bytes      int64  `json:"bytes"`
}

// tally counts the allocations that Go code makes through cgo's own helpers.
type tally struct{ allocs, allocBytes, frees, freeBytes atomic.Uint64 }

func (t *tally) alloc(n int) { t.allocs.Add(1); t.allocBytes.Add(uint64(n)) }
func (t *tally) free(n int)  { t.frees.Add(1); t.freeBytes.Add(uint64(n)) }

var goCounts struct{ cstring tally }

func count(allocs, allocBytes, frees, freeBytes uint64) Count {
	return Count{
		allocs, allocBytes, frees, freeBytes,
		int64(allocs - frees), int64(allocBytes - freeBytes),
	}
}

func countOfC(c C.struct_counts) Count {
	return count(uint64(c.allocs), uint64(c.alloc_bytes), uint64(c.frees), uint64(c.free_bytes))
}

// Counts returns the counts of every allocating function that was ever called, by its name. They are exact once nothing runs; in the
// middle of the traffic the functions are read one after the other.
func Counts() map[string]Count {
	all := map[string]Count{}
	t := &goCounts.cstring
	frees, freeBytes := t.frees.Load(), t.freeBytes.Load()
	all["C.CString"] = count(t.allocs.Load(), t.allocBytes.Load(), frees, freeBytes)
	for at := C.int(0); ; at++ {
		name := C.counted_name(at)
		if name == nil {
			break
		}
		all[C.GoString(name)] = countOfC(C.counted_read(at))
	}
	var c C.struct_counts
	for at := C.int(0); ; at++ {
		name := C.plugin_counted(at, &c)
		if name == nil {
			break
		}
		all[C.GoString(name)] = countOfC(c)
	}
	for name, c := range all {
		if c.Allocs == 0 {
			delete(all, name)
		}
	}
	return all
}
