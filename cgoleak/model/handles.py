"""Handles: what a library's own functions make and give up, counted beside blocks of memory.

A family is one kind of them, such as SQLite's statements. The numbers are those of
``probes/layout.h``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Family", "HandleFamily", "PairFunction", "Role", "Success"]


class Role(IntEnum):
    """What a function does with a handle."""

    CREATE = 1
    DESTROY = 2
    RESIZE = 3
    """It gives one up and makes another, as ``realloc`` does."""


class Success(IntEnum):
    """What a function returns when it has done what it is there for; tested as an ``int``."""

    ANY = 0
    ZERO = 1
    NONZERO = 2
    POSITIVE = 3
    NOT_NEGATIVE = 4
    TRUE = 5
    """A ``bool``."""


@dataclass(frozen=True, slots=True)
class PairFunction:
    """One function of a family.

    Attributes:
        name: its symbol; of C++ the mangled one.
        argument: which argument is the handle, from 1 on; 0 is the result.
        indirect: the argument points to the handle, or to where it is put.
        success: when it has made, or given up, the handle.
        size: of each handle, in bytes, if it is always the same; else 0.
        size_argument: which argument says the size; 0: none.
        count_argument: by which argument that is multiplied; 0: by none.
        unless: a function that reads a flag of what an argument points to; where it is set, nothing
            is made that must be given up. Its name, or "".
        unless_argument: that argument.
        early: what is made may be given up before the function returns, by another thread.
        within: calls of it within the library that has it count as well.
    """

    name: str
    role: Role
    argument: int
    indirect: bool = False
    success: Success = Success.ANY
    size: int = 0
    size_argument: int = 0
    count_argument: int = 0
    unless: str = ""
    unless_argument: int = 0
    early: bool = False
    within: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of handles and the functions that make and give them up."""

    name: str
    functions: tuple[PairFunction, ...]

    def names(self, *roles: Role) -> tuple[str, ...]:
        """Give the functions of some roles, in the order that they were written in."""
        return tuple(one.name for one in self.functions if one.role in roles)


@dataclass(frozen=True, slots=True)
class HandleFamily:
    """What was counted of a family, over the whole window.

    Attributes:
        creates: names of the functions that make one.
        destroys: names of those that give one up.
        created: handles that were made.
        destroyed: those of them that were given up by one of ``destroys``.
        gone: those whose memory was freed by the library itself, without such a call.
        unmatched: handles from before the attach that were given up.
        dropped: handles that found no room in the probe's table.
    """

    name: str
    creates: tuple[str, ...]
    destroys: tuple[str, ...]
    created: int = 0
    destroyed: int = 0
    gone: int = 0
    unmatched: int = 0
    dropped: int = 0
