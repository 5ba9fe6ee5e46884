package thumbs

import (
	"fmt"
	"os"
	"testing"

	"example.org/thumbworker/algo"
)

// SAMPLE_FAULT turns the fixed module into the leaking one.
func init() {
	if fault := os.Getenv("SAMPLE_FAULT"); fault != "" && !algo.SwitchOn(fault) {
		panic("the module knows no fault " + fault)
	}
}

func TestThumbnails(t *testing.T) {
	if err := Make(40); err != nil {
		t.Fatal(err)
	}
}

func TestThumbnailsInParallel(t *testing.T) {
	for i := 0; i < 4; i++ {
		t.Run(fmt.Sprintf("part %d", i), func(t *testing.T) {
			t.Parallel()
			if err := Make(20); err != nil {
				t.Error(err)
			}
		})
	}
}

func BenchmarkThumbnail(b *testing.B) {
	body := Picture(64)
	for i := 0; i < b.N; i++ {
		if _, err := algo.Process(body, uint64(i+1), 1); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzThumbnail(f *testing.F) {
	f.Add([]byte("P5\n4 4\n255\n"))
	f.Add(Picture(8))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := algo.Process(body, 1, 1); err != nil && len(body) != 0 {
			t.Error(err)
		}
	})
}
