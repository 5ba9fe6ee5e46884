// Zstd uses DataDog's zstd as its users wrongly do: a writer that is flushed but not closed.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/DataDog/zstd"
)

func main() {
	misuse := flag.String("misuse", "", "writer; empty: used as it should be")
	life := flag.Duration("life", time.Minute, "end after this long")
	flag.Parse()
	text := bytes.Repeat([]byte("a line of a log, much like the one before it\n"), 2000)
	fmt.Printf("running pid=%d\n", os.Getpid())
	for end := time.Now().Add(*life); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		roundTrip(text)
		if *misuse == "writer" {
			archive(text)
		}
	}
}

func roundTrip(text []byte) {
	var packed bytes.Buffer
	w := zstd.NewWriter(&packed)
	_, err := w.Write(text)
	check(err)
	check(w.Close())
	r := zstd.NewReader(&packed)
	defer r.Close()
	back, err := io.ReadAll(r)
	check(err)
	if !bytes.Equal(back, text) {
		log.Fatal("not what went in")
	}
}

// archive flushes what it wrote and forgets the writer.
//
//go:noinline
func archive(text []byte) {
	w := zstd.NewWriter(io.Discard)
	_, err := w.Write(text)
	check(err)
	check(w.Flush())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
