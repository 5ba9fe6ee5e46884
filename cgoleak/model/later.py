"""Values of which some fields are found when somebody asks for them.

Of ten thousand findings a screen shows ten: the sentences of the others are never made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Later"]


class Later:
    """Base of a frozen dataclass with slots; equality, ``replace`` and the rest work as ever."""

    __slots__ = ("_find",)

    @classmethod
    def later(cls, find: Callable[[], Mapping[str, Any]], **known: Any) -> Self:
        """Make a value of the fields that are known; ``find`` gives all others, once."""
        made = cls.__new__(cls)
        for name, value in known.items():
            object.__setattr__(made, name, value)
        object.__setattr__(made, "_find", find)
        return made

    if not TYPE_CHECKING:  # to a type checker this would be a class with any attribute

        def __getattr__(self, name: str) -> Any:
            """Find what is not there yet; called for nothing else."""
            find = object.__getattribute__(self, "_find")
            if name.startswith("_") or name not in self.__dataclass_fields__:
                raise AttributeError(name)
            for field, value in find().items():
                object.__setattr__(self, field, value)
            object.__delattr__(self, "_find")
            return object.__getattribute__(self, name)
