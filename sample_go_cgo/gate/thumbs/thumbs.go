// Package thumbs makes thumbnails of generated pictures: what the gate's tests call.
package thumbs

import (
	"bytes"
	"fmt"
	"strings"

	"example.org/thumbworker/algo"
)

// Picture is a PGM with comments long enough for every string to be on the C heap.
func Picture(side int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "P5\n# %s\n# tag\n%d %d\n255\n", strings.Repeat("title ", 300), side, side)
	b.Write(bytes.Repeat([]byte{100}, side*side))
	return b.Bytes()
}

// Make makes n thumbnails.
func Make(n int) error {
	body := Picture(64)
	for seq := uint64(1); seq <= uint64(n); seq++ {
		if _, err := algo.Process(body, seq, 1); err != nil {
			return err
		}
	}
	return nil
}
