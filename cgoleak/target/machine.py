"""What this machine and our rights on it must be so that anything can be measured."""

from __future__ import annotations

import os
import platform
import resource
from typing import TYPE_CHECKING, Final

from cgoleak.errors import CgoleakError, UnsupportedTarget
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.procfs import CAP_SYS_PTRACE, PROC
from cgoleak.target.preflight import PROBE_ARCHITECTURES, Check, checked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["machine_checks", "require_own_limits"]

_FILES_AT_LEAST: Final = 1 << 30
"""Bytes; above what Frida writes into files in memory, some tens of MiB."""
_ADDRESSES_AT_LEAST: Final = 3 << 30
"""Bytes; above what a measurement takes, 2.5 GiB: nearly all of it the probe's sparse tables."""


def machine_checks(root: Path = PROC) -> tuple[Check, ...]:
    """Look at the machine and at our own rights; nothing is touched."""
    return tuple(_checks(root))


def _checks(root: Path) -> Iterator[Check]:
    yield _system()
    yield _yama(root)
    yield from _own_rights(root)
    yield checked("own file size", "large enough for what brings the probe in", _large_files)
    yield checked("own addresses", "room for the probe's tables", _many_addresses)


def require_own_limits() -> None:
    """See that no limit of ours ends a measurement in its midst.

    Raises:
        UnsupportedTarget: RLIMIT_FSIZE or RLIMIT_AS is too low.
    """
    _large_files()
    _many_addresses()


def _large_files() -> None:
    """See that nothing cuts off what Frida writes into files in memory.

    It ends itself when a write is refused, at a moment when it has stopped the target: nobody would
    let that run again.
    """
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and limit < _FILES_AT_LEAST:
        raise UnsupportedTarget(
            "cgoleak itself may not have large files",
            cause=f"its RLIMIT_FSIZE is {limit} bytes, and what brings the probe in needs more",
            fix="raise the limit of its shell: ulimit -f unlimited; or use: cgoleak watch",
        )


def _many_addresses() -> None:
    """See that the probe's tables can be mapped here, and that Frida starts at all."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _ADDRESSES_AT_LEAST:
        raise UnsupportedTarget(
            "cgoleak itself may not map enough memory",
            cause=f"its RLIMIT_AS is {limit} bytes of addresses; the probe's tables need 2.4 GiB "
            "of them, though little of that is ever memory",
            fix="raise the limit of its shell: ulimit -v unlimited; or use: cgoleak watch",
        )


def _system() -> Check:
    text = f"{platform.system()} {platform.release()} on {platform.machine()}"
    supported = platform.system() == "Linux" and platform.machine() in PROBE_ARCHITECTURES
    return Check(
        "machine",
        ok=supported,
        text=text,
        fix=None if supported else "cgoleak measures on Linux, x86-64 or aarch64",
    )


def _yama(root: Path) -> Check:
    """A scope above 0 is no obstacle to root, nor to ``cgoleak run``."""
    scope = procfs.ptrace_scope(root)
    if not scope:
        text = "no Yama in this kernel" if scope is None else "kernel.yama.ptrace_scope is 0"
        return Check("ptrace_scope", ok=True, text=text)
    text = f"kernel.yama.ptrace_scope is {scope}"
    if scope == 3:
        return Check(
            "ptrace_scope", ok=False, text=text, fix="boot with kernel.yama.ptrace_scope=1"
        )
    return Check(
        "ptrace_scope",
        ok=None,
        text=f"{text}: only root may attach to a process that is not its child",
        fix="run as root, or: sudo sysctl -w kernel.yama.ptrace_scope=0",
    )


def _own_rights(root: Path) -> Iterator[Check]:
    try:
        ours = procfs.status(os.getpid(), root)
    except CgoleakError as error:
        yield Check("capability", ok=None, text=error.what, fix="mount /proc")
        return
    if ours.has_capability(CAP_SYS_PTRACE):
        yield Check("capability", ok=True, text="SYS_PTRACE: processes of all users")
    elif os.geteuid() == 0:
        yield Check(
            "capability",
            ok=None,
            text="root without SYS_PTRACE: only processes with no more rights than ours",
            fix="start our container with --cap-add=SYS_PTRACE",
        )
    else:
        yield Check(
            "capability",
            ok=None,
            text="no SYS_PTRACE: only our own processes",
            fix="run as root for processes of other users",
        )
    if ours.seccomp:
        yield Check(
            "own seccomp",
            ok=None,
            text="cgoleak itself runs under a system call filter, which may refuse ptrace",
            fix="start our container with --security-opt seccomp=unconfined",
        )
    else:
        yield Check("own seccomp", ok=True, text="no system call filter around cgoleak")
