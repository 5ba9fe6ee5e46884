"""Why does the kernel refuse to trace a process, and what would help?

The kernel says only "no". The reason is put together from what decides in ``ptrace_may_access``
(``kernel/ptrace.c``) and in Yama (``security/yama/yama_lsm.c``): user, capability, user namespace,
``ptrace_scope``, the dumpable flag.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from cgoleak.errors import CgoleakError
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.procfs import CAP_SYS_PTRACE, PROC

if TYPE_CHECKING:
    from pathlib import Path

    from cgoleak.target.kernel.procfs import ProcessStatus

__all__ = ["refusal"]


def refusal(pid: int, target: ProcessStatus, root: Path = PROC) -> tuple[str, str]:
    """Return (cause, fix) of a refusal that ``procfs.can_read_memory`` found.

    The first fact that alone explains the refusal is taken, in the order in which the kernel asks.
    """
    euid = os.geteuid()
    ours = _own_status(root)
    capable = ours is not None and ours.has_capability(CAP_SYS_PTRACE)
    if capable and _namespaces_differ(pid, root):
        return (
            "it lives in another user namespace, where our capabilities do not count",
            "run cgoleak on the host, outside of the container, as root",
        )
    if not capable and euid == 0:
        return (
            "we are root, but without the capability SYS_PTRACE (usual in containers)",
            "start our container with --cap-add=SYS_PTRACE",
        )
    if not capable and target.uid != euid:
        owner = _user_name(target.uid)
        who = "root" if target.uid == 0 else f"root or as {owner}"
        return (
            f"it belongs to user {owner}, and we are {_user_name(euid)}",
            f"run as {who}: sudo cgoleak attach {pid}",
        )
    return _refused_to_the_owner(pid, ours, capable=capable, root=root)


def _refused_to_the_owner(
    pid: int, ours: ProcessStatus | None, *, capable: bool, root: Path
) -> tuple[str, str]:
    """Explain a refusal although the user is right: Yama, seccomp, or the dumpable flag."""
    scope = procfs.ptrace_scope(root)
    if scope == 3:
        return (
            "kernel.yama.ptrace_scope is 3: nobody may trace until the next boot",
            "boot with kernel.yama.ptrace_scope=1, or start the program with: cgoleak run",
        )
    if scope and not capable:
        who = "only root may trace" if scope == 2 else "it is not our child"
        return (
            f"kernel.yama.ptrace_scope is {scope} and {who}",
            f"sudo cgoleak attach {pid}, or: sudo sysctl -w kernel.yama.ptrace_scope=0",
        )
    if ours is not None and ours.seccomp == 2:
        return (
            "a seccomp filter or security module around cgoleak refuses it",
            "start our container with --cap-add=SYS_PTRACE --security-opt seccomp=unconfined",
        )
    if capable:
        return (
            "a security module (SELinux, AppArmor) refuses it",
            "see the kernel log: sudo dmesg | grep -i -e denied -e apparmor",
        )
    return (
        "the program is closed to its own user (set-user-id, file capabilities, PR_SET_DUMPABLE)",
        f"run as root: sudo cgoleak attach {pid}",
    )


def _own_status(root: Path) -> ProcessStatus | None:
    try:
        return procfs.status(os.getpid(), root)
    except CgoleakError:
        return None


def _namespaces_differ(pid: int, root: Path) -> bool:
    """True only if both are visible: hidden ones prove nothing."""
    theirs = procfs.namespace(pid, "user", root)
    return theirs is not None and theirs != procfs.namespace("self", "user", root)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid {uid}"
