"""The window as a chart: paths of an SVG whose view box is the window.

Timeline → paths. The page's script zooms by setting another view box and draws no line itself, so
that the chart is the same with and without scripts, and in print.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cgoleak.model.report import Report, Timeline
    from cgoleak.model.words import Words

__all__ = ["HEIGHT", "WIDTH", "Chart", "Curve", "Tick", "chart_of", "sparkline"]

WIDTH: Final = 1000
"""Units of the view box across the window; its height counts from the top."""
HEIGHT: Final = 1000
_TABLE_ROWS: Final = 12
_LONGEST_FORECAST: Final = 0.3
"""As a share of the window: a forecast must not push what was measured aside."""
_STEPS: Final = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Curve:
    """One line; ``name`` is a field of the timeline, ``now`` its last known value in words."""

    name: str
    label: str
    path: str
    area: str
    now: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis, in percent from the left or from the top."""

    at: str
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything that is drawn.

    Attributes:
        end: seconds at the right edge: the window, or the end of the forecast.
        top: bytes at the upper edge.
        forecast: path of what Go will hand back, or empty.
        collections: path with one stroke for each interval that had a GC.
        restarts: view box positions.
        table: rows of the same numbers in words.
    """

    curves: tuple[Curve, ...]
    end: float
    top: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    forecast: str
    collections: str
    restarts: tuple[tuple[str, str], ...]
    head: tuple[str, ...]
    table: tuple[tuple[str, ...], ...]


def chart_of(report: Report, words: Words) -> Chart | None:
    """Draw the chart; None unless there are two instants."""
    line = report.timeline
    if line is None or len(line.seconds) < 2 or line.seconds[-1] <= 0:
        return None
    everything = [(name, words(label), getattr(line, name)) for name, label in _LINES]
    columns = [one for one in everything if any(value is not None for value in one[2])]
    highest = max((value or 0 for _, _, values in columns for value in values), default=0)
    top = _round_up(highest)
    ahead = _forecast_seconds(report, line)
    end = line.seconds[-1] + ahead
    breaks = [one.at for one in report.restarts]
    curves = []
    for name, label, values in columns:
        points = [
            (at, value) for at, value in zip(line.seconds, values, strict=True) if value is not None
        ]
        runs = list(_runs(points, breaks))
        path = " ".join(_path(run, end, top) for run in runs)
        area = " ".join(_area(run, end, top) for run in runs) if name == "outstanding_bytes" else ""
        curves.append(Curve(name, label, path, area, format_bytes(points[-1][1])))
    return Chart(
        curves=tuple(curves),
        end=end,
        top=top,
        x_ticks=_x_ticks(end),
        y_ticks=_y_ticks(top),
        forecast=_forecast(report, line, ahead, end, top),
        collections=_collections(line, end),
        restarts=tuple(
            (_x(one.at, end), words("restart at {time}", time=format_seconds(one.at)))
            for one in report.restarts
        ),
        head=(words("time"), *(label for _, label, _ in columns)),
        table=_table(line, [values for _, _, values in columns]),
    )


def sparkline(values: Sequence[int]) -> str:
    """Draw a small curve in a box of 100 by 24, from zero up; empty below two values."""
    if len(values) < 2:
        return ""
    top = max(1, *values)
    step = 100 / (len(values) - 1)
    points = (
        f"{place * step:.1f} {23 - 22 * max(0, value) / top:.1f}"
        for place, value in enumerate(values)
    )
    return "M" + "L".join(points)


_LINES: Final = (
    ("rss_bytes", "RSS"),
    ("outstanding_bytes", "native outstanding"),
    ("go_in_use_bytes", "Go heap in use"),
    ("go_held_bytes", "Go heap held back"),
    ("slack_bytes", "allocator slack"),
)


def _x(seconds: float, end: float) -> str:
    return f"{WIDTH * seconds / end:.1f}"


def _y(size: float, top: int) -> str:
    return f"{HEIGHT - HEIGHT * max(0.0, size) / top:.1f}"


def _runs(
    points: Iterable[tuple[float, int]], breaks: Sequence[float]
) -> Iterable[list[tuple[float, int]]]:
    """Part the points where a process took another's place."""
    for _, run in itertools.groupby(points, lambda point: sum(at <= point[0] for at in breaks)):
        yield list(run)


