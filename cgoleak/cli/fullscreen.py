r"""The terminal as a screen of its own: taken over, drawn on, and given back as it was.

Given back whatever happens: at the end of the block, at an error, at Ctrl-Z (and taken again when
the shell brings us to the foreground), at Ctrl-\. Only SIGKILL leaves it as it is.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

__all__ = ["FullScreen"]

_TERMINAL: Final = "/dev/tty"
_ENTER: Final = b"\x1b[?1049h\x1b[?25l\x1b[2J"
"""Alternate screen, no cursor, cleared (xterm's control sequences; every emulator has them)."""
_LEAVE: Final = b"\x1b[0m\x1b[?25h\x1b[?1049l"
_HOME: Final = b"\x1b[H"
_CLEAR_LINE: Final = b"\x1b[K"
_PATIENCE_S: Final = 1.0
"""A signal is not kept waiting longer by a terminal that takes no output."""


class FullScreen:
    """The controlling terminal; drawn on by one thread, given back by any.

    Nothing here raises for a terminal that went away: who looked has left, and the measurement
    goes on.
    """

    def __init__(self) -> None:
        """Open the terminal; it is left as it is until ``draw``.

        Raises:
            OSError: there is none.
        """
        self._fd = os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._lock = threading.RLock()
        self._before: list[Any] | None = None
        self._is_taken = False
        self._is_over = False
        self._is_aside = False
        self._old_handlers: dict[int, Any] = {}

    @property
    def is_ours(self) -> bool:
        """Whether we are the terminal's foreground job: others must not touch it."""
        with suppress(OSError):
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        return False

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        with suppress(OSError):
            columns, lines = os.get_terminal_size(self._fd)
            if columns > 0 and lines > 0:
                return columns, lines
        return 80, 24

    def __enter__(self) -> Self:
        """Answer signals; in the main thread."""
        for number in (signal.SIGTSTP, signal.SIGQUIT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._old_handlers[number] = signal.signal(number, self._step_aside)
        if signal.getsignal(signal.SIGCONT) is signal.SIG_DFL:
            self._old_handlers[signal.SIGCONT] = signal.signal(signal.SIGCONT, self._come_back)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.give_back(for_good=True)
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        for fd in (self._fd, self._wake_in, self._wake_out):
            os.close(fd)

    # --- the drawing thread ------------------------------------------------------------------

    def draw(self, lines: list[bytes]) -> bool:
        """Put lines on the screen, taking it over first if need be; false if that cannot be."""
        with self._lock:
            if self._is_over or not self.is_ours or not (self._is_taken or self._take()):
                return False
            # Cleared before and not behind: at the last column that would erase a character. No
            # line break after the last line: it would scroll.
            return self._write(_HOME + b"\r\n".join(_CLEAR_LINE + line for line in lines))

    def read(self, at_most_s: float) -> bytes:
        """Wait for keys; empty if none came, or if somebody called ``wake``."""
        if self._is_over:
            return b""
        listened = [self._wake_out]
        if self._is_taken and self.is_ours:
            listened.append(self._fd)
        ready, _, _ = select.select(listened, [], [], at_most_s)
        if self._wake_out in ready:
            with suppress(OSError):
                os.read(self._wake_out, 512)
        if self._fd in ready and self.is_ours:
            with suppress(OSError):
                return os.read(self._fd, 512)
        return b""

    # --- any thread --------------------------------------------------------------------------

    def wake(self) -> None:
        """Let ``read`` return."""
        with suppress(OSError):
            os.write(self._wake_in, b"w")

    def give_back(self, *, for_good: bool = False) -> None:
        """Make the terminal what it was."""
        with self._held():
            self._is_over = self._is_over or for_good
            if not self._is_taken:
                return
            self._is_taken = False
            if not self.is_ours:
                return  # the shell has made it what it wants already
            self._write(_LEAVE)
            if self._before is not None:
                with suppress(termios.error):
                    termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
            self._before = None

    # --- inside ------------------------------------------------------------------------------

    def _take(self) -> bool:
        try:
            # After a stop that came unannounced it may be as we had made it: what was first counts.
            self._before = self._before or termios.tcgetattr(self._fd)
            raw = termios.tcgetattr(self._fd)
            # Keys one by one and not shown; signals stay keys. Ctrl-S must not stop the drawing.
            raw[0] &= ~(termios.IXON | termios.ICRNL)
            raw[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
            raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self._fd, termios.TCSANOW, raw)
        except termios.error:
            return False
        self._is_taken = True
        return self._write(_ENTER)

    def _write(self, content: bytes) -> bool:
        try:
            while content:
                content = content[os.write(self._fd, content) :]
        except OSError:
            return False
        return True

    @contextmanager
    def _held(self) -> Iterator[None]:
        held = self._lock.acquire(timeout=_PATIENCE_S)
        try:
            yield
        finally:
            if held:
                self._lock.release()

    def _step_aside(self, number: int, _frame: FrameType | None) -> None:
        """Give the terminal back before the signal does what it always does."""
        self.give_back()
        self._is_aside = number == signal.SIGTSTP
        handler = signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        signal.signal(number, handler)
        self.wake()

    def _come_back(self, _number: int, _frame: FrameType | None) -> None:
        """Take the terminal anew after a SIGSTOP: the shell may have changed it."""
        if self._is_aside:
            self._is_aside = False
        else:
            with self._held():
                self._is_taken = False
        self.wake()
