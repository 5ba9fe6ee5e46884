"""The live view on a terminal: draws what is recorded so far, and answers keys.

Two threads beside the recorder's: one judges what was heard, the other draws and listens to the
keyboard, so that neither a slow judgement nor a slow terminal delays the measurement. What they may
take of a core is limited. Where there is no terminal to draw on, ``progress`` says how it goes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from cgoleak import pipeline
from cgoleak.cli.fullscreen import FullScreen
from cgoleak.cli.keys import keys_in
from cgoleak.cli.screen import wants_color

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from cgoleak.cli.options import ReportOptions
    from cgoleak.interim import Interim
    from cgoleak.model.report import Report
    from cgoleak.pipeline import ProgressState
    from cgoleak.watching import WatchState

__all__ = ["LiveView", "can_be_live", "live_view"]

_BEAT_S: Final = 0.2
"""How soon new numbers and another size of the window are seen; keys are seen at once."""
_JUDGE_SHARE: Final = 0.03
"""Of one core, for judging; looking up names comes once and is not counted."""
_DRAW_SHARE: Final = 0.01
_CLOCK_S: Final = 1.0
"""How often a screen without news is drawn: its clock goes on."""
_CLOSE_S: Final = 2.0
"""How long is waited for a terminal that takes no output."""
_QUIET_PHASES: Final = frozenset({"measuring", "watching"})


def can_be_live(options: ReportOptions, *, wanted: bool) -> bool:
    """Tell whether there is somebody who looks: a terminal, in the foreground, that can draw."""
    if not wanted or options.quiet or os.environ.get("CI"):
        return False
    if os.environ.get("TERM", "dumb") in {"dumb", "unknown", ""}:
        return False
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


@contextmanager
def live_view(
    subject: str,
    options: ReportOptions,
    stop: threading.Event,
    *,
    wanted: bool,
    sample_bytes: int | None = None,
) -> Iterator[LiveView | None]:
    """Give the live view, or None where there can be none; the terminal is given back at the end.

    ``stop`` is set when somebody finishes the measurement by a key.
    """
    if not can_be_live(options, wanted=wanted):
        yield None
        return
    from cgoleak.interim import Interim  # noqa: PLC0415 - who has no view does not wait for it

    with ExitStack() as opened:
        try:
            screen = opened.enter_context(FullScreen())
        except OSError:
            yield None
            return
        judge = partial(pipeline.analyse, policy=options.policy)
        interim = Interim(judge, sample_bytes=sample_bytes)
        yield opened.enter_context(LiveView(screen, interim, options, subject, stop.set))


class LiveView:
    """Is told by the pipeline, through ``show`` and ``interim``, and shows it."""

    def __init__(
        self,
        screen: FullScreen,
        interim: Interim,
        options: ReportOptions,
        subject: str,
        finish: Callable[[], None],
    ) -> None:
        from cgoleak.render.live import Moment, Seen, View  # noqa: PLC0415 - rich takes 50 ms
        from cgoleak.watching.pace import Pace  # noqa: PLC0415

        self.interim = interim
        self._pace = Pace(_JUDGE_SHARE)
        self._screen = screen
        self._finish = finish
        self._lang = options.lang
        self._color = wants_color(sys.stderr, off=options.no_color)
        self._view = View(full_stacks=options.full_stacks)
        self._seen = Seen()
        self._moment = Moment(subject, "preparing")
        self._report: Report | None = None
        self._shown: Report | None = None
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=f"live {name}", daemon=True)
            for name, target in (("view", self._draw_and_listen), ("judge", self._judge))
        ]
        self._is_begun = False

    def show(self, state: ProgressState | WatchState) -> None:
        """Take the newest state; the first opens the screen. Called by the pipeline."""
        from cgoleak.render.live import Moment  # noqa: PLC0415

        changed = state.phase != self._moment.phase
        self._moment = Moment(
            self._moment.subject,
            state.phase,
            state.elapsed_s,
            state.duration_s,
            getattr(state, "outstanding_bytes", None),
        )
        if not self._is_begun:
            self._is_begun = True
            for thread in self._threads:
                thread.start()
        elif changed:
            self._screen.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self.interim.finish()
        self._screen.wake()
        if self._is_begun:
            self._threads[0].join(_CLOSE_S)

    # --- judging -----------------------------------------------------------------------------

    def _judge(self) -> None:
        judged = 0
        while not self._over.wait(_BEAT_S):
            heard = self.interim.heard
            idle = self._view.paused or self._moment.phase not in _QUIET_PHASES
            if heard == judged or idle or not self._pace.is_due(time.monotonic()):
                continue
            if not judged:
                # Numbers at once; names may take a moment when they are looked up first.
                self._report = self.interim.report()
            self.interim.name()
            before = time.thread_time()
            self._report = self.interim.report() or self._report
            self._pace.paid(time.monotonic(), time.thread_time() - before)
            judged = heard
            self._screen.wake()

    # --- drawing and listening ---------------------------------------------------------------

    def _draw_and_listen(self) -> None:
        """Draw until it is over; whatever goes wrong here gives the terminal back."""
        rest, drawn, due = b"", None, 0.0
        try:
            while not self._over.is_set():
                if not self._view.paused:
                    self._shown = self._report
                now = time.monotonic()
                news = (id(self._shown), self._view, self._moment.phase, self._screen.size)
                if news != drawn or now >= due:
                    before = time.thread_time()
                    drawn = news if self._draw() else None
                    cost = time.thread_time() - before
                    due = now + max(_CLOCK_S, cost / _DRAW_SHARE)
                sent = self._screen.read(_BEAT_S)
                keys, rest = keys_in(rest + sent, waited=not sent)
                for key in keys:
                    self._press(key)
        finally:
            self._screen.give_back(for_good=True)

    def _press(self, key: str) -> None:
        from cgoleak.render.live import press  # noqa: PLC0415

        self._view = press(self._view, key, self._seen)
        if self._view.finished:
            self._finish()

    def _draw(self) -> bool:
        from cgoleak.render.live import frame  # noqa: PLC0415
        from cgoleak.render.text.paper import Paper, printed  # noqa: PLC0415

        width, height = self._screen.size
        picture = frame(
            self._shown, self._view, self._moment, width=width, height=height, lang=self._lang
        )
        self._seen = picture.seen
        paper = Paper(width=width, cut=True, lines=list(picture.lines))
        return self._screen.draw(printed(paper, color=self._color).split(b"\n")[:-1])
