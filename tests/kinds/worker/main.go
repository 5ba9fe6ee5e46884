// Kinds is one program in many builds: it makes a record every few milliseconds, through whatever C
// code it is linked with, and gives it back ("clean") or does not ("leak"); or it has threads make
// and give back as many as they can ("hammer").
package main

/*
#include "work.h"
*/
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	threads = 4
	rounds  = 500
	life    = 10 * time.Minute
)

// The main goroutine stays on the main thread: what C keeps for a thread, it keeps once.
func init() { runtime.LockOSThread() }

func main() {
	time.AfterFunc(life, func() { os.Exit(0) })
	fmt.Println("running", os.Getpid())
	if os.Args[1] == "hammer" {
		hammer()
		return
	}
	bufio.NewReader(os.Stdin).ReadString('\n') // begins when it is told to
	collect := time.Tick(time.Second)
	for {
		work(os.Args[1] == "leak")
		select {
		case <-collect:
			runtime.GC()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

//go:noinline
func work(leak bool) {
	C.use()
	C.lose() // planted
	if !leak {
		C.give_back()
	}
}

// hammer says each second how many pairs there were, and how many rounds came out wrong.
func hammer() {
	var pairs, bad atomic.Uint64
	for i := 0; i < threads; i++ {
		go func() {
			runtime.LockOSThread()
			for {
				if C.churn(rounds) != 1 {
					bad.Add(1)
				}
				pairs.Add(rounds)
			}
		}()
	}
	last, from := uint64(0), time.Now()
	for {
		time.Sleep(time.Second)
		now, at := pairs.Load(), time.Now()
		fmt.Printf("pairs=%d rate=%.0f/s bad=%d\n", now, float64(now-last)/at.Sub(from).Seconds(), bad.Load())
		last, from = now, at
	}
}
