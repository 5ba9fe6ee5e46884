"""Offsets of Go's heap: what is written down is what the DWARF of each Go at hand says."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any, Final

import pytest

from cgoleak.target.go.layout import layout_for
from cgoleak.target.go.world import FIRST_MINOR, world_layout
from support.go_programs import go_commands, missing_tools

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

PRINTER: Final = r"""
package main

import (
	"debug/dwarf"
	"debug/elf"
	"encoding/json"
	"os"
	"runtime"
)

type field struct{ Offset, Size int64 }

func main() {
	file, err := elf.Open("/proc/self/exe")
	if err != nil {
		panic(err)
	}
	data, err := file.DWARF()
	if err != nil {
		panic(err)
	}
	wanted := map[string]bool{
		"runtime.mheap": true, "runtime.mspan": true, "runtime.special": true, "runtime.m": true,
	}
	found := map[string]map[string]field{}
	for entries := data.Reader(); ; {
		entry, err := entries.Next()
		if err != nil || entry == nil {
			break
		}
		name, _ := entry.Val(dwarf.AttrName).(string)
		if entry.Tag != dwarf.TagStructType || !wanted[name] {
			continue
		}
		kind, err := data.Type(entry.Offset)
		if err != nil {
			panic(err)
		}
		found[name] = map[string]field{}
		for _, f := range kind.(*dwarf.StructType).Field {
			found[name][f.Name] = field{f.ByteOffset, f.Type.Size()}
		}
		entries.SkipChildren()
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"version": runtime.Version(), "types": found})
}
"""


@pytest.mark.parametrize("go", go_commands())
def test_the_offsets_are_those_of_the_debug_information(go, tmp_path):
    (tmp_path / "main.go").write_text(PRINTER)
    (tmp_path / "go.mod").write_text("module example.org/printer\n\ngo 1.18\n")
    kept = {k: v for k, v in os.environ.items() if k not in {"GOROOT", "GOFLAGS"}}
    done = subprocess.run(
        [go, "run", "-ldflags=-s=false -w=false", "."],
        cwd=tmp_path,
        env=kept | {"GOTOOLCHAIN": "local", "GOWORK": "off"},
        capture_output=True,
        check=True,
        timeout=300,
    )
    said: dict[str, Any] = json.loads(done.stdout)
    layout = layout_for(said["version"])
    assert layout is not None
    offsets = world_layout(layout)
    if layout.minor < FIRST_MINOR:
        assert offsets is None
        return
    assert offsets is not None
    types = said["types"]
    span, special = types["runtime.mspan"], types["runtime.special"]
    assert (
        offsets.all_spans,
        offsets.npages,
        offsets.spanclass,
        offsets.state,
        offsets.elemsize,
        offsets.specials,
        offsets.special_kind,
        offsets.special_offset_bytes,
        offsets.all_link,
    ) == (
        types["runtime.mheap"]["allspans"]["Offset"],
        span["npages"]["Offset"],
        span["spanclass"]["Offset"],
        span["state"]["Offset"],
        span["elemsize"]["Offset"],
        span["specials"]["Offset"],
        special["kind"]["Offset"],
        special["offset"]["Size"],
        types["runtime.m"]["alllink"]["Offset"],
    )
    assert (span["startAddr"]["Offset"], special["next"]["Offset"]) == (offsets.npages - 8, 0)
    assert special["offset"]["Offset"] == 8
