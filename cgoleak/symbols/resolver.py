"""Addresses of a process → frames, and what could not be named.

Modules and a way to open them in; ``seal`` gives what goes into the capture. No module is so broken
that it stops the others: it costs a notice, and its addresses read ``module+0x1234``.
"""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgoleak.errors import SymbolError
from cgoleak.model.frames import Frame, Language
from cgoleak.model.notice import Notice
from cgoleak.symbols.module_symbols import ModuleSymbols

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cgoleak.model.capture import Module, RawStack
    from cgoleak.model.ids import Address
    from cgoleak.symbols.elf.object_file import ObjectFile

__all__ = ["Resolver", "seal"]

_SYSTEM: Final = ("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/nix/store/", "/gnu/store/")
"""Libraries of the distribution: nobody expects lines of them, and names are enough."""
_STARTUP: Final = frozenset({"_start", "_init", "_fini"})
"""The C library's part of every program (crt1.o), made without debug information."""
_DELETED: Final = " (deleted)"


class Resolver:
    """Names for the addresses of one process; asks each module once and remembers the answers."""

    def __init__(
        self,
        modules: Iterable[Module],
        open_module: Callable[[Module], ObjectFile],
        *,
        root: Path = Path("/"),
    ) -> None:
        """Take the modules of the process.

        Args:
            modules: in any order; they do not overlap.
            open_module: opens the file of a module; may raise SymbolError or OSError.
            root: where the process's ``/`` is seen, for separate debug files.
        """
        self._modules = sorted(modules, key=lambda module: module.start)
        self._starts = [module.start for module in self._modules]
        self._open = open_module
        self._root = root
        self._symbols: dict[Module, ModuleSymbols | None] = {}
        self._frames: dict[Address, tuple[Frame, ...]] = {}
        self._notices: dict[tuple[str, str], Notice] = {}

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What could not be named so far, at most once per module and code."""
        return tuple(self._notices.values())

    def frames(self, address: Address) -> tuple[Frame, ...]:
        """Return the frames at a return address, innermost first.

        The byte before it is looked up: the call may be the last instruction of its line or
        function. Empty for an address outside every module, and for 0.
        """
        if address not in self._frames:
            module = self._module_at(address - 1) if address else None
            self._frames[address] = () if module is None else self._frames_in(module, address)
        return self._frames[address]

    def _module_at(self, address: int) -> Module | None:
        i = bisect_right(self._starts, address) - 1
        return self._modules[i] if i >= 0 and address < self._modules[i].end else None

    def _frames_in(self, module: Module, address: Address) -> tuple[Frame, ...]:
        symbols = self._opened(module)
        found = () if symbols is None else symbols.frames(address - 1 - module.bias)
        name = _base_name(module)
        if not found:
            if symbols is not None:
                self._note_stripped(module)
            place = f"{name}+{address - module.bias:#x}"
            return (Frame(lang=Language.UNKNOWN, function=place, module=name),)
        outer = found[-1]
        if outer.line is None and outer.lang in (Language.C, Language.CPP):
            self._note_lines(module, outer.function)
        return found

    def _opened(self, module: Module) -> ModuleSymbols | None:
        if module not in self._symbols:
            try:
                obj = self._open(module)
            except (SymbolError, OSError) as exc:
                self._symbols[module] = None
                self._note_missing(module, str(getattr(exc, "cause", None) or exc))
            else:
                path = module.path.removesuffix(_DELETED)
                self._symbols[module] = ModuleSymbols(obj, path, self._root)
        return self._symbols[module]

    def _note_missing(self, module: Module, why: str) -> None:
        if module.path.startswith("/"):  # [vdso] and the like have no file
            self._note(
                module,
                "symbols.missing-file",
                f"{module.path} cannot be read ({why}): its functions have no names",
                "analyse on the machine, and in the container, where the file is",
            )

    def _note_stripped(self, module: Module) -> None:
        symbols = self._symbols[module]
        if symbols is None or symbols.has_symbols:
            return
        self._note(
            module,
            "symbols.stripped",
            f"{module.path} is stripped: functions that it does not export have no names",
            "install its debug symbols, or build it without -s and strip",
        )

    def _note_lines(self, module: Module, function: str) -> None:
        if not module.path.startswith(_SYSTEM) and function not in _STARTUP:
            self._note(
                module,
                "symbols.no-dwarf",
                f"{module.path} has no line information for {function}, and for other C code "
                "perhaps: such frames show the function only",
                "build the C part with -g (CGO_CFLAGS='-O2 -g'), or install its debug symbols",
            )

    def _note(self, module: Module, code: str, text: str, fix: str) -> None:
        self._notices.setdefault((module.path, code), Notice(code=code, text=text, fix=fix))


def seal(
    stacks: Iterable[RawStack],
    modules: Iterable[Module],
    open_module: Callable[[Module], ObjectFile],
    *,
    root: Path = Path("/"),
) -> tuple[Mapping[Address, tuple[Frame, ...]], tuple[Notice, ...]]:
    """Name every address of the stacks.

    Returns:
        Frames by address, innermost first, without the addresses that lie in no module; and the
        notices.
    """
    resolver = Resolver(modules, open_module, root=root)
    addresses = sorted({address for stack in stacks for address in stack.addresses})
    frames = {address: found for address in addresses if (found := resolver.frames(address))}
    return frames, resolver.notices


def _base_name(module: Module) -> str:
    return module.path.removesuffix(_DELETED).rpartition("/")[2]
