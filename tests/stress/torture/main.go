// Torture does in one process what a measured process may do to a probe: every mode checks itself
// and prints a line a second, "mode=M rounds=N bad=N pairs=N kept=N/N handled=N".
package main

/*
#cgo CFLAGS: -std=gnu11 -O2 -g -fomit-frame-pointer
#cgo CXXFLAGS: -O2 -g
#cgo LDFLAGS: -ldl -lpthread
#include <stdlib.h>
#include "torture.h"
*/
import "C"

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var (
	rounds, bad atomic.Uint64
	ways        atomic.Uint64
	library     = flag.String("library", "", "the plugin, for the mode dlopen")
	duration    = flag.Duration("duration", 2*time.Minute, "end after this long at the latest")
	workers     = flag.Int("workers", 2, "goroutines that do it at a time")
)

//export goCallback
func goCallback(depth C.int) C.int {
	garbage := make([]byte, 100+int(depth)*1000)
	garbage[0] = 1
	if depth > 0 {
		return C.call_back(depth - 1)
	}
	return C.churn(2)
}

// grow makes the goroutine's stack move, calls into C at its end and on the way back.
//
//go:noinline
func grow(depth int) bool {
	var room [256]byte
	room[depth&255] = 1
	if depth > 0 {
		return grow(depth-1) && room[depth&255] == 1 && (depth%16 != 0 || C.churn(1) == 1)
	}
	return C.churn(2) == 1
}

func once(self string) func() bool {
	ok := func(result C.int) bool { return result == 1 }
	path := C.CString(*library)
	me := C.CString(self)
	return map[string]func() bool{
		"churn": func() bool { return ok(C.churn(200)) },
		"fork":  func() bool { return ok(C.fork_and_exit(50)) },
		"spawn": func() bool { return ok(C.fork_and_exec(me)) },
		"goexec": func() bool {
			out, err := exec.Command(self, "-mode", "child").Output()
			return err != nil && len(out) == 0 && C.churn(2) == 1
		},
		"dlopen":   func() bool { return ok(C.open_and_close(path)) },
		"threads":  func() bool { return ok(C.threads_once(32)) },
		"throw":    func() bool { return ok(C.throw_and_catch(20)) },
		"jump":     func() bool { return ok(C.jump_out(40)) },
		"deep":     func() bool { return ok(C.recurse(400)) },
		"callback": func() bool { return ok(C.call_back(5)) },
		"profile":  func() bool { return ok(C.churn(100)) },
		"handler":  func() bool { return ok(C.churn(100)) },
		"gc": func() bool {
			done := make(chan bool)
			go func() { done <- grow(300) }()
			garbage := make([][]byte, 0, 64)
			for i := 0; i < 64; i++ {
				garbage = append(garbage, make([]byte, 10000))
			}
			return <-done && len(garbage) == 64
		},
		"full": func() bool {
			// 2^18 stacks, and now and then 20,000 mappings: twice the one, and more than the other table holds.
			first := ways.Add(64)
			good := first%(1<<15) != 0 || C.map_and_unmap(20000) == 1
			for way := first; way < first+64; way++ {
				good = good && C.by_way(C.uint(way&(1<<18-1)), 18) == 1
			}
			return good
		},
		"kept": func() bool {
			ok := C.keep_block(C.ulong(100)) != nil && C.churn(5) == 1
			time.Sleep(time.Millisecond)
			return ok
		},
	}[chosen]
}

var chosen string

func main() {
	mode := flag.String("mode", "churn", "what to do")
	flag.Parse()
	chosen = *mode
	if *mode == "child" {
		if C.churn(20) == 1 {
			os.Exit(42)
		}
		os.Exit(1)
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	switch *mode {
	case "profile":
		out, err := os.CreateTemp("", "torture")
		if err != nil {
			panic(err)
		}
		os.Remove(out.Name())
		runtime.SetCPUProfileRate(1000)
		if err := pprof.StartCPUProfile(out); err != nil {
			panic(err)
		}
		if C.start_profiling_timer(1000) != 1 {
			panic("no timer")
		}
	case "handler":
		if C.start_timer(1000, 1) != 1 {
			panic("no timer")
		}
	case "gc":
		debug.SetGCPercent(5)
		go func() {
			for {
				runtime.GC()
			}
		}()
	case "exit", "crash", "abort", "exec":
		go end(*mode, self)
		chosen = "churn"
	}
	if *mode == "asked" {
		asked()
		return
	}
	do := once(self)
	if do == nil {
		fmt.Fprintln(os.Stderr, "no such mode:", *mode)
		os.Exit(2)
	}
	fmt.Printf("torture pid=%d\n", os.Getpid())
	for i := 0; i < *workers; i++ {
		go func() {
			for {
				if !do() {
					bad.Add(1)
				}
				rounds.Add(1)
			}
		}()
	}
	end := time.Now().Add(*duration)
	for time.Now().Before(end) {
		time.Sleep(time.Second)
		say(*mode)
	}
}

// asked keeps as many blocks as each line of standard input says, from several threads, makes pairs
// besides, says what it did, and allocates nothing in between.
func asked() {
	done := make(chan bool)
	ask := make(chan int)
	for i := 0; i < *workers; i++ {
		go func() {
			runtime.LockOSThread()
			for n := range ask {
				good := C.churn(C.int(n)) == 1
				for k := 0; k < n; k++ {
					good = good && C.keep_block(100) != nil
				}
				done <- good
			}
		}()
	}
	fmt.Printf("torture pid=%d\n", os.Getpid())
	var n int
	for {
		if _, err := fmt.Scanln(&n); err != nil {
			return
		}
		for i := 0; i < *workers; i++ {
			ask <- n
		}
		for i := 0; i < *workers; i++ {
			if !<-done {
				bad.Add(1)
			}
		}
		say("asked")
	}
}

func say(mode string) {
	fmt.Printf("mode=%s rounds=%d bad=%d pairs=%d kept=%d/%d handled=%d\n", mode, rounds.Load(), bad.Load(),
		uint64(C.pairs), uint64(C.kept_blocks), uint64(C.kept_bytes), uint64(C.handled()))
}

// end waits for a line that says in how many milliseconds it is to end.
func end(mode, self string) {
	var n int
	if _, err := fmt.Scanln(&n); err != nil {
		return
	}
	time.Sleep(time.Duration(n) * time.Millisecond)
	switch mode {
	case "exit":
		os.Exit(0)
	case "crash":
		*(*int)(unsafe.Pointer(uintptr(8))) = 1
	case "abort":
		C.raise_signal(C.int(syscall.SIGABRT))
	case "exec":
		if err := syscall.Exec(self, []string{self, "-mode", "churn", "-duration", "20s"}, os.Environ()); err != nil {
			panic(err)
		}
	}
}
