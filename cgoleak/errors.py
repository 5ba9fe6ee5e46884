"""What can go wrong, as one tree. Every error says what happened, the cause, and the fix.

::

    CgoleakError                    exit 3 unless said otherwise
    ├─ TargetError                  the process cannot be measured
    │  ├─ NoSuchProcess             no such pid, or it ended before anything was touched
    │  ├─ NotPermitted              the kernel refuses: user, Yama, capability, user namespace
    │  ├─ NotGo                     no Go build information in the executable
    │  ├─ NoCgo                     Go, but without C code
    │  ├─ AlreadyTraced             a debugger, or another cgoleak, is attached
    │  ├─ UnsupportedTarget         static, foreign architecture, no libc
    │  └─ TargetExited              it ended while we were attached
    ├─ ProbeError                   the probe in the target
    │  ├─ AttachFailed              Frida could not bring it in
    │  ├─ TargetBusy                no safe moment was found; nothing was touched
    │  └─ ProtocolMismatch          the two sides disagree on the wire layout
    ├─ CaptureError                 the capture file
    │  ├─ NotACapture               some other file
    │  ├─ NewerCapture              written by a newer cgoleak
    │  └─ DamagedCapture            torn or corrupted
    ├─ PolicyError                  bad policy, suppression or baseline            exit 2
    ├─ PairError                    bad pair, set of pairs or file of them         exit 2
    ├─ OutputError                  a report cannot be written                     exit 2
    └─ SymbolError                  the user asked for symbols and they are unreadable
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlreadyTraced",
    "AttachFailed",
    "CaptureError",
    "CgoleakError",
    "DamagedCapture",
    "NewerCapture",
    "NoCgo",
    "NoSuchProcess",
    "NotACapture",
    "NotGo",
    "NotPermitted",
    "OutputError",
    "PairError",
    "PolicyError",
    "ProbeError",
    "ProtocolMismatch",
    "SymbolError",
    "TargetBusy",
    "TargetError",
    "TargetExited",
    "UnsupportedTarget",
]


class CgoleakError(Exception):
    """Base of all errors that are told to the user without a traceback."""

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, *, cause: str | None = None, fix: str | None = None) -> None:
        """Keep the three parts apart, so that each renderer can place them."""
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.fix = fix


class TargetError(CgoleakError):
    """The process cannot be measured."""


class NoSuchProcess(TargetError):
    """There is no process with this pid."""


class NotPermitted(TargetError):
    """The kernel does not let this user trace the process."""


class NotGo(TargetError):
    """The executable carries no Go build information."""


class NoCgo(TargetError):
    """A Go program without C code: there is no C allocator to watch."""


class AlreadyTraced(TargetError):
    """Another tracer is attached."""


class UnsupportedTarget(TargetError):
    """Static, of another architecture, or without a libc."""


class TargetExited(TargetError):
    """The process ended while it was being measured."""


class ProbeError(CgoleakError):
    """The probe could not be brought in, driven or taken out."""


class AttachFailed(ProbeError):
    """Frida could not inject the probe."""


class TargetBusy(ProbeError):
    """The main thread never came to a place where injection is safe."""


class ProtocolMismatch(ProbeError):
    """The probe speaks another version of the wire layout."""


class CaptureError(CgoleakError):
    """The capture file cannot be used."""


class NotACapture(CaptureError):
    """The file is something else."""


class NewerCapture(CaptureError):
    """The file was written by a newer cgoleak."""


class DamagedCapture(CaptureError):
    """The file is torn or corrupted."""


class PolicyError(CgoleakError):
    """A policy, suppression or baseline file is wrong."""

    exit_code: ClassVar[int] = 2


class PairError(CgoleakError):
    """A pair of functions, or a file that describes some, is wrong."""

    exit_code: ClassVar[int] = 2


class OutputError(CgoleakError):
    """A report cannot be written where it was asked for."""

    exit_code: ClassVar[int] = 2


class SymbolError(CgoleakError):
    """Symbols were asked for explicitly and cannot be read."""
