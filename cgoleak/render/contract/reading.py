"""A JSON report back into the value that it was written from.

Bytes → ``Report``, by the contract ``cgoleak.report/1``. Reports from CI artifacts can so be
compared and rendered again, without the capture. Field names and kinds are those of the model, as
where it is written. What a newer version has added is passed over; what the contract promises must
be there.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import StrEnum
from functools import cache, partial
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin, get_type_hints

from cgoleak.errors import NewerCapture, NotACapture
from cgoleak.model.capture import Module, Target
from cgoleak.model.frames import Frame
from cgoleak.model.gate import Gate
from cgoleak.model.goprofile import GoSiteGrowth
from cgoleak.model.handles import HandleFamily
from cgoleak.model.ids import Address, SiteKey
from cgoleak.model.notice import Notice
from cgoleak.model.report import Report, Timeline
from cgoleak.render.contract.document import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[Any, str], Any]
    """Value of the document, and where it stands → value of the model."""
    Parts = dict[str, tuple[Read, dict[str, Any]]]
    """Field → what reads it, and what it is where it is absent: by its name, or empty."""

__all__ = ["read_report"]

_SCHEMAS: Final = SCHEMA.partition("/")[0]
_NAMED: Final = {
    kind.__name__: kind
    for kind in (Address, Frame, Gate, GoSiteGrowth, HandleFamily, Module, Notice, SiteKey, Target)
}
"""What the model's modules name from each other for the type checker alone."""
_PROMISED: Final = frozenset({"inlined", "created", "destroyed", "gone", "unmatched", "dropped"})
"""Fields that have a default in the model, for whoever makes one, and are in every report."""


def read_report(content: bytes, name: str) -> Report:
    """Read a report; ``name`` is for errors.

    Raises:
        NewerCapture: it is of a later major version.
        NotACapture: it is no report, or what the contract promises is missing.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NotACapture(f"{name} is not a cgoleak report", cause="it is no JSON") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        if isinstance(schema, str) and schema.startswith(f"{_SCHEMAS}/"):
            raise NewerCapture(f"{name} is of another version: {schema}", fix="update cgoleak")
        raise NotACapture(
            f"{name} is not a cgoleak report",
            cause=f"its schema is not {SCHEMA}",
            fix="name a file that was written by: cgoleak attach PID -o NAME.json",
        )
    try:
        report: Report = _reader(Report)(document, "")
    except _Missing as error:
        raise NotACapture(f"{name} is not a whole report", cause=str(error)) from error
    if report.timeline is not None and not _is_even(report.timeline):
        return replace(report, timeline=None)
    return report


class _Missing(Exception):
    """Something that the contract promises is not there, or is of another kind."""


def _is_even(timeline: Timeline) -> bool:
    """Tell if the columns are of equal length; an older version may have had fewer."""
    return len({len(getattr(timeline, column.name)) for column in fields(timeline)}) == 1


@cache
def _reader(kind: Any) -> Read:
    """Give what reads values of a type of the model."""
    kind = getattr(kind, "__supertype__", kind)
    if get_origin(kind) is UnionType:
        (arm,) = (one for one in get_args(kind) if one is not type(None))
        return partial(_or_none, _reader(arm))
    if get_origin(kind) is tuple:
        item, *others = get_args(kind)
        number = None if others == [Ellipsis] else 1 + len(others)
        return partial(_items, _reader(item), number)
    if is_dataclass(kind) or issubclass(kind, Frame):
        return partial(_object, kind, _parts(kind))
    if issubclass(kind, StrEnum):
        return partial(_choice, kind)
    return _number if kind is float else partial(_plain, kind)


def _parts(kind: Any) -> Parts:
    """Give the reader of each field, and the default: the model's, or that of older versions."""
    hints = get_type_hints(kind, localns=_NAMED)
    if is_dataclass(kind):
        defaults = {one.name: one.default for one in fields(kind) if one.default is not MISSING}
    else:
        defaults = kind._field_defaults
    found: Parts = {}
    for name, hint in hints.items():
        has_default = name in defaults and name not in _PROMISED
        absent = {name: defaults[name]} if has_default else {}
        if not absent and get_origin(hint) in {UnionType, tuple}:
            absent = {name: None if get_origin(hint) is UnionType else ()}
        found[name] = (_reader(hint), absent)
    return found


def _object(kind: Any, parts: Parts, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise _Missing(f"{path or 'the document'} is no object")
    found = {}
    for name, (read, absent) in parts.items():
        one = value.get(name)
        if one is None and absent:
            found.update(absent)
        elif one is None and name not in value:
            raise _Missing(f"{_at(path, name)} is missing")
        else:
            found[name] = read(one, _at(path, name))
    return kind(**found)


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _or_none(read: Read, value: Any, path: str) -> Any:
    return None if value is None else read(value, path)


def _items(read: Read, number: int | None, value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or (number is not None and len(value) != number):
        raise _Missing(f"{path} is no list" + ("" if number is None else f" of {number}"))
    return tuple([read(one, f"{path}[{at}]") for at, one in enumerate(value)])


def _choice(kind: type[StrEnum], value: Any, path: str) -> StrEnum:
    try:
        return kind(_plain(str, value, path))
    except ValueError as error:
        raise _Missing(f"{path} is {value!r}, which is not known") from error


def _plain(kind: type, value: Any, path: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _Missing(f"{path} is of another kind")
    return value


def _number(value: Any, path: str) -> float:
    """Read a number; null stands for one that is not finite, and is 0 as these are."""
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _Missing(f"{path} is no number")
    try:
        number = float(value)
    except OverflowError as error:
        raise _Missing(f"{path} is too large") from error
    return number if math.isfinite(number) else 0.0
