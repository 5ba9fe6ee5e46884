package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"example.org/thumbworker/algo"
)

const (
	largestBody = 16 << 20
	hammerBlock = 1 << 20 // pairs in one call to C
)

func (w *worker) routes() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, h http.HandlerFunc) { mux.Handle(path, only(http.MethodGet, h)) }
	post := func(path string, h http.HandlerFunc) { mux.Handle(path, only(http.MethodPost, h)) }
	get("/bar", w.bar)
	get("/healthz", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintln(rw, "ok") })
	get("/counters", w.counters)
	mux.Handle("/debug/pprof/", http.DefaultServeMux) // pprof.go
	get("/memstats", memstats)
	post("/process", w.process)
	post("/hammer", w.hammer)
	post("/hammer/release", func(rw http.ResponseWriter, _ *http.Request) { algo.HammerRelease(); answer(rw, algo.Counts()) })
	post("/event", func(rw http.ResponseWriter, _ *http.Request) { w.event(); fmt.Fprintln(rw, "done") })
	post("/gc", func(rw http.ResponseWriter, _ *http.Request) { runtime.GC(); fmt.Fprintln(rw, "done") })
	post("/freeosmemory", func(rw http.ResponseWriter, _ *http.Request) { debug.FreeOSMemory(); fmt.Fprintln(rw, "done") })
	return mux
}

// only is what patterns with a method do since Go 1.22; this module is of 1.21.
func only(method string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			rw.Header().Set("Allow", method)
			http.Error(rw, "use "+method, http.StatusMethodNotAllowed)
			return
		}
		h(rw, r)
	})
}

func answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(rw).Encode(v); err != nil {
		log.Print(err)
	}
}

// process makes a thumbnail of the body.
func (w *worker) process(rw http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	if r.ContentLength > 0 && r.ContentLength <= largestBody {
		body.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	if _, err := io.Copy(&body, http.MaxBytesReader(rw, r.Body, largestBody)); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	w.firstPicture.Do(func() { go w.eventLater() })
	seq := w.pictures.Add(1)
	thumb, err := algo.Process(body.Bytes(), seq, w.churn)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	if err := w.afterPicture(body.Bytes()); err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "image/x-portable-graymap")
	rw.Header().Set("X-Mean", strconv.Itoa(thumb.Mean))
	_, _ = rw.Write(thumb.PGM) // A client that has gone is no trouble of ours.
}

// bar answers hello, and is clumsy about it: it builds a page of kib KiB on the Go heap and keeps it for a moment, as a handler does that
// waits for something else. Many of these at once make a heap that is soon garbage, and resident for long: an idle Go collects only
// every two minutes. (POST /gc collects at once.)
func (w *worker) bar(rw http.ResponseWriter, r *http.Request) {
	var page bytes.Buffer
	kib, err := number(r.URL.Query(), "kib", 1024, 0, 64<<10)
	hold, err2 := number(r.URL.Query(), "hold_ms", 50, 0, 10_000)
	if err != nil || err2 != nil {
		http.Error(rw, "kib or hold_ms out of range", http.StatusBadRequest)
		return
	}
	for row := 0; page.Len() < kib<<10; row++ {
		fmt.Fprintf(&page, "<tr><td>%08d</td><td>%-240s</td></tr>\n", row, "hello")
	}
	time.Sleep(time.Duration(hold) * time.Millisecond)
	fmt.Fprintf(rw, "hello (%d bytes thrown away)\n", page.Len())
}

func (w *worker) counters(rw http.ResponseWriter, _ *http.Request) {
	answer(rw, map[string]any{
		"scenario": w.names,
		"pictures": w.pictures.Load(),
		"sites":    algo.Counts(),
	})
}

func memstats(rw http.ResponseWriter, _ *http.Request) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	answer(rw, m)
}

// hammer runs pairs of malloc and free on each of some threads, and answers with the time and the counts.
func (w *worker) hammer(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	threads, err := number(q, "threads", 4, 1, 64)
	pairs, err2 := number(q, "pairs", 1_000_000, 1, 1_000_000_000)
	depth, err3 := number(q, "depth", 4, 0, 200)
	keep, err4 := number(q, "keep", 0, 0, 1_000_000_000)
	for _, err := range []error{err, err2, err3, err4} {
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
	}
	from := time.Now()
	var all sync.WaitGroup
	for i := 0; i < threads; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			hammerThread(r, uint64(pairs), depth, uint64(keep))
		}()
	}
	all.Wait()
	took := time.Since(from)
	answer(rw, map[string]any{
		"threads": threads, "pairs": pairs, "depth": depth, "keep": keep,
		"elapsed_ns": took.Nanoseconds(), "ns_per_pair": float64(took.Nanoseconds()) / float64(pairs),
		"sites": algo.Counts(),
	})
}

// hammerThread ends early when the client has gone.
//
//go:noinline
func hammerThread(r *http.Request, pairs uint64, depth int, keep uint64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for pairs > 0 && r.Context().Err() == nil {
		n := pairs
		if n > hammerBlock {
			n = hammerBlock
		}
		algo.Hammer(n, depth, keep)
		pairs -= n
	}
}

func number(q url.Values, name string, otherwise, least, most int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s: want a number from %d to %d, got %q", name, least, most, text)
	}
	return n, nil
}
