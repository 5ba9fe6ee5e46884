package algo

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// pgm is a picture as the load driver sends it: with comments long enough for every string to be on the heap.
func pgm(side int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "P5\n# %s\n# tag\n%d %d\n255\n", strings.Repeat("title ", 300), side, side)
	b.Write(bytes.Repeat([]byte{100}, side*side))
	return b.Bytes()
}

// grown returns the counts that are not what they were.
func grown(before, after map[string]Count) map[string]Count {
	changed := map[string]Count{}
	for name, c := range after {
		was := before[name]
		if c.Blocks != was.Blocks || c.Bytes != was.Bytes {
			changed[name] = Count{Blocks: c.Blocks - was.Blocks, Bytes: c.Bytes - was.Bytes}
		}
	}
	return changed
}

func process(t *testing.T, pictures int) map[string]Count {
	t.Helper()
	before := Counts()
	for seq := uint64(1); seq <= uint64(pictures); seq++ {
		if _, err := Process(pgm(160), seq, 1); err != nil {
			t.Fatal(err)
		}
	}
	return grown(before, Counts())
}

// The faults cannot be switched off again, so this is one test, and its order matters.
func TestEveryByteIsAccountedFor(t *testing.T) {
	if left := process(t, 8); len(left) != 0 {
		t.Fatalf("without a fault, pictures left %v behind", left)
	}
	// name: fault, blocks and bytes per eight pictures; bytes 0: not looked at.
	want := map[string]struct {
		fault         string
		blocks, bytes int64
	}{
		"histogram_new":               {"c-leak", 2, 2 * 16 << 10},
		"strbuf_grow":                 {"realloc-leak", 8, 8 * 2048},
		"annotation_new":              {"callback-leak", 8, 0},
		"job_scratch_new":             {"thread-leak", 8, 8 * 8192},
		"tile_new_posix":              {"aligned-leak", 8, 8 * 4096},
		"tile_new_c11":                {"aligned-leak", 8, 8 * 4096},
		"tile_new_memalign":           {"aligned-leak", 8, 8 * 4096},
		"meta_title":                  {"strdup-leak", 8, 8 * 1601},
		"meta_caption":                {"strdup-leak", 8, 8 * (1601 + int64(len("picture 1: ")))},
		"meta_first_line":             {"strdup-leak", 8, 0},
		"map_tile":                    {"mmap-leak", 2, 2 * 64 << 10},
		"thumb::make_text_layer":      {"cpp-leak", 20, 0},
		"thumb::TextLayer::TextLayer": {"cpp-leak", 20, 20 * 1601},
	}
	for _, w := range want {
		if !SwitchOn(w.fault) {
			t.Fatalf("the module knows no fault %s", w.fault)
		}
	}
	left := process(t, 8)
	for name, w := range want {
		got := left[name]
		if got.Blocks != w.blocks || (w.bytes != 0 && got.Bytes != w.bytes) {
			t.Errorf("%s: %s left %d blocks of %d bytes behind, want %d of %d", w.fault, name, got.Blocks, got.Bytes, w.blocks, w.bytes)
		}
		delete(left, name)
	}
	if len(left) != 0 {
		t.Errorf("no fault of theirs is on, and yet: %v", left)
	}
}

func TestTheCacheStopsGrowing(t *testing.T) {
	SwitchOn("cache-fills")
	process(t, 600)
	if again := process(t, 600)["cache_entry_new"]; again.Blocks != 0 {
		t.Errorf("a full cache grew by %d blocks", again.Blocks)
	}
}

func TestTheHammerGivesBackWhatItKept(t *testing.T) {
	before := Counts()
	Hammer(10_000, 3, 100)
	kept := int64(0)
	for _, c := range grown(before, Counts()) {
		kept += c.Blocks
	}
	if kept != 100 {
		t.Errorf("one in 100 of 10,000 is 100, not %d", kept)
	}
	HammerRelease()
	if left := grown(before, Counts()); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

func TestAStormKeepsOneBlockInMany(t *testing.T) {
	before := Counts()
	Storm(2, 1000, 100, 10)
	if got := grown(before, Counts())["storm_block_new"]; got.Blocks != 200 || got.Bytes != 20_000 {
		t.Errorf("kept %d blocks of %d bytes, want 200 of 20,000", got.Blocks, got.Bytes)
	}
}

func TestACaptionIsFreedUnlessItLeaks(t *testing.T) {
	before := Counts()
	Caption("four", false)
	if left := grown(before, Counts()); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	Caption("four", true)
	if got := grown(before, Counts())["C.CString"]; got.Blocks != 1 || got.Bytes != 5 {
		t.Errorf("left %d blocks of %d bytes, want one of 5", got.Blocks, got.Bytes)
	}
}

func TestBadBodiesAreRefusedOrTakenAsPixels(t *testing.T) {
	if _, err := Process(nil, 1, 1); err != ErrNoPicture {
		t.Errorf("an empty body gave %v", err)
	}
	for _, body := range []string{"x", "P5", "P5\n", "P5\n# no end", "P5\n99999999999 1\n255\n", "P5\n4 4\n255\n", "P5\n4096 4096\n255\nx", "P5\n1 1\n0\nx"} {
		if _, err := Process([]byte(body), 1, 1); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
}
