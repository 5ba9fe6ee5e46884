"""Our side of the injector: starts it early, sends the order, reads the result."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Self

from cgoleak import errors
from cgoleak.errors import AttachFailed, CgoleakError
from cgoleak.target.kernel import procfs
from cgoleak.target.machine import require_own_limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from cgoleak.probe.entry.orders import Order

__all__ = ["Injector"]

_READY_S: Final = 20.0
_INJECT_S: Final = 30.0
_COMMAND: Final = (sys.executable, "-m", "cgoleak.probe.entry.inject")
_RESULT: Final = ("pause_seconds", "attempts", "unloaded")
_FIX: Final = "check that this works: python -c 'import frida'"


class Injector:
    """A child process that waits for one order; leaving the context without one sends it away."""

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        """Start it; loading Frida takes it a quarter of a second, while we prepare.

        Raises:
            UnsupportedTarget: a limit of ours would end it in the middle; nothing was touched.
        """
        require_own_limits()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Out of reach of Ctrl-C and of whoever kills our process group.
            start_new_session=True,
        )
        self._pid = 0

    @property
    def pid(self) -> int:
        """The child's pid, for whoever must allow it to trace."""
        return self._process.pid

    def inject(self, order: Order) -> dict[str, Any]:
        """Send the order and wait until the probe is in.

        A held process stands still until ``release``; its result is then the bare fact.

        Raises:
            TargetBusy, NoSuchProcess, NotPermitted: as the injector says.
            AttachFailed: Frida could not do it.
        """
        self._pid = order.pid
        self._answer(_READY_S, ("ready",))
        self._tell(json.dumps(asdict(order)).encode())
        try:
            return self._answer(_INJECT_S, ("injected",) if order.held else _RESULT)
        except _NoAnswer as exc:
            raise self._left_behind(exc) from exc

    def release(self) -> dict[str, Any]:
        """Let a held process go.

        Raises:
            AttachFailed: the injector failed at that; the process may stand still.
        """
        self._tell(b"")
        return self._answer(_INJECT_S, _RESULT)

    def _left_behind(self, silence: _NoAnswer) -> AttachFailed:
        """Say what became of a process whose injector gave no answer.

        It is not made to go on: its main thread may have been borrowed at that moment.
        """
        with contextlib.suppress(CgoleakError):
            if procfs.stat(self._pid).state in _STOPPED:
                return AttachFailed(
                    f"{silence.what}, and pid {self._pid} stands still",
                    cause=silence.cause,
                    fix=f"let it go on with: kill -CONT {self._pid} (it may not survive, if it was "
                    "being changed at that moment)",
                )
        return silence

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except OSError as exc:
            raise _silent("it ended") from exc

    def _answer(self, timeout: float, keys: Iterable[str]) -> dict[str, Any]:
        """Read a line that says an error or these things."""
        pipe = self._process.stdout
        assert pipe is not None
        ready, _, _ = select.select([pipe], [], [], timeout)
        line = pipe.readline() if ready else b""
        if not line:
            raise _silent("it ended" if ready else f"nothing came in {timeout:.0f} s")
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            if "error" in found:
                raise _error(self._pid, found)
            if found.keys() >= set(keys):
                return found
        raise _NoAnswer(
            "the injector gave an answer that cannot be understood",
            cause=f"it said {line[:80]!r}",
            fix=_FIX,
        )

    def close(self) -> None:
        """Close its input and wait for its end; an order under way is finished first."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                with contextlib.suppress(OSError):  # it has ended already
                    pipe.close()
        try:
            self._process.wait(_INJECT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _NoAnswer(AttachFailed):
    """The injector did not say how it ended."""


def _silent(cause: str) -> _NoAnswer:
    return _NoAnswer("the injector gave no answer", cause=cause, fix=_FIX)


_STOPPED: Final = frozenset({"T", "t"})
"""States of /proc/PID/stat: stopped by a signal, or by who traces it."""
_KNOWN: Final = {
    "trying to allocate memory": (
        "the kernel refuses it writable and executable memory (MemoryDenyWriteExecute, SELinux)",
        "lift that for the measurement, or look from outside with: cgoleak watch",
    ),
}
"""A part of what Frida says → what it means, and what to do."""


def _error(pid: int, result: dict[str, Any]) -> CgoleakError:
    said = str(result.get("cause"))
    for words, (cause, fix) in _KNOWN.items():
        if words in said:
            result = result | {"cause": f"{cause}; Frida says: {said}", "fix": fix}
    found = getattr(errors, str(result["error"]), None)
    kind: type[CgoleakError] = AttachFailed
    if isinstance(found, type) and issubclass(found, CgoleakError):
        kind = found
    return kind(
        result.get("what") or f"cannot bring the probe into pid {pid}",
        cause=result.get("cause"),
        fix=result.get("fix") or f"see: cgoleak doctor {pid}",
    )
