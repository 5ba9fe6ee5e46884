"""The last look at a command: who still knows its blocks, asked while it is held at its exit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak.errors import CgoleakError
from cgoleak.model.notice import Notice
from cgoleak.probe.entry.exithold import ExitHold
from cgoleak.target.go.world import read_world
from cgoleak.target.holders import Block, find_holders
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgoleak.model.holding import Holding
    from cgoleak.model.ids import StackId
    from cgoleak.probe.entry.spawn import HeldProcess
    from cgoleak.probe.session import ProbeSession
    from cgoleak.target.go.world import GoWorld
    from cgoleak.target.preflight import TargetFacts

__all__ = ["Closing"]

_SECONDS: Final = 30.0
_MOST_HEAP: Final = 64 << 20
_ZEROS: Final = bytes(4096)


class Closing:
    """Holds a command at its exit and looks.

    ``arm`` while it is held at its start, ``seize`` when the probe is in.

    Attributes:
        holdings: who knew the blocks, per stack; None if nobody could look.
        notices: why not, or what was not known.
    """

    def __init__(self, held: HeldProcess, session: ProbeSession, facts: TargetFacts) -> None:
        self._hold = ExitHold(held)
        self._session = session
        self._exe = facts.binary.path
        self._early = _used_heap(held.pid)
        self.holdings: Mapping[StackId, Holding] | None = None
        self.notices = [_not_looked("it was killed, or became another program")]

    def arm(self) -> None:
        """See that the command does not run away while the probe comes in."""
        self._hold.arm()

    def seize(self) -> None:
        """Trace it from now on, and let it begin."""
        self._hold.seize()

    def is_here(self) -> bool:
        """Whether it stands at its exit."""
        return self._hold.is_here()

    def let_go(self) -> None:
        """Let it end."""
        self._hold.let_go()

    def look(self) -> None:
        """Find out who knows which block; fills ``holdings``."""
        if not self._session.hooks():
            return  # another program since exec: its memory says nothing of our blocks
        self.notices.clear()
        blocks = [Block(*block) for block in self._session.tables.outstanding()]
        heap = self._session.heap
        try:
            regions = procfs.maps(self._hold.thread)
            with Memory(self._hold.thread) as memory:
                world = self._world(memory)
                if world is None:
                    self.notices.append(
                        Notice(
                            "closing.no-go-heap",
                            "Go's heap could not be read object by object: whatever any of its "
                            "memory mentions, dead objects too, is taken to be in use",
                            "keep the symbols: go test -ldflags='-s=false -w=false'",
                        )
                    )
                self.holdings = find_holders(
                    memory.read,
                    regions,
                    blocks,
                    world=world,
                    arenas=heap.arenas() if heap else (),
                    early=self._early,
                    seconds=_SECONDS,
                )
        except CgoleakError as exc:
            self.notices.append(_not_looked(exc.cause or exc.what))
            return
        if self.holdings is None:
            self.notices.append(_not_looked(f"it would take longer than {_SECONDS:.0f} s"))

    def _world(self, memory: Memory) -> GoWorld | None:
        heap = self._session.heap
        module = next((one for one in self._session.modules if one.path == self._exe), None)
        if heap is None or heap.variables.mheap is None or module is None:
            return None
        allgs, allm = (module.obj.symbol(f"runtime.{name}") for name in ("allgs", "allm"))
        if allgs is None or allm is None:
            return None
        return read_world(
            memory.read,
            heap.layout,
            mheap=heap.variables.mheap,
            allgs=allgs[0] + module.bias,
            allm=allm[0] + module.bias,
            stack_pointer=self._hold.stack_pointer,
        )


def _used_heap(pid: int) -> tuple[int, int]:
    """Find the part of ``[heap]`` that constructors and the loader had used before we counted."""
    try:
        for region in procfs.maps(pid):
            if region.path != "[heap]":
                continue
            size = min(region.end - region.start, _MOST_HEAP)
            with Memory(pid) as memory:
                raw = memory.read(region.start, size) or b""
            return region.start, region.start + len(raw.rstrip(b"\0"))
    except CgoleakError:
        pass
    return 0, 0


def _not_looked(why: str) -> Notice:
    return Notice(
        "closing.not-looked",
        f"who still knew the outstanding blocks at the end could not be found out: {why}",
    )
