"""Finds the relocation slots through which C code reaches its allocator.

modules + their current contents → slots and providers. The loader fills a slot for each module
that calls ``malloc`` through its PLT (JUMP_SLOT), takes its address (GLOB_DAT) or keeps it in data
(64-bit absolute). Which relocations a file has is read with pyelftools' structures from the file;
what they hold now is read from the target: a slot is taken only if that is the provider itself, or
the module's own stub that the loader has not bound yet.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.probe.wire.layout import Function
from cgoleak.probe.wire.tables import FoundSlot
from cgoleak.symbols.elf.object_file import EM_AARCH64, EM_X86_64

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cgoleak.probe.calls.modules import LoadedModule
    from cgoleak.target.kernel.memory import Memory

__all__ = [
    "FUNCTION_NAMES",
    "SlotSurvey",
    "candidates",
    "definitions",
    "survey",
]

FUNCTION_NAMES: Final[Mapping[str, Function]] = {
    "malloc": Function.MALLOC,
    "calloc": Function.CALLOC,
    "realloc": Function.REALLOC,
    "reallocarray": Function.REALLOCARRAY,
    "free": Function.FREE,
    "cfree": Function.FREE,
    "posix_memalign": Function.POSIX_MEMALIGN,
    "aligned_alloc": Function.ALIGNED_ALLOC,
    "memalign": Function.MEMALIGN,
    "valloc": Function.VALLOC,
    "pvalloc": Function.PVALLOC,
    "mmap": Function.MMAP,
    "mmap64": Function.MMAP,
    "munmap": Function.MUNMAP,
    "mremap": Function.MREMAP,
    "dlopen": Function.DLOPEN,
    "dlmopen": Function.DLMOPEN,
    "dlclose": Function.DLCLOSE,
    "dlsym": Function.DLSYM,
}

# elf.h: R_X86_64_64, _GLOB_DAT, _JUMP_SLOT; R_AARCH64_ABS64, _GLOB_DAT, _JUMP_SLOT.
_SLOT_TYPES: Final = {
    EM_X86_64: frozenset({1, 6, 7}),
    EM_AARCH64: frozenset({257, 1025, 1026}),
}
_LAZY_TYPES: Final = {EM_X86_64: 7, EM_AARCH64: 1026}
_HEART: Final = (Function.MALLOC, Function.FREE, Function.CALLOC, Function.REALLOC)
"""Who provides these provides the rest, as far as he defines it."""
_WRITE: Final = 2
_ET_EXEC: Final = 2


@dataclass(frozen=True, slots=True)
class SlotSurvey:
    """All slots of some modules.

    Attributes:
        providers: for each function the address that calls should go on to.
        foreign: slots left alone, as ``module:function``: they hold something that is neither
            the provider nor an unbound stub.
    """

    slots: tuple[FoundSlot, ...]
    providers: Mapping[Function, int]
    foreign: tuple[str, ...]


def survey(
    modules: Iterable[LoadedModule],
    memory: Memory,
    *,
    definers: Iterable[LoadedModule] | None = None,
    known: Mapping[Function, int] | None = None,
    ours: frozenset[int] = frozenset(),
) -> SlotSurvey:
    """Look at every slot of ``modules``.

    ``definers`` are the modules that may define the functions (all of them if not given);
    ``known`` are providers settled earlier, which later slots must agree with; ``ours`` are hook
    addresses: slots that hold one are taken already.
    """
    modules = tuple(modules)
    definers = modules if definers is None else tuple(definers)
    defined = definitions(definers, FUNCTION_NAMES)
    found = [
        candidate
        for module in modules
        if not module.is_loader
        for candidate in candidates(module, memory, FUNCTION_NAMES, defined)
        if candidate.original not in ours
    ]
    providers = _providers(found, defined, known or {}, definers)
    slots: list[FoundSlot] = []
    foreign: list[str] = []
    for slot in found:
        function = Function(slot.function)
        if slot.original == providers.get(function) or slot.lazy:
            # What its module keeps to itself is nothing that the loader will bind.
            if providers.get(function) in defined.get(function, ()):
                slots.append(slot)
        elif slot.original and not _leads_to_a_slot(slot, defined, definers):
            # (An unresolved weak reference holds 0: nobody calls it.)
            foreign.append(f"{slot.module}:{function.name.lower()}")
    return SlotSurvey(tuple(slots), providers, tuple(foreign))


def candidates(
    module: LoadedModule,
    memory: Memory,
    names: Mapping[str, int],
    defined: Mapping[int, tuple[int, ...]],
) -> Iterator[FoundSlot]:
    """Yield every slot of one module that bears one of the names, with what it holds now."""
    types = _SLOT_TYPES.get(module.obj.machine, frozenset())
    lazy_type = _LAZY_TYPES.get(module.obj.machine)
    for relocation in module.obj.dynamic.relocations(names):
        if relocation.type not in types or relocation.addend:
            continue
        address = relocation.offset_vaddr + module.bias
        function = names[relocation.symbol_name]
        value = memory.word(address)
        prot = _protection(module, address)
        if value is None or prot is None or address % 8:
            continue
        yield FoundSlot(
            address=address,
            original=value,
            function=function,
            prot=prot,
            module=module.name,
            # Not bound yet: it leads to the module's own PLT, and on to the binder. A module that
            # brings its own allocator may be bound to that (RTLD_DEEPBIND).
            lazy=relocation.type == lazy_type
            and module.is_code(value)
            and value not in defined.get(function, ()),
        )


def _leads_to_a_slot(
    slot: FoundSlot,
    defined: Mapping[int, tuple[int, ...]],
    modules: Iterable[LoadedModule],
) -> bool:
    """Tell whether a slot holds the executable's PLT entry.

    In a program at fixed addresses that entry may be the function's address for everybody (x86-64
    psABI, "Function Addresses"); calls go on through the executable's own slot, and are seen there.
    """
    if slot.original in defined.get(slot.function, ()):
        return False
    return any(m.obj.type == _ET_EXEC and m.is_code(slot.original) for m in modules)


def _providers(
    found: Iterable[FoundSlot],
    defined: Mapping[int, tuple[int, ...]],
    known: Mapping[Function, int],
    modules: Sequence[LoadedModule],
) -> dict[Function, int]:
    """Settle where calls go on to: where most slots lead.

    A function that no slot is bound to yet is taken from whoever provides the others: a block from
    libc's ``aligned_alloc`` must not meet the ``free`` of a preloaded allocator. What that does not
    define is the first definition's, as for the loader. An executable exports of its own malloc's
    family only what its libraries ask for (ld, "--export-dynamic"); its symbols tell the rest.
    """
    votes: dict[int, Counter[int]] = {}
    for slot in found:
        if slot.original in defined.get(slot.function, ()):
            votes.setdefault(slot.function, Counter())[slot.original] += 1
    settled = dict(known)
    bound = Counter(at for function, at in known.items() if function in _HEART)
    for function in _HEART:
        bound.update(votes.get(function, Counter()))
    home = max(
        modules,
        key=lambda module: sum(n for at, n in bound.items() if module.is_code(at)),
        default=None,
    )
    for number, addresses in defined.items():
        function = Function(number)
        if function not in settled:
            counted = votes.get(function) or Counter(
                [next((at for at in addresses if home and home.is_code(at)), addresses[0])]
            )
            settled[function] = counted.most_common(1)[0][0]
    if home is not None and home.brings_malloc:
        for name, function in FUNCTION_NAMES.items():
            symbol = None if function in known or function in votes else home.obj.symbol(name)
            if function < Function.MMAP and symbol and home.is_code(symbol[0] + home.bias):
                settled[function] = symbol[0] + home.bias
    return settled


def definitions(
    modules: Iterable[LoadedModule], names: Mapping[str, int]
) -> dict[int, tuple[int, ...]]:
    """Addresses of everybody's definitions, in mapping order; the loader's own come last."""
    found: dict[int, dict[int, None]] = {}
    for module in sorted(modules, key=lambda m: m.is_loader):
        for name, function in names.items():
            address = module.defines(name)
            if address is not None:
                found.setdefault(function, {})[address] = None
    return {function: tuple(addresses) for function, addresses in found.items()}


def _protection(module: LoadedModule, address: int) -> int | None:
    for region in module.regions:
        if region.start <= address < region.end:
            flags = zip(region.perms, (1, _WRITE, 4), strict=False)
            return sum(bit for letter, bit in flags if letter != "-")
    return None
