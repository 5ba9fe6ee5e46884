"""What is said on standard error while a measurement runs.

States from the pipeline → one live line on a terminal, a line now and then elsewhere. Showing
never fails: a terminal that was closed must not end a measurement.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_seconds, plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from cgoleak.pipeline import Progress, ProgressState

__all__ = ["progress_words", "show_progress"]

_MEASURING: Final = "measuring"
_HINT: Final = " · Ctrl-C ends it and reports"


def progress_words(state: ProgressState) -> str:
    """Say where the measurement is, in one line."""
    if state.phase != _MEASURING:
        return state.phase
    if state.duration_s is None:
        time = f"{format_seconds(state.elapsed_s)} so far"
    else:
        time = f"{format_seconds(max(0.0, state.duration_s - state.elapsed_s))} left"
    return (
        f"{time} · {plural(state.events, 'event')} · "
        f"{format_bytes(state.outstanding_bytes)} outstanding in "
        f"{plural(state.outstanding_blocks, 'block')}"
    )


@contextmanager
def show_progress(
    subject: str,
    *,
    quiet: bool,
    live: bool,
    every_s: float = 10.0,
    view: Progress | None = None,
) -> Iterator[Progress | None]:
    """Give what the pipeline calls; ``live`` allows the redrawn line where there is a terminal.

    ``every_s`` is the time between two lines where nothing can be redrawn. ``view`` shows all from
    the moment when there is something to measure; an attach that fails is not seen by it.
    """
    stream = sys.stderr
    if quiet:
        yield None
    elif view is not None:
        with _line_then_view(visible(subject), stream, view) as progress:
            yield progress
    elif live and stream.isatty():
        with _live_line(visible(subject), stream) as progress:
            yield progress
    else:
        yield _plain_lines(visible(subject), stream, every_s)


@contextmanager
def _line_then_view(subject: str, stream: TextIO, view: Progress) -> Iterator[Progress]:
    with ExitStack() as opened:
        line: Progress | None = opened.enter_context(_live_line(subject, stream))

        def show(state: ProgressState) -> None:
            nonlocal line
            if line is not None and state.phase == _MEASURING:
                opened.close()
                line = None
            (line or view)(state)

        yield show


def _plain_lines(subject: str, stream: TextIO, every_s: float) -> Progress:
    phase = ""
    next_at = every_s

    def show(state: ProgressState) -> None:
        nonlocal phase, next_at
        measuring = state.phase == _MEASURING
        if measuring and state.elapsed_s >= next_at:
            next_at = state.elapsed_s + every_s
        elif state.phase == phase or measuring:
            # The first line while measuring comes when there is something to say.
            phase = state.phase
            return
        phase = state.phase
        with suppress(OSError, ValueError):
            stream.write(f"cgoleak: {subject}: {progress_words(state)}\n")
            stream.flush()

    return show


@contextmanager
def _live_line(subject: str, stream: TextIO) -> Iterator[Progress]:
    """Redraw one line; without rich's refresh thread, so that no fork or signal meets one."""
    from rich.console import Console  # noqa: PLC0415 - 50 ms that only a terminal needs
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)

    def show(state: ProgressState) -> None:
        words = f"{subject} · {progress_words(state)}"
        if state.phase == _MEASURING and len(words) + len(_HINT) < console.width:
            words += _HINT
        text = Text(words, no_wrap=True, overflow="ellipsis")
        with suppress(OSError, ValueError):
            live.update(text, refresh=True)

    with suppress(OSError, ValueError):
        live.start()
    try:
        yield show
    finally:
        with suppress(OSError, ValueError):
            live.stop()
