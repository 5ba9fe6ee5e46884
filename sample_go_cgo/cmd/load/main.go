// Load drives the worker over HTTP at a given rate, and says how that went.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"os"
	"os/signal"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

const mostLatencies = 1 << 20 // of each client; then they overwrite each other

func main() {
	log.SetFlags(0)
	log.SetPrefix("load: ")
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		log.Print(err)
		os.Exit(1)
	}
}

type tally struct {
	requests, errors int
	lastError        error
	latencies        []time.Duration
}

func run(args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	url := flags.String("url", "", "where the worker is: http://127.0.0.1:8080")
	path := flags.String("path", "/process", "what to ask for; /process and /hammer are posted to, all else is got")
	rate := flags.Float64("rate", 50, "requests per second in all (0: as fast as it goes)")
	concurrency := flags.Int("concurrency", 8, "clients at most")
	duration := flags.Duration("duration", 10*time.Second, "end after this long")
	side := flags.Int("side", 192, "width and height of the pictures, in pixels")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *url == "" || *concurrency < 1 || *side < 1 || *side > 4096 || *rate < 0 {
		return errors.New("want -url, -concurrency of 1 or more, -side from 1 to 4096, and no negative -rate")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()

	turns := make(chan struct{})
	go takeTurns(ctx, *rate, turns)
	client := &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: *concurrency, DisableCompression: true},
	}
	tallies := make([]tally, *concurrency)
	var all sync.WaitGroup
	from := time.Now()
	for i := range tallies {
		all.Add(1)
		go func(t *tally, seed int64) {
			defer all.Done()
			body := picture(*side, seed)
			for range turns {
				t.ask(ctx, client, *url+*path, body)
			}
		}(&tallies[i], int64(i))
	}
	all.Wait()
	return report(tallies, time.Since(from))
}

// takeTurns lets one client after the other go, at the given rate. When none is free, the turn waits, and the next ones come late.
func takeTurns(ctx context.Context, rate float64, turns chan<- struct{}) {
	defer close(turns)
	next := time.Now()
	for {
		if rate > 0 {
			next = next.Add(time.Duration(float64(time.Second) / rate))
			select {
			case <-time.After(time.Until(next)):
			case <-ctx.Done():
				return
			}
		}
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

func (t *tally) ask(ctx context.Context, client *http.Client, url string, body []byte) {
	method, content := http.MethodGet, io.Reader(nil)
	if strings.Contains(url, "/process") || strings.Contains(url, "/hammer") {
		method, content = http.MethodPost, bytes.NewReader(body)
	}
	from := time.Now()
	err := once(ctx, client, method, url, content)
	if err != nil && ctx.Err() != nil {
		return // Cut off by the end of the run: neither a success nor a failure.
	}
	if t.requests++; err != nil {
		t.errors++
		t.lastError = err
		return
	}
	if len(t.latencies) < mostLatencies {
		t.latencies = append(t.latencies, time.Since(from))
	} else {
		t.latencies[t.requests%mostLatencies] = time.Since(from)
	}
}

func once(ctx context.Context, client *http.Client, method, url string, content io.Reader) error {
	request, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// picture is a PGM with comments of about two KiB, the first line of which is one and a half.
func picture(side int, seed int64) []byte {
	random := rand.New(rand.NewSource(seed))
	var b bytes.Buffer
	fmt.Fprintf(&b, "P5\n# picture %d: %s\n", seed, strings.Repeat("a long title ", 115))
	for i := 0; i < 8; i++ {
		fmt.Fprintf(&b, "# tag %d: %s\n", i, strings.Repeat("x", 50))
	}
	fmt.Fprintf(&b, "%d %d\n255\n", side, side)
	for i := 0; i < side*side; i++ {
		b.WriteByte(byte(random.Intn(256)))
	}
	return b.Bytes()
}

func report(tallies []tally, took time.Duration) error {
	var sum tally
	for _, t := range tallies {
		sum.requests += t.requests
		sum.errors += t.errors
		sum.latencies = append(sum.latencies, t.latencies...)
		if t.lastError != nil {
			sum.lastError = t.lastError
		}
	}
	sort.Slice(sum.latencies, func(i, j int) bool { return sum.latencies[i] < sum.latencies[j] })
	at := func(share float64) float64 {
		if len(sum.latencies) == 0 {
			return 0
		}
		return float64(sum.latencies[int(share*float64(len(sum.latencies)-1))].Microseconds()) / 1000
	}
	fmt.Printf("requests=%d errors=%d rate=%.1f/s p50=%.2fms p99=%.2fms\n",
		sum.requests, sum.errors, float64(sum.requests)/took.Seconds(), at(0.50), at(0.99))
	if sum.errors > 0 {
		log.Printf("last error: %v", sum.lastError)
	}
	if sum.requests == sum.errors {
		return errors.New("not one request was answered")
	}
	return nil
}
