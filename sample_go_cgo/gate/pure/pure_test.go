package pure

import "testing"

func TestThereIsNoCHere(t *testing.T) {}
