"""What a team allows: ``cgoleak.toml``, or ``[tool.cgoleak]`` in ``pyproject.toml`` → ``Limits``.

Every key has a default that is also what a file without it means. A key that is not known is an
error with the key that was probably meant: a limit that is misspelled guards nothing.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgoleak.errors import PolicyError
from cgoleak.spelling import known_names
from cgoleak.units import parse_rate, parse_seconds, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["KEYS", "Limits", "parse_limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The policy of ``cgoleak check``; None is no limit.

    A site that is judged ``native-leak`` fails, unless limits are set and it keeps to all of them.

    Attributes:
        suspect: ``warn`` or ``fail``: what a suspect site does.
        min_age_seconds: a site whose blocks are all younger makes no finding; None for 5 s.
        min_gc_cycles: cycles that evidence needs where cleanups free C memory; None for 2.
        max_bytes: outstanding bytes that a site may keep.
        max_blocks: outstanding blocks.
        max_growth: bytes per second.
        max_bytes_per_iteration: with ``per`` iterations.
        max_blocks_per_iteration: the same in blocks.
        per: how many iterations the program makes.
        suppressions: files in LeakSanitizer's format, as written.
        baseline: the file of known sites, as written.
        tolerance: share by which a known site may grow.
    """

    suspect: str = "warn"
    min_age_seconds: float | None = None
    min_gc_cycles: int | None = None
    max_bytes: int | None = None
    max_blocks: int | None = None
    max_growth: float | None = None
    max_bytes_per_iteration: float | None = None
    max_blocks_per_iteration: float | None = None
    per: int | None = None
    suppressions: tuple[str, ...] = ()
    baseline: str | None = None
    tolerance: float = 0.1

    @property
    def has_limits(self) -> bool:
        """Whether a leak can be small enough."""
        return any(
            limit is not None
            for limit in (
                self.max_bytes,
                self.max_blocks,
                self.max_growth,
                self.max_bytes_per_iteration,
                self.max_blocks_per_iteration,
            )
        )


def parse_limits(text: str, *, name: str, table: tuple[str, ...] = ()) -> Limits | None:
    """Read TOML; ``table`` is the way to ours, None comes back where the file has none.

    Raises:
        PolicyError: no TOML, an unknown key, or a value that is none.
    """
    try:
        found: Any = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise PolicyError(f"cannot read {name}", cause=str(exc), fix="correct it") from exc
    for step in table:
        found = found.get(step) if isinstance(found, dict) else None
    if found is None:
        return None
    if not isinstance(found, dict):
        raise PolicyError(f"{name}: {'.'.join(table)} is not a table")
    values: dict[str, Any] = {}
    for key, value in found.items():
        if key not in KEYS:
            known, near = known_names(key, KEYS)
            raise PolicyError(f"{name}: there is no key {key!r}", cause=known, fix=near)
        field, read = KEYS[key]
        values[field] = _read(read, value, f"{name}: {key}")
    return Limits(**values)


def _read(read: Callable[[Any], Any], value: object, where: str) -> Any:
    try:
        return read(value)
    except (TypeError, ValueError) as exc:
        raise PolicyError(f"{where}: cannot take {value!r}", cause=str(exc)) from exc


def _choice(value: object) -> str:
    if value not in ("warn", "fail"):
        raise ValueError('it is "warn" or "fail"')
    return str(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ValueError("a whole number from 0 on is wanted")
    return value


def _times(value: object) -> int:
    if (times := _whole(value)) == 0:
        raise ValueError("a whole number from 1 on is wanted")
    return times


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10:
        raise ValueError("a share is wanted: 0.1 is a tenth")
    return float(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18:
        raise ValueError("a number from 0 on is wanted")
    return float(value)


def _size(value: object) -> int:
    found = parse_size(value) if isinstance(value, str) else _whole(value)
    if found is None:
        raise ValueError("a size such as 64 KiB is wanted")
    return found


def _growth(value: object) -> float:
    found = parse_rate(value) if isinstance(value, str) else _number(value)
    if found is None:
        raise ValueError("a rate such as 1 KiB/s is wanted")
    return found


def _seconds(value: object) -> float:
    found = parse_seconds(value) if isinstance(value, str) else _number(value)
    if found is None:
        raise ValueError("a time such as 5s is wanted")
    return found


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a file name is wanted")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(_text, value)) if isinstance(value, list) else (_text(value),)


KEYS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "suspect": ("suspect", _choice),
    "min_age": ("min_age_seconds", _seconds),
    "min_gc_cycles": ("min_gc_cycles", _whole),
    "max_bytes": ("max_bytes", _size),
    "max_blocks": ("max_blocks", _whole),
    "max_growth": ("max_growth", _growth),
    "max_bytes_per_iteration": ("max_bytes_per_iteration", _size),
    "max_blocks_per_iteration": ("max_blocks_per_iteration", _number),
    "per": ("per", _times),
    "suppressions": ("suppressions", _texts),
    "baseline": ("baseline", _text),
    "tolerance": ("tolerance", _share),
}
"""Key in the file → field of ``Limits`` and how its value is read."""
