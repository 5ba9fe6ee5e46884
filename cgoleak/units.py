"""Numbers as people read them: a number always has a unit, sizes are IEC."""

from __future__ import annotations

import re

__all__ = [
    "format_bytes",
    "format_bytes_change",
    "format_count",
    "format_percent",
    "format_rate",
    "format_seconds",
    "is_growth",
    "parse_rate",
    "parse_seconds",
    "parse_size",
    "plural",
]

_RATE = re.compile(
    r"(?P<number>\d{1,12}(?:\.\d{1,9})?)\s*(?:(?P<size>[kKMGT])(?:iB|(?P<decimal>B))?|B)?"
    r"(?:\s*/\s*(?P<time>s|sec|min|h))?"
)
_TIME = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|min|h|d)?")
_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_MINUTE = 60
_HOUR = 3600
_DAY = 86400
_TWO_MINUTES = 120


def format_bytes(number: float) -> str:
    """Give ``18.4 MiB``, ``312 KiB``, ``96 B``, ``0 B``; fractions of a byte only below 10 B."""
    sign, size = ("-" if number < 0 else ""), abs(number)
    if size < 1023.5:
        text = f"{size:.1f}" if size < 9.95 and size != int(size) else f"{size:.0f}"
        text = text.removesuffix(".0")
        return f"{sign if text != '0' else ''}{text} B"
    for unit in _SIZES:
        size /= 1024
        if size < 1023.5 or unit == _SIZES[-1]:
            break
    return f"{sign}{size:.{1 if size < 99.95 else 0}f} {unit}"


def format_bytes_change(number: float) -> str:
    """Give a size with its sign: ``+84.3 MiB``, ``-96 B``, ``0 B``."""
    text = format_bytes(number)
    return text if text.startswith("-") or text == "0 B" else f"+{text}"


def format_rate(bytes_per_second: float) -> str:
    """Give ``312 KiB/s``."""
    return f"{format_bytes(bytes_per_second)}/s"


def is_growth(per_second: float) -> bool:
    """Tell growth from the noise of a fit, which is below one byte, or one handle, in an hour."""
    return abs(per_second) * 3600 >= 1


def parse_rate(text: str) -> float | None:
    """Read ``200KiB/s``, ``1.5 MB/min`` or ``512`` into bytes per second; None if it is no rate.

    ``K`` and ``KiB`` are 1,024 bytes, ``KB`` and ``kB`` 1,000; without a time it is per second.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None:
        return None
    base = 1000 if match["decimal"] else 1024
    power = " KMGT".index((match["size"] or " ").upper())
    return (
        float(match["number"])
        * float(base**power)
        / {"s": 1, "sec": 1, "min": _MINUTE, "h": _HOUR}[match["time"] or "s"]
    )


def parse_size(text: str) -> int | None:
    """Read ``64 KiB``, ``1.5MB`` or ``512`` into bytes; None if it is no size."""
    found = None if "/" in text else parse_rate(text)
    return None if found is None else round(found)


def parse_seconds(text: str) -> float | None:
    """Read ``90s``, ``5m`` or ``1.5h`` into seconds, a plain number too; None if it is no time."""
    match = _TIME.fullmatch(text.strip())
    return None if match is None else float(match[1]) * _TIMES[match[2] or "s"]


def format_seconds(seconds: float) -> str:
    """Give ``14 ms``, ``59.8 s``, ``2 min 5 s``, ``3 h 20 min``, ``2 d 4 h``."""
    if seconds < 0:
        return f"-{format_seconds(-seconds)}"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs" if seconds else "0 s"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < _TWO_MINUTES - 0.05:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for large, small, names in (
        (_DAY, _HOUR, ("d", "h")),
        (_HOUR, _MINUTE, ("h", "min")),
        (_MINUTE, 1, ("min", "s")),
    ):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {names[0]}" + (f" {rest} {names[1]}" if rest else "")
    raise AssertionError(seconds)  # two minutes and more are covered


def format_count(number: int) -> str:
    """Give a count with its thousands apart: ``18 640``."""
    return f"{number:,}".replace(",", " ")


def format_percent(share: float) -> str:
    """Give a share of one as ``99 %``; what is neither none nor all never looks as if it were."""
    if 0 < share < 0.01:
        return "less than 1 %"
    if 0.99 < share < 1:
        return "more than 99 %"
    return f"{share * 100:.0f} %"


def plural(number: int, noun: str) -> str:
    """Give ``1 block`` or ``18 640 blocks``."""
    return f"{format_count(number)} {noun}{'' if number == 1 else 's'}"
