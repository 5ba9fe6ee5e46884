package caption

import (
	"os"
	"testing"

	"example.org/thumbworker/algo"
)

func TestMain(m *testing.M) {
	algo.Caption("before all tests", false)
	os.Exit(m.Run())
}

func TestCaptionsAreFreed(t *testing.T) {
	for i := 0; i < 50; i++ {
		algo.Caption("a caption", false)
	}
}
