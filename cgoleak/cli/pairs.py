"""Which handles are counted beside the blocks: ``--pair``, ``--pair-set`` and ``--pair-config``.

Words of the command line and TOML files → families. A file has one table a family::

    [sqlite3_stmt]
    create = { function = "sqlite3_prepare_v2", handle = "*arg4", success = "zero" }
    destroy = "sqlite3_finalize"

A function is its name, or a table with what differs from the usual: that a create function returns
the handle, and a destroy function takes it as its first argument.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from cgoleak.errors import PairError
from cgoleak.model.handles import Family, PairFunction, Role, Success
from cgoleak.spelling import known_names
from cgoleak.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

__all__ = ["PairOptions", "known_sets", "parse_families", "parse_pair", "read_families"]

_SETS: Final = "pairsets"
_LARGEST: Final = 1 << 20
_MOST_ARGUMENTS: Final = 22
"""Six in registers and sixteen on the stack: what a hook passes on (``probes/pairs.c``)."""
_MOST_BYTES: Final = (1 << 35) - 1
_NAME: Final = re.compile(r"[A-Za-z_.$][\w.$@]*", re.ASCII)
_ARGUMENT: Final = re.compile(r"(\*?)arg([1-9]\d?)")
_SIZES: Final = re.compile(r"arg([1-9]\d?)(?:\*arg([1-9]\d?))?")
_ROLES: Final = {"create": Role.CREATE, "destroy": Role.DESTROY, "resize": Role.RESIZE}
_FUNCTION_KEYS: Final = ("function", "handle", "success", "size", "unless", "early", "within")
_UNLESS: Final = re.compile(r"([A-Za-z_]\w*)\(arg([1-9]\d?)\)", re.ASCII)
_SUCCESS: Final = {
    "any": Success.ANY,
    "zero": Success.ZERO,
    "nonzero": Success.NONZERO,
    "positive": Success.POSITIVE,
    "not-negative": Success.NOT_NEGATIVE,
    "true": Success.TRUE,
}


@dataclass(frozen=True, slots=True)
class PairOptions:
    """The three options as they were given."""

    pair: tuple[str, ...] = ()
    pair_set: tuple[str, ...] = ()
    pair_config: tuple[Path, ...] = ()

    def families(self) -> tuple[Family, ...]:
        """Read them.

        Raises:
            PairError: one is wrong, or two families have one name.
        """
        found = [parse_pair(word) for word in self.pair]
        for path in self.pair_config:
            found += read_families(path)
        for name in self.pair_set:
            found += _ready_set(name)
        seen: dict[str, Family] = {}
        for family in found:
            if seen.setdefault(family.name, family) != family:
                raise PairError(
                    f"{family.name!r} is said twice, and not the same",
                    fix="give one of them another name",
                )
        return tuple(seen.values())


def parse_pair(word: str) -> Family:
    """Read ``CREATE:DESTROY`` or ``CREATE:DESTROY:RESIZE``; ``RESIZE`` takes arguments as realloc.

    Raises:
        PairError: it is none.
    """
    names = word.split(":")
    if not 2 <= len(names) <= 3 or not all(map(_NAME.fullmatch, names)):
        raise PairError(
            f"cannot read the pair {word!r}",
            cause="it is a create and a destroy function, with a colon between them",
            fix="for example --pair rd_malloc:rd_free, or rd_malloc:rd_free:rd_realloc",
        )
    # Whoever has a realloc is a malloc, and says how much is wanted as it does.
    sized = 1 if len(names) == 3 else 0
    functions = [
        PairFunction(names[0], Role.CREATE, 0, size_argument=sized),
        PairFunction(names[1], Role.DESTROY, 1),
    ]
    if sized:
        functions.append(PairFunction(names[2], Role.RESIZE, 1, size_argument=2))
    return _checked(Family(names[0], tuple(functions)), f"--pair {word}")


def known_sets() -> tuple[str, ...]:
    """Give the names of the ready sets."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in _sets()))


def _sets() -> Iterable[Traversable]:
    folder = resources.files("cgoleak.cli") / _SETS
    return (file for file in folder.iterdir() if file.name.endswith(".toml"))


