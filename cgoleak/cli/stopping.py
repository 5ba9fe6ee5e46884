"""Ctrl-C and the like end the measurement; they never leave hooks in the target."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["raise_on_interrupt", "stop_on_signals"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STANDARD_ERROR: Final = 2


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Give an event that SIGINT, SIGTERM and SIGHUP set; old handlers come back at the end.

    A signal that is ignored (``nohup``) stays so. Later signals are answered but change nothing:
    whoever presses Ctrl-C twice must neither interrupt the detach nor lose the report. SIGQUIT is
    left alone.
    """
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        # Straight to the descriptor: a handler may interrupt a print in its middle.
        words = b"\ncgoleak: detaching, please wait for the report\n" if stop.is_set() else b"\n"
        with suppress(OSError):
            os.write(_STANDARD_ERROR, words)
        stop.set()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_on_interrupt() -> None:
    """Let Ctrl-C be an exception, so that no half-written file stays behind."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
