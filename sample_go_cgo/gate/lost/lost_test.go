package lost

import (
	"testing"

	"example.org/thumbworker/algo"
)

// It passes, and leaks: what the gate is for.
func TestCaptionsAreLost(t *testing.T) {
	for i := 0; i < 10; i++ {
		algo.Caption("a caption that nobody frees", true)
	}
}
