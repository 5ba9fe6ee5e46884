"""A terminal that a test holds the other end of: keys in, the picture on its screen out."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

__all__ = ["PseudoTerminal"]

_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_QUIET_S: Final = 0.05
"""What comes no sooner than this belongs to another picture."""
ALTERNATE: Final = b"\x1b[?1049h"
ORDINARY: Final = b"\x1b[?1049l"


class PseudoTerminal:
    """A command with a terminal of its own, as its session's leader; ended with its block.

    Attributes:
        pid: of the command.
        sent: everything that it has written.
    """

    def __init__(
        self,
        command: Sequence[object],
        *,
        columns: int = 80,
        lines: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._fd, self._inner = pty.openpty()
        self.resize(columns, lines)
        self.before = self.attributes()
        self.sent = b""
        settings = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(environment or {})}
        keep = {k: v for k, v in os.environ.items() if k not in {"CI", "NO_COLOR"}}
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=self._inner,
            stdout=self._inner,
            stderr=self._inner,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - there are no threads here
            env=keep | settings,
        )
        self.pid = self._process.pid

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def attributes(self) -> list[Any]:
        """Give what stty(1) shows."""
        return termios.tcgetattr(self._inner)

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    @property
    def is_taken(self) -> bool:
        """Whether the screen is the alternate one."""
        return self.sent.rfind(ALTERNATE) > self.sent.rfind(ORDINARY)

    @property
    def picture(self) -> str:
        """The last picture that was drawn whole, without colours."""
        begun = self.sent.split(b"\x1b[H")
        return _CONTROL.sub("", begun[-1].decode("utf-8", "replace")).replace("\r", "")

    @property
    def printed(self) -> str:
        """What was written to the ordinary screen since the alternate one was left."""
        rest = self.sent[self.sent.rfind(ORDINARY) + len(ORDINARY) :]
        return _CONTROL.sub("", rest.decode("utf-8", "replace")).replace("\r", "")

    def wait_for(self, true: Callable[[], object], what: str, seconds: float = 40.0) -> None:
        """Read on until it is true, and of no half picture: the terminal hands it over in parts."""
        deadline = time.monotonic() + seconds
        while self._read(_QUIET_S) or not true():
            assert time.monotonic() < deadline, f"waited for {what}:\n{self.picture}"

    def shows(self, words: str, seconds: float = 40.0) -> None:
        """Wait until the picture has these words."""
        self.wait_for(lambda: words in self.picture, words, seconds)

    def finish(self, seconds: float = 40.0) -> int:
        """Wait for its end and read what is left; give the exit status, negative for a signal."""
        self.wait_for(self._has_ended, "the end", seconds)
        while self._read(0.0):
            pass
        return self._process.wait()

    def _has_ended(self) -> bool:
        return self._process.poll() is not None

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], seconds)
        if not ready:
            return False
        self.sent += os.read(self._fd, 65536)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in (signal.SIGCONT, signal.SIGINT, signal.SIGKILL):
            if self._has_ended():
                break
            os.kill(self.pid, number)
            deadline = time.monotonic() + (0.2 if number == signal.SIGCONT else 15)
            while not self._has_ended() and time.monotonic() < deadline:
                self._read(0.05)
        os.close(self._fd)
        os.close(self._inner)


def _take_terminal() -> None:
    """Make standard input the terminal of the new session, and let it hear every signal.

    A shell starts what it puts in the background with SIGINT and SIGQUIT ignored, nohup(1) with
    SIGHUP; the tests may be started so, and what is ignored stays so across fork and exec.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
