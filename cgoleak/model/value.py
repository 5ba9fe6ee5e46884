"""``dataclass(frozen=True, slots=True)`` as the standard library's, made in half the time.

The standard one writes and compiles six methods for each class at import: for the fifty classes of
a report they took a fifteenth of the whole command. Those that compare, hash and show are the same
for all classes here, and look the fields up when they are called, which takes longer than compiled
ones: what is compared by the ten thousand is a named tuple. All else is the standard library's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass"]

if TYPE_CHECKING:  # to a type checker it is the same
    from dataclasses import dataclass
else:
    import dataclasses

    def dataclass(*, frozen, slots):
        """Give the decorator; the arguments are there to be read beside each class."""
        if not (frozen and slots):
            raise TypeError("a value is frozen and has slots")
        return _made

    def _made(cls):
        made = dataclasses.dataclass(frozen=True, slots=True, eq=False, repr=False)(cls)
        made.__eq__, made.__hash__, made.__repr__ = _equal, _hash, _shown
        return made

    def _values(self):
        return tuple([getattr(self, name) for name in self.__match_args__])

    def _equal(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _values(self) == _values(other)

    def _hash(self):
        return hash(_values(self))

    def _shown(self):
        pairs = zip(self.__match_args__, _values(self), strict=True)
        return f"{type(self).__qualname__}({', '.join(f'{name}={one!r}' for name, one in pairs)})"
