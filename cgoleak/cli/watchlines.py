"""What is said on standard error during a watch: one line now and then, and one for each event.

On a terminal the line is written over itself; elsewhere it comes once a minute. Showing never
fails: a terminal that was closed must not end a watch.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_seconds, plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from cgoleak.model.report import GoReturn, Restart
    from cgoleak.watching import WatchProgress, WatchState

__all__ = ["restart_words", "show_watch", "state_words"]

_TERMINAL_S: Final = 2.0
_ELSEWHERE_S: Final = 60.0
_CLEAR: Final = "\r\x1b[K"
_PHASES: Final = {
    "waiting": "nothing runs; waiting for it to be started",
    "measuring": "native memory grows: measuring with hooks",
    "reporting": "reporting",
}


def state_words(state: WatchState) -> str:
    """Say what is known now, in one line."""
    if state.process is None:
        words = [_PHASES.get(state.phase, state.phase)]
    else:
        words = [f"pid {state.pid}", f"RSS {format_bytes(state.process.rss)}"]
        if state.go is not None:
            words.append(f"Go in use {format_bytes(state.go.heap_in_use)}")
            words.append(_held_words(state.go.heap_free, state.go_return))
        if state.native_bytes is not None:
            words.append(f"native {format_bytes(state.native_bytes)}")
    if state.restarts:
        words.append(plural(state.restarts, "restart"))
    return " · ".join(words)


def restart_words(restart: Restart) -> str:
    """Say what happened."""
    return (
        f"pid {restart.old_pid} {visible(restart.reason)}; pid {restart.new_pid} took its place; "
        f"RSS {format_bytes(restart.rss_before_bytes)} → {format_bytes(restart.rss_after_bytes)}"
    )


@contextmanager
def show_watch(
    subject: str, *, quiet: bool, view: WatchProgress | None = None
) -> Iterator[WatchProgress | None]:
    """Give what the watch calls; ``view`` instead of lines, if there is one."""
    if quiet or view is not None:
        yield view
        return
    stream = sys.stderr
    redrawn = stream.isatty() and os.environ.get("TERM") != "dumb"
    lines = _Lines(visible(subject), stream, redrawn=redrawn)
    try:
        yield lines
    finally:
        lines.clear()


class _Lines:
    def __init__(self, subject: str, stream: TextIO, *, redrawn: bool) -> None:
        self._subject = subject
        self._stream = stream
        self._redrawn = redrawn
        self._phase = ""
        self._next_at = 0.0

    def __call__(self, state: WatchState) -> None:
        if state.restart is not None:
            self._write(f"restart: {restart_words(state.restart)}", stays=True)
        now = time.monotonic()
        if state.phase == self._phase and now < self._next_at:
            return
        self._phase = state.phase
        self._next_at = now + (_TERMINAL_S if self._redrawn else _ELSEWHERE_S)
        self._write(state_words(state), stays=not self._redrawn)

    def clear(self) -> None:
        if self._redrawn:
            with suppress(OSError, ValueError):
                self._stream.write(_CLEAR)
                self._stream.flush()

    def _write(self, words: str, *, stays: bool) -> None:
        line = f"cgoleak: {self._subject}: {words.removeprefix(f'{self._subject} · ')}"
        if self._redrawn and not stays:
            line = line[: max(20, self._width() - 1)]
        with suppress(OSError, ValueError):
            clear = _CLEAR if self._redrawn else ""
            self._stream.write(f"{clear}{line}" + ("\n" if stays else ""))
            self._stream.flush()

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


def _held_words(held: int, back: GoReturn | None) -> str:
    words = f"Go held back {format_bytes(held)}"
    if back is None or not held:
        return words
    if not back.returning_bytes:
        return f"{words} (stays for reuse)"
    if back.within_seconds is None:
        return f"{words} ({format_bytes(back.returning_bytes)} to return, no telling when)"
    return (
        f"{words} ({format_bytes(back.returning_bytes)} returns within about "
        f"{format_seconds(back.within_seconds[1])})"
    )
