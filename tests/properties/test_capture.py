"""Laws of the capture file: what goes in comes out, and bad files end in one kind of error."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from cgoleak.capture import CaptureWriter, open_capture
from cgoleak.errors import CaptureError
from support.builders import a_capture, a_snapshot, counts, frames
from support.strategies import captures

if TYPE_CHECKING:
    from cgoleak.model.capture import Capture


def write(capture: Capture, writer: CaptureWriter) -> None:
    writer.write_target(capture.target, mode=capture.window.mode)
    for module in capture.modules:
        writer.add_module(module)
    for stack in capture.stacks.values():
        writer.add_stack(stack)
    writer.put_mappings(capture.mappings)
    for notice in capture.notices:
        writer.add_notice(notice)
    for snapshot in capture.snapshots:
        writer.add_snapshot(snapshot)
    for profile in capture.go_profiles:
        writer.add_go_profile(profile)
    writer.seal_frames(capture.frames)
    writer.finish(capture.window, capture.cost)


@given(captures())
@settings(max_examples=60)
def test_what_is_written_is_what_is_read(capture: Capture) -> None:
    with CaptureWriter() as writer:
        write(capture, writer)

        assert writer.capture() == capture


@given(captures())
@settings(max_examples=15)
def test_a_file_holds_what_memory_holds(capture: Capture) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.cgoleak"
        with CaptureWriter(path) as writer:
            write(capture, writer)

        assert open_capture(path) == capture
        assert [found.name for found in Path(folder).iterdir()] == [path.name]


def ordinary() -> bytes:
    stack = frames("C row_dup row.c:41", "Go main.encode encode.go:88")
    snapshots = [
        a_snapshot(at, {n: counts(born=at * n, freed=n, oldest_s=at) for n in range(1, 40)})
        for at in range(1, 6)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.cgoleak"
        with CaptureWriter(path) as writer:
            write(a_capture(snapshots, dict.fromkeys(range(1, 40), stack)), writer)
        return path.read_bytes()


ORDINARY = ordinary()


def opens_or_says_why(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.cgoleak"
        path.write_bytes(content)
        with suppress(CaptureError):
            capture = open_capture(path)
            # Snapshots are read as they are asked for: that must hold as well.
            assert all(dict(snapshot.stacks) is not None for snapshot in capture.snapshots)


@given(st.integers(0, len(ORDINARY) - 1))
@settings(max_examples=80)
def test_a_truncated_file_ends_in_a_capture_error(length: int) -> None:
    opens_or_says_why(ORDINARY[:length])


@given(
    st.lists(
        st.tuples(st.integers(0, len(ORDINARY) - 1), st.integers(1, 255)), min_size=1, max_size=12
    )
)
@settings(max_examples=200)
def test_flipped_bytes_end_in_a_capture_error_or_in_a_capture(
    flips: list[tuple[int, int]],
) -> None:
    content = bytearray(ORDINARY)
    for place, mask in flips:
        content[place] ^= mask

    opens_or_says_why(bytes(content))


@given(st.binary(max_size=300))
@settings(max_examples=50)
def test_any_bytes_end_in_a_capture_error(content: bytes) -> None:
    opens_or_says_why(content)
