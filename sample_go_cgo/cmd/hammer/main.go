// Hammer keeps threads busy with malloc and free in C, and says once a second how fast they are.
//
// A line a second: "pairs=N rate=N/s ns/pair=X"; ns/pair is what a pair takes one thread, timed in C around blocks of pairs. The last
// line starts with "done" and is of the whole run; its best is the fastest block of any thread.
package main

/*
#cgo CFLAGS: -std=c11 -D_GNU_SOURCE -O2 -fomit-frame-pointer -g
#include "hammer.h"
*/
import "C"

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const block = 100_000 // pairs between two looks at the clock

type hammer struct {
	depth, frames int
	pairs, bytes  uint64
}

// progress of one thread, on a cache line of its own.
type progress struct {
	pairs, nanoseconds atomic.Uint64
	best               atomic.Uint64 // nanoseconds of the fastest full block; 0 before the first
	_                  [40]byte
}

// The main goroutine stays on the main thread, so that -main-in-c means what it says.
func init() { runtime.LockOSThread() }

func main() {
	log.SetFlags(0)
	log.SetPrefix("hammer: ")
	var h hammer
	threads := flag.Int("threads", 4, "how many")
	flag.IntVar(&h.depth, "depth", 3, "C frames more")
	flag.IntVar(&h.frames, "frames", 0, "Go frames more")
	flag.Uint64Var(&h.pairs, "pairs", 0, "end each thread after so many (0: never)")
	flag.Uint64Var(&h.bytes, "bytes", 0, "size of the blocks (0: a mix)")
	mainInC := flag.Bool("main-in-c", false, "the main thread allocates as well, and is hardly ever outside C")
	duration := flag.Duration("duration", 10*time.Minute, "end after this long at the latest")
	flag.Parse()
	if *threads < 0 || *threads > 1000 || h.depth < 0 || h.frames < 0 || flag.NArg() > 0 {
		log.Fatal("want up to 1000 -threads, no negative number, and no argument")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()

	all := make([]progress, *threads+1)
	var running sync.WaitGroup
	for i := 0; i < *threads; i++ {
		running.Add(1)
		go func(p *progress) {
			defer running.Done()
			runtime.LockOSThread()
			h.below(ctx, p, h.frames)
		}(&all[i])
	}
	fmt.Printf("hammering pid=%d\n", os.Getpid())
	finished := make(chan struct{})
	go report(all, finished)
	if *mainInC {
		h.below(ctx, &all[*threads], h.frames)
	}
	running.Wait()
	finished <- struct{}{}
	<-finished
}

// below adds Go frames to the stack.
//
//go:noinline
func (h *hammer) below(ctx context.Context, p *progress, frames int) {
	if frames > 0 {
		h.below(ctx, p, frames-1)
		return
	}
	h.pound(ctx, p)
}

//go:noinline
func (h *hammer) pound(ctx context.Context, p *progress) {
	for left := h.pairs; ctx.Err() == nil && (h.pairs == 0 || left > 0); {
		n := uint64(block)
		if h.pairs > 0 && left < n {
			n = left
		}
		took := uint64(C.pound(C.uint64_t(n), C.uint(h.depth), C.uint64_t(h.bytes)))
		p.nanoseconds.Add(took)
		p.pairs.Add(n)
		if best := p.best.Load(); n == block && (best == 0 || took < best) {
			p.best.Store(took)
		}
		left -= n
	}
}

func report(all []progress, finished chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	from := time.Now()
	var lastPairs, lastNanoseconds uint64
	last := from
	for {
		select {
		case now := <-tick.C:
			pairs, nanoseconds, _ := sum(all)
			fmt.Println(line(pairs-lastPairs, nanoseconds-lastNanoseconds, now.Sub(last)))
			lastPairs, lastNanoseconds, last = pairs, nanoseconds, now
		case <-finished:
			pairs, nanoseconds, best := sum(all)
			fmt.Printf("done %s best=%.2f\n", line(pairs, nanoseconds, time.Since(from)), best)
			close(finished)
			return
		}
	}
}

func line(pairs, nanoseconds uint64, took time.Duration) string {
	each := 0.0
	if pairs > 0 {
		each = float64(nanoseconds) / float64(pairs)
	}
	return fmt.Sprintf("pairs=%d rate=%.0f/s ns/pair=%.2f", pairs, float64(pairs)/took.Seconds(), each)
}

// sum adds up all threads; best is in nanoseconds per pair, 0 if no block was full.
func sum(all []progress) (pairs, nanoseconds uint64, best float64) {
	best = math.Inf(1)
	for i := range all {
		nanoseconds += all[i].nanoseconds.Load()
		pairs += all[i].pairs.Load()
		if b := all[i].best.Load(); b > 0 {
			best = math.Min(best, float64(b)/block)
		}
	}
	if math.IsInf(best, 1) {
		best = 0
	}
	return pairs, nanoseconds, best
}