def _ready_set(name: str) -> tuple[Family, ...]:
    for file in _sets():
        if file.name == f"{name}.toml":
            return parse_families(file.read_text("utf-8"), name=file.name)
    known, near = known_names(name, known_sets())
    raise PairError(
        f"there is no ready set {name!r}",
        cause=known,
        fix=near or "describe it with --pair-config FILE",
    )


def read_families(path: Path) -> tuple[Family, ...]:
    """Read a file.

    Raises:
        PairError: it cannot be read, or is wrong.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise PairError(f"cannot read {path}", cause="it is larger than 1 MiB")
        return parse_families(raw.decode("utf-8"), name=str(path))
    except OSError as exc:
        raise PairError(f"cannot read {path}", cause=exc.strerror) from exc
    except UnicodeDecodeError as exc:
        raise PairError(f"cannot read {path}", cause=str(exc)) from exc


def parse_families(text: str, *, name: str) -> tuple[Family, ...]:
    """Read TOML.

    Raises:
        PairError: no TOML, an unknown key, or a value that is none.
    """
    try:
        found: Mapping[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise PairError(f"cannot read {name}", cause=str(exc), fix="correct it") from exc
    where = _Where(name, text)
    return tuple(_family(key, value, where) for key, value in found.items())


@dataclass(frozen=True, slots=True)
class _Where:
    """A file, for errors that say a line."""

    name: str
    text: str

    def wrong(self, family: str, what: str, cause: str | None, fix: str | None = None) -> PairError:
        """Make an error about a family, at the line of its heading or of the word in question."""
        lines = self.text.splitlines()
        head = re.compile(rf"""\s*\[\s*["']?{re.escape(family)}["']?\s*[].]""")
        start = next((n for n, line in enumerate(lines) if head.match(line)), None)
        number = f":{start + 1}" if start is not None else ""
        word = re.search(r"(?:'|take )([^' ]+)", what)
        if start is not None and word is not None:
            for offset, line in enumerate(lines[start:]):
                if offset and line.lstrip().startswith("["):
                    break
                if word[1] in line and (offset or word[1] != family):
                    number = f":{start + offset + 1}"
                    break
        return PairError(f"{self.name}{number}: [{family}] {what}", cause=cause, fix=fix)


def _family(name: str, table: object, where: _Where) -> Family:
    if not isinstance(table, dict):
        raise where.wrong(
            name, "is no table", "a family of handles is one", f"write [{name}] above its functions"
        )
    if not name or not name.isprintable():
        raise where.wrong(name, "is no name", "it is printed in reports")
    for key in table:
        if key not in _ROLES:
            raise where.wrong(name, f"there is no key {key!r}", *known_names(key, tuple(_ROLES)))
    functions: list[PairFunction] = []
    for key, role in _ROLES.items():
        value = table.get(key, [])
        functions += [
            _function(name, role, one, where)
            for one in (value if isinstance(value, list) else [value])
        ]
    return _checked(Family(name, tuple(functions)), where.name, where)


def _function(family: str, role: Role, value: object, where: _Where) -> PairFunction:
    table = {"function": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        raise where.wrong(family, f"cannot take {value!r}", "a function is its name or a table")
    for key in table:
        if key not in _FUNCTION_KEYS:
            raise where.wrong(family, f"there is no key {key!r}", *known_names(key, _FUNCTION_KEYS))
    name = table.get("function")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise where.wrong(
            family,
            f"cannot take {name!r} as a function",
            "its symbol is wanted; of C++ the mangled one, as nm shows it",
        )
    argument, indirect = _handle(family, role, table.get("handle"), where)
    size, size_argument, count_argument = _size(family, table.get("size"), where)
    if role is Role.RESIZE and "size" not in table:
        size_argument = 2
    success = table.get("success", "any")
    if not isinstance(success, str) or success not in _SUCCESS:
        raise where.wrong(
            family,
            f"cannot take {success!r} as success",
            *known_names(str(success), tuple(_SUCCESS)),
        )
    unless, unless_argument = _unless(family, role, table.get("unless"), where)
    early = table.get("early", False)
    if not isinstance(early, bool) or (early and role is not Role.CREATE):
        raise where.wrong(
            family, f"cannot take {early!r} as early", "it is true or false, of a create function"
        )
    within = table.get("within", False)
    if not isinstance(within, bool):
        raise where.wrong(family, f"cannot take {within!r} as within", "it is true or false")
    return PairFunction(
        name=name,
        role=role,
        argument=argument,
        indirect=indirect,
        success=_SUCCESS[success],
        size=size,
        size_argument=size_argument,
        count_argument=count_argument,
        unless=unless,
        unless_argument=unless_argument,
        early=early,
        within=within,
    )


def _unless(family: str, role: Role, value: object, where: _Where) -> tuple[str, int]:
    """Give the function that reads a flag, and the argument that it reads it of."""
    if value is None:
        return "", 0
    found = _UNLESS.fullmatch(value) if isinstance(value, str) and role is Role.CREATE else None
    if found is None or int(found[2]) > _MOST_ARGUMENTS:
        raise where.wrong(
            family,
            f"cannot take {value!r} as unless",
            "it is a function that reads a flag of what an argument of a create function points to:"
            ' "pthread_attr_getdetachstate(arg2)"',
        )
    return found[1], int(found[2])


def _handle(family: str, role: Role, value: object, where: _Where) -> tuple[int, bool]:
    if value is None:
        return (0, False) if role is Role.CREATE else (1, False)
    if value == "result" and role is Role.CREATE:
        return 0, False
    found = _ARGUMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[2]) > _MOST_ARGUMENTS:
        raise where.wrong(
            family,
            f"cannot take {value!r} as handle",
            'it is "result" (of a create function), "arg1", or "*arg1" where the argument points'
            f" to it; arguments go up to {_MOST_ARGUMENTS}",
        )
    return int(found[2]), bool(found[1])


def _size(family: str, value: object, where: _Where) -> tuple[int, int, int]:
    """Give bytes, the argument that says them, and the one that multiplies them."""
    if value is None:
        return 0, 0, 0
    if isinstance(value, str) and (found := _SIZES.fullmatch(value)) is not None:
        one, other = int(found[1]), int(found[2] or 0)
        if max(one, other) <= _MOST_ARGUMENTS:
            return 0, one, other
    size = parse_size(value) if isinstance(value, str) else value
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MOST_BYTES:
        raise where.wrong(
            family,
            f"cannot take {value!r} as size",
            'it is bytes, a size such as "4 KiB", or the argument that says it: "arg1",'
            ' "arg1*arg2"',
        )
    return size, 0, 0


def _checked(family: Family, name: str, where: _Where | None = None) -> Family:
    """Look at the family as a whole: what it needs, and what it must not have."""

    def wrong(what: str, cause: str, fix: str | None = None) -> PairError:
        if where is not None:
            return where.wrong(family.name, what, cause, fix)
        return PairError(f"{name}: {what}", cause=cause, fix=fix)

    for role, word in ((Role.CREATE, "create"), (Role.DESTROY, "destroy")):
        if not family.names(role):
            raise wrong(f"has no {word} function", "both are needed to tell what is outstanding")
    names = [one.name for one in family.functions]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise wrong(f"has {twice!r} twice", "a function does one thing with a handle")
    if len({one.within for one in family.functions}) > 1:
        raise wrong(
            "has 'within' of some functions and not of others",
            "what a library makes within itself it gives up there as well",
            "write it to each of them, or to none",
        )
    throws = next(
        (
            one.name
            for one in family.functions
            if one.name.startswith("_Z")
            and (one.role is not Role.DESTROY or one.success is not Success.ANY)
        ),
        None,
    )
    if throws is not None:
        raise wrong(
            f"cannot count by {throws!r}",
            "it is C++, and an exception thrown out of it would end the program: the unwinder does"
            " not know the frame that watches it return",
            'name a function of C around it that throws nothing (extern "C")',
        )
    from cgoleak.probe.calls.slots import FUNCTION_NAMES  # noqa: PLC0415  (whoever asks for help waits not)

    taken = next((one for one in names if one in FUNCTION_NAMES), None)
    if taken is not None:
        raise wrong(
            f"cannot count by {taken!r}",
            "every call of it is followed as it is",
            "name the library's own functions that call it",
        )
    return family
