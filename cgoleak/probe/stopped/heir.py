"""The heir: a process that outlives cgoleak and puts the target's code back if cgoleak was killed.

Slots are restored by the probe itself. Code is written only while every thread stands still, which
a thread among them cannot see to; so this child waits for its parent's end. Should it be killed as
well, the changed calls go on to their provider through the probe, as they do after every detach
until they are put back; the next attach puts them back when it leaves.

Input: a line of JSON, ``{"pid": …, "edits": [[address, old, new], …]}`` in hex, how things were
and are; then a second line if all is in order again, or end of file if it is not.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from cgoleak.errors import CgoleakError, TargetBusy
from cgoleak.probe.stopped.edits import CodeMemory, Edit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Heir", "main"]

_COMMAND: Final = (sys.executable, "-m", "cgoleak.probe.stopped.heir")
_TRIES: Final = 5
_PAUSE_S: Final = 1.0
_END_S: Final = 20.0


class Heir:
    """Our side of it."""

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        """Start it; whatever is told is read once it is there."""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Out of reach of Ctrl-C and of whoever kills our process group.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid

    def inherit(self, pid: int, edits: Iterable[Edit]) -> None:
        """Leave it to undo these edits."""
        rows = [[edit.address, edit.old.hex(), edit.new.hex()] for edit in edits]
        self._tell(json.dumps({"pid": pid, "edits": rows}))

    def dismiss(self) -> None:
        """Tell it that there is nothing left to undo."""
        self._tell("done")

    def close(self) -> None:
        """Leave the rest to it, and wait until it has ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it was killed: then it cannot help
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()


def main() -> int:
    """Wait for the parent's end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        return 0
    order = json.loads(line)
    edits = [Edit(at, bytes.fromhex(old), bytes.fromhex(new)) for at, old, new in order["edits"]]
    try:
        with CodeMemory(order["pid"]) as memory:  # of this program, whatever comes by exec
            if sys.stdin.readline():
                return 0
            for _ in range(_TRIES):
                try:
                    memory.apply(edit.undone for edit in edits)
                except TargetBusy:
                    time.sleep(_PAUSE_S)
                else:
                    return 0
    except CgoleakError:
        pass  # it has ended, or may not be touched any more
    return 1


if __name__ == "__main__":
    sys.exit(main())