def _path(run: Sequence[tuple[float, int]], end: float, top: int) -> str:
    first, *rest = (f"{_x(at, end)} {_y(size, top)}" for at, size in run)
    # A single point is a line of no length, which round caps show as a dot.
    return f"M{first}L{'L'.join(rest or [first])}"


def _area(run: Sequence[tuple[float, int]], end: float, top: int) -> str:
    line = _path(run, end, top)
    return f"{line}L{_x(run[-1][0], end)} {HEIGHT}L{_x(run[0][0], end)} {HEIGHT}Z"


def _forecast_seconds(report: Report, line: Timeline) -> float:
    back = report.go_return
    if back is None or back.within_seconds is None or not back.returning_bytes:
        return 0.0
    return min(back.within_seconds[1], _LONGEST_FORECAST * line.seconds[-1])


def _forecast(report: Report, line: Timeline, ahead: float, end: float, top: int) -> str:
    """Draw what Go still holds from now on, falling to what it keeps as a buffer."""
    back = report.go_return
    held = line.go_held_bytes[-1]
    if back is None or back.within_seconds is None or held is None or not ahead:
        return ""
    share = min(1.0, ahead / max(back.within_seconds[1], 0.001))
    then = held - share * back.returning_bytes
    return f"M{_x(line.seconds[-1], end)} {_y(held, top)}L{_x(end, end)} {_y(then, top)}"


def _collections(line: Timeline, end: float) -> str:
    known = [
        (at, count)
        for at, count in zip(line.seconds, line.gc_cycles, strict=True)
        if count is not None
    ]
    return "".join(
        f"M{_x(at, end)} {HEIGHT}v-30"
        for (_, before), (at, after) in itertools.pairwise(known)
        if after > before
    )


def _round_up(size: int) -> int:
    """Give the next size that divides into ticks well."""
    step = _tick_bytes(size)
    return max(step, -(-size // step) * step)


def _tick_bytes(size: int) -> int:
    """Choose a round size such that four or less make the whole."""
    unit = 1
    while True:
        for base in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
            if base * unit * 4 >= size:
                return base * unit
        unit *= 1024


def _y_ticks(top: int) -> tuple[Tick, ...]:
    step = _tick_bytes(top)
    return tuple(
        Tick(f"{100 - 100 * size / top:.2f}", format_bytes(size))
        for size in range(step, top + 1, step)
    )


def _x_ticks(end: float) -> tuple[Tick, ...]:
    """Mark round times; the script marks others where somebody zooms in."""
    step = next(step for step in _times() if end / step <= 6)
    count = int(end / step)
    return tuple(
        Tick(
            f"{100 * place * step / end:.2f}",
            format_seconds(place * step),
            "start" if place == 0 else "end" if place * step / end > 0.95 else "middle",
        )
        for place in range(count + 1)
    )


def _times() -> Iterable[float]:
    """Give round times, ever longer: 1, 2, 5, 10 s and so on, then minutes, hours and days."""
    yield from (base * 10**power for power in range(-3, 1) for base in _STEPS)
    yield from (10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200)
    yield from (86400.0 * base * 10**power for power in range(8) for base in _STEPS)
    yield float("inf")


def _table(line: Timeline, columns: Sequence[Sequence[int | None]]) -> tuple[tuple[str, ...], ...]:
    count = len(line.seconds)
    rows = min(count, _TABLE_ROWS)
    chosen = sorted({round(row * (count - 1) / (rows - 1)) for row in range(rows)})
    return tuple(
        (
            format_seconds(line.seconds[place]),
            *(
                "-" if (value := column[place]) is None else format_bytes(value)
                for column in columns
            ),
        )
        for place in chosen
    )
