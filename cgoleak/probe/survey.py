"""Everything that must be known before the target is touched, and how it is told to the probe.

facts of a process → modules, slots, Go parameters, safe places. Nothing here writes to the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.errors import UnsupportedTarget
from cgoleak.model.notice import Notice
from cgoleak.probe.calls.callsites import CallSurvey, survey_calls
from cgoleak.probe.calls.modules import LoadedModule, find_modules
from cgoleak.probe.calls.slots import SlotSurvey, survey
from cgoleak.probe.entry.deadcode import DeadCode, find_dead_code
from cgoleak.probe.wire.layout import Function
from cgoleak.symbols.go.pclntab import GoTable
from cgoleak.target.go.heap import GoHeap
from cgoleak.target.go.layout import AMD64, GoLayout, layout_for
from cgoleak.target.go.runtime import GoProbeParameters, probe_parameters
from cgoleak.target.go.variables import locate_globals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cgoleak.target.kernel.memory import Memory
    from cgoleak.target.kernel.procfs import Region
    from cgoleak.target.preflight import TargetFacts

__all__ = ["TargetSurvey", "survey_target"]

_ALLOCATORS: Final = (Function.MALLOC, Function.FREE)
# Without cgo, Go installs a restorer of its own with every handler (runtime/os_linux.go setsig).
_RESTORERS: Final = ("runtime.sigreturn__sigaction", "runtime.sigreturn")


@dataclass(frozen=True, slots=True)
class TargetSurvey:
    """What was found.

    Attributes:
        calls: the direct calls within whoever provides malloc; None where that is the C library.
        go: parameters for the Go part of stacks, or None with a notice.
        dead: room for the way into a static program; None for others.
        heap: reader of the Go runtime's numbers, or None.
        risky, risky_data, handler_returns: see ``guard.SafePlaces``.
        main_stack_top: upper end of the main thread's stack.
    """

    modules: tuple[LoadedModule, ...]
    slots: SlotSurvey
    calls: CallSurvey | None
    dead: DeadCode | None
    go: GoProbeParameters | None
    heap: GoHeap | None
    risky: tuple[tuple[int, int], ...]
    risky_data: tuple[tuple[int, int], ...]
    handler_returns: tuple[int, ...]
    main_stack_top: int
    notices: tuple[Notice, ...]


def survey_target(
    facts: TargetFacts, regions: tuple[Region, ...], memory: Memory, root: Path
) -> TargetSurvey:
    """Look at everything.

    Raises:
        UnsupportedTarget: no slot leads to an allocator: there would be nothing to see.
    """
    modules, unreadable = find_modules(facts.pid, regions, root)
    notices = list(unreadable)
    exe = _executable(facts, modules)
    static = exe if exe is not None and exe.obj.is_static_program else None
    # Libraries that a static program loads nonetheless have a C library of their own.
    slots = survey(modules if static is None else (static,), memory)
    table = GoTable.from_object(exe.obj) if exe else None
    if exe is not None and table is None:
        table = GoTable.from_memory(
            memory.read, [(r.start, r.end) for r in exe.regions if not r.executable]
        )
        table_bias = 0
    else:
        table_bias = exe.bias if exe else 0
    layout = layout_for(facts.binary.go_version or "", facts.binary.arch or AMD64)
    go = _go_parameters(facts, exe, table, memory, layout, notices)
    heap = None
    if exe is not None and table is not None and layout is not None:
        variables = locate_globals(exe.obj, table.functions(), layout.machine)
        heap = GoHeap(variables.moved(exe.bias), layout, memory.read)
    calls = survey_calls(modules, slots, memory, regions, go.text if go else None)
    _reaches_malloc(facts.pid, slots, calls)
    dead = find_dead_code(facts.pid, static, table, table_bias, memory) if static else None
    restorers = tuple(
        start + table_bias
        for name in _RESTORERS
        for start, _ in (table.entries(name) if table else ())
    )
    providers = [m for m in modules if _provides(m, slots)]
    risky = tuple(span for m in providers for span in _risky_code(m, go))
    vdso = tuple((r.start, r.end) for r in regions if r.path == "[vdso]")
    return TargetSurvey(
        modules=modules,
        slots=slots,
        calls=calls,
        dead=dead,
        go=go,
        heap=heap,
        risky=risky,
        risky_data=tuple(
            (r.start, r.end + _BSS) for m in providers for r in m.regions if "w" in r.perms
        ),
        handler_returns=(*restorers, *_sigreturns(risky + vdso, memory)),
        main_stack_top=max((r.end for r in regions if r.path == "[stack]"), default=0),
        notices=tuple(notices),
    )


def _reaches_malloc(pid: int, slots: SlotSurvey, calls: CallSurvey | None) -> None:
    """See that there is a way to both halves of the allocator that can be taken over."""
    taken: set[int] = {slot.function for slot in slots.slots}
    taken.update(site.function for site in (calls.sites if calls else ()))
    if taken.issuperset(_ALLOCATORS):
        return
    cause = "no relocation slot leads to them: the allocator is linked into the executable"
    if calls is not None:
        cause += f", and {calls.why or 'no call of both is found in its code'}"
    raise UnsupportedTarget(
        f"pid {pid} does not reach malloc and free in a way that can be taken over",
        cause=cause,
        fix="link the C library dynamically; cgoleak watch still works",
    )


_BSS: Final = 65536
"""What libc keeps behind its last file-backed page is mapped without a name."""


def _executable(facts: TargetFacts, modules: Iterable[LoadedModule]) -> LoadedModule | None:
    return next((m for m in modules if m.path == facts.binary.path), None)


def _go_parameters(
    facts: TargetFacts,
    exe: LoadedModule | None,
    table: GoTable | None,
    memory: Memory,
    layout: GoLayout | None,
    notices: list[Notice],
) -> GoProbeParameters | None:
    version = facts.binary.go_version or "an unknown version"
    if exe is None or table is None or layout is None:
        reason = f"{version} is not one that this cgoleak knows" if table else "no function table"
        notices.append(
            Notice(
                code="go.no-stacks",
                text=f"the Go part of stacks is not taken: {reason}",
                fix="use a newer cgoleak",
            )
        )
        return None
    found = probe_parameters(exe.obj, table, layout, bias=exe.bias, read=_reader(memory))
    if isinstance(found, Notice):
        notices.append(found)
        return None
    return found


def _reader(memory: Memory) -> Callable[[int, int], bytes | None]:
    return memory.read


def _provides(module: LoadedModule, slots: SlotSurvey) -> bool:
    return module.is_loader or any(
        module.start <= address < module.end
        for function, address in slots.providers.items()
        if function < Function.DLOPEN
    )


def _risky_code(module: LoadedModule, go: GoProbeParameters | None) -> Iterable[tuple[int, int]]:
    """Yield the code of a provider; Go code in the same file is none of it."""
    for region in module.regions:
        if not region.executable:
            continue
        if go is not None and region.start <= go.text.start < region.end:
            yield region.start, go.text.start
            yield go.text.end, region.end
        else:
            yield region.start, region.end


_SIGRETURN: Final = (
    b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05",  # x86-64: mov $15,%rax; syscall
    b"\x68\x11\x80\xd2\x01\x00\x00\xd4",  # aarch64: mov x8,#139; svc #0
)
"""glibc's and musl's ``__restore_rt``, aarch64's ``__kernel_rt_sigreturn``.

A program with cgo installs its handlers by libc's ``sigaction``, Go's among them
(runtime/cgo/gcc_sigaction.c drops SA_RESTORER); no symbol leads there.
"""
_CHUNK: Final = 1 << 20


def _sigreturns(code: Iterable[tuple[int, int]], memory: Memory) -> Iterable[int]:
    """Yield where handlers return to, in the C library or the kernel's page of code."""
    for start, end in code:
        for at in range(start, end, _CHUNK):
            raw = memory.read(at, min(_CHUNK + len(_SIGRETURN[0]) - 1, end - at)) or b""
            for pattern in _SIGRETURN:
                found = raw.find(pattern)
                while found >= 0:
                    yield at + found
                    found = raw.find(pattern, found + 1)
