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

if TYPE_CHECKING:
    from types import TracebackType

    from cgoleak.probe.orders import Order

__all__ = ["Injector"]

_READY_S: Final = 20.0
_INJECT_S: Final = 30.0


class Injector:
    """A child process that waits for one order; leaving the context without one sends it away."""

    def __init__(self) -> None:
        """Start it; loading Frida takes it a quarter of a second, while we prepare."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cgoleak.probe.inject"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Out of reach of Ctrl-C and of whoever kills our process group.
            start_new_session=True,
        )

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
        self._answer(_READY_S)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        self._process.stdin.flush()
        result = self._answer(_INJECT_S)
        if "error" in result:
            raise _error(order.pid, result)
        return result

    def release(self) -> dict[str, Any]:
        """Let a held process go."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return self._answer(_INJECT_S)

    def _answer(self, timeout: float) -> dict[str, Any]:
        pipe = self._process.stdout
        assert pipe is not None
        ready, _, _ = select.select([pipe], [], [], timeout)
        line = pipe.readline() if ready else b""
        if not line:
            raise AttachFailed(
                "the injector gave no answer",
                cause="it ended" if ready else f"nothing came in {timeout:.0f} s",
                fix="check that this works: python -c 'import frida'",
            )
        found = json.loads(line)
        assert isinstance(found, dict)
        return found

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


def _error(pid: int, result: dict[str, Any]) -> CgoleakError:
    found = getattr(errors, str(result["error"]), AttachFailed)
    kind = found if issubclass(found, CgoleakError) else AttachFailed
    return kind(
        result.get("what") or f"cannot bring the probe into pid {pid}",
        cause=result.get("cause"),
        fix=result.get("fix") or f"see: cgoleak doctor {pid}",
    )
