"""The edge of the pipeline: an injector, a session and a command that touch no process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Self

from support.builders import a_target
from support.recorded_session import RecordedSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import pytest

    from cgoleak.errors import CgoleakError

__all__ = ["FakeCommand", "FakeEdge"]


class FakeCommand:
    """A command that is held and released; ``status`` is what it ends with."""

    def __init__(self, did: list[str]) -> None:
        self.pid = 4243
        self.status: int | None = 0
        self._did = did

    def wait(self, give_up: Callable[[], bool]) -> int | None:
        self._did.append("command waited for")
        while self.status is None and not give_up():
            pass
        return self.status

    def terminate(self) -> None:
        self._did.append("command asked to end")

    def kill(self) -> None:
        self._did.append("command killed")


class FakeEdge:
    """Everything that the pipeline starts, and in which order it did.

    Attributes:
        did: what was done, in order.
        refuse: step → the error that it raises.
        before_attach: called when the probe would go in.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.did: list[str] = []
        self.refuse: dict[str, CgoleakError] = {}
        self.before_attach: Callable[[], None] = lambda: None
        self.session = RecordedSession()
        self.session.did = self.did
        self.session.attach = self._attach  # type: ignore[attr-defined]
        self.command = FakeCommand(self.did)
        patch.setattr("cgoleak.probe.entry.injector.Injector", lambda: _Injector(self))
        patch.setattr("cgoleak.probe.session.ProbeSession", self._open_session)
        patch.setattr("cgoleak.probe.entry.spawn.HeldProcess", self._hold)
        patch.setattr("cgoleak.target.preflight.require", self._require)

    def step(self, name: str) -> None:
        self.did.append(name)
        if name in self.refuse:
            raise self.refuse[name]

    def _require(self, pid: int, *, held: bool = False) -> SimpleNamespace:
        self.step("facts of a held process" if held else "facts")
        return SimpleNamespace(pid=pid, target=a_target(pid=pid))

    def _open_session(
        self, facts: SimpleNamespace, *, families: tuple[object, ...] = ()
    ) -> RecordedSession:
        self.step("session opened")
        return self.session

    def _attach(
        self, injector: _Injector, *, held: bool = False, sample_bytes: int | None = None
    ) -> None:
        assert injector.edge is self
        self.before_attach()
        self.step("probe goes into a held process" if held else "probe goes in")

    def _hold(self, command: list[str], *, tracer: int) -> FakeCommand:
        assert tracer == _Injector.pid
        self.step("command held")
        return self.command


class _Injector:
    pid = 77

    def __init__(self, edge: FakeEdge) -> None:
        self.edge = edge
        edge.step("injector started")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.edge.did.append("injector gone")
