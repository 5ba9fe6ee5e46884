package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.org/thumbworker/algo"
)

const (
	captionBytes  = 4 << 10
	textureBytes  = 100 << 10
	rememberBytes = 16 << 10
	mappedBytes   = 256 << 10
	burstPiece    = 32 << 10
	rareGC        = 12 * time.Second
)

// scenarios are all that a worker knows. Those of C are switched on in the module; the others are looked at here.
var scenarios = map[string]struct{ needsCleanups bool }{
	"clean": {}, "c-leak": {}, "cpp-leak": {}, "cstring-leak": {}, "realloc-leak": {}, "callback-leak": {},
	"thread-leak": {}, "dlopen-leak": {}, "aligned-leak": {}, "strdup-leak": {}, "slow-leak": {}, "mmap-leak": {},
	"cache-fills": {}, "pool": {}, "finalizer-held": {}, "cleanup-held": {needsCleanups: true},
	"go-burst": {}, "go-heap-leak": {}, "arena-retained": {}, "restart": {}, "file-map": {},
}

func scenarioNames() []string {
	var names []string
	for name, s := range scenarios {
		if !s.needsCleanups || algo.HasCleanups {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

type worker struct {
	churn, burstMiB, dieAtMiB int
	burstGC                   bool
	plugin                    string
	eventDelay, gcEvery       time.Duration
	names                     []string
	on                        map[string]bool

	pictures     atomic.Uint64
	firstPicture sync.Once

	mu         sync.Mutex
	remembered [][]byte
	mapped     [][]byte
}

func (w *worker) choose(names []string) error {
	w.names, w.on = names, map[string]bool{}
	for _, name := range names {
		s, known := scenarios[name]
		if !known {
			return fmt.Errorf("no scenario %q; there are %s", name, strings.Join(scenarioNames(), ", "))
		}
		if s.needsCleanups && !algo.HasCleanups {
			return fmt.Errorf("scenario %s: %w", name, algo.ErrNoCleanups)
		}
		w.on[name] = true
		algo.SwitchOn(name)
	}
	if w.gcEvery == 0 && (w.on["finalizer-held"] || w.on["cleanup-held"]) {
		w.gcEvery = rareGC
	}
	return nil
}

// start starts what goes by time and not by picture.
func (w *worker) start(ctx context.Context) {
	if w.gcEvery > 0 {
		debug.SetGCPercent(4000)
		go every(ctx, w.gcEvery, runtime.GC)
	}
	if w.on["slow-leak"] {
		go every(ctx, time.Second, algo.SessionTick)
	}
	if w.on["restart"] {
		go every(ctx, 100*time.Millisecond, w.dieWhenLarge)
	}
}

func every(ctx context.Context, d time.Duration, do func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// afterPicture does what the worker's own faults do with each picture.
func (w *worker) afterPicture(body []byte) error {
	algo.Caption(string(bytes.Repeat([]byte("caption "), captionBytes/8)), w.on["cstring-leak"])
	if w.on["finalizer-held"] {
		showTexture(algo.NewTexture(textureBytes))
	}
	if w.on["cleanup-held"] {
		t, err := algo.NewTextureWithCleanup(textureBytes)
		if err != nil {
			return err
		}
		showTexture(t)
	}
	if w.on["go-heap-leak"] {
		w.remember(body)
	}
	if w.on["file-map"] {
		return w.mapFile()
	}
	return nil
}

// showTexture uses a texture and forgets it.
func showTexture(t *algo.Texture) {
	if t.Bytes() != textureBytes {
		log.Print("a texture of another size")
	}
	runtime.KeepAlive(t)
}

// remember keeps a copy of the picture's start for ever: a leak of the Go heap.
//
//go:noinline
func (w *worker) remember(body []byte) {
	kept := make([]byte, rememberBytes)
	copy(kept, body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remembered = append(w.remembered, kept)
}

// mapFile maps the worker's own executable once more and reads it in, which no malloc sees: a leak of mappings.
func (w *worker) mapFile() error {
	me, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer me.Close()
	m, err := syscall.Mmap(int(me.Fd()), 0, mappedBytes, syscall.PROT_READ, syscall.MAP_SHARED|syscall.MAP_POPULATE)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mapped = append(w.mapped, m)
	return nil
}

func (w *worker) eventLater() {
	time.Sleep(w.eventDelay)
	w.event()
}

// event is what happens once in the life of a worker, some seconds into its work.
func (w *worker) event() {
	if w.on["dlopen-leak"] {
		if err := algo.LoadPlugin(w.plugin); err != nil {
			log.Print(err)
		}
	}
	if w.on["arena-retained"] {
		algo.Storm(8, 20_000, 1000, 64)
	}
	if w.on["go-burst"] {
		w.burst()
	}
}

// burst fills the Go heap within about a second, drops it all a second later, and has it collected unless told otherwise.
//
//go:noinline
func (w *worker) burst() {
	pieces := make([][]byte, 0, w.burstMiB<<20/burstPiece)
	for len(pieces) < cap(pieces) {
		piece := make([]byte, burstPiece)
		for at := 0; at < len(piece); at += 4096 {
			piece[at] = 1
		}
		pieces = append(pieces, piece)
		if len(pieces)%(cap(pieces)/50+1) == 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	time.Sleep(time.Second)
	runtime.KeepAlive(pieces)
	pieces = nil
	if w.burstGC {
		runtime.GC()
	}
}

// dieWhenLarge ends the worker as the kernel does when memory runs out: at once, and by SIGKILL.
func (w *worker) dieWhenLarge() {
	statm, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(statm))
	if err != nil || len(fields) < 2 {
		return
	}
	pages, err := strconv.Atoi(fields[1])
	if err == nil && pages*os.Getpagesize() > w.dieAtMiB<<20 {
		log.Printf("RSS is above %d MiB, dying", w.dieAtMiB)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
}
