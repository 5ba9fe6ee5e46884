"""Ways to run a program as containers do: namespaces, roots and filters of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "HOW",
    "MEMFD_CREATE",
    "MFD_NOEXEC_SEAL",
    "REFUSED_IN_CONTAINERS",
    "WITHOUT_PROC",
    "build_small_root",
    "can_make_namespaces",
    "can_refuse_exec_gain",
    "contained",
    "lacks",
    "noexec",
    "runs_in_root",
    "with_filter",
    "without_exec_gain",
]

_OF_ITS_OWN: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_MDWE, _REFUSE_EXEC_GAIN = 38, 22, 65, 1

_MEMFD_NOEXEC: Final = Path("/proc/sys/vm/memfd_noexec")

WITHOUT_PROC: Final = (*_OF_ITS_OWN, "chroot", "{root}", "/prog")
HOW: Final = {
    "pid namespace": (*_OF_ITS_OWN, "--mount-proc", "{prog}"),
    "user namespace": (*_OF_ITS_OWN, "--user", "--map-root-user", "--mount-proc", "{prog}"),
    "root that is read-only": (
        *_OF_ITS_OWN,
        "sh",
        "-c",
        (
            "mount --bind {root} {root} && mount -t proc proc {root}/proc && "
            "mount -o remount,ro,nosuid,nodev,bind {root} && exec chroot {root} /prog $0"
        ),
    ),
    "no network, names of its own": (
        *_OF_ITS_OWN,
        "--net",
        "--ipc",
        "--uts",
        "sh",
        "-c",
        "mount -t proc proc {root}/proc && exec chroot {root} /prog $0",
    ),
    "/tmp, /dev/shm, /run noexec": (
        *_OF_ITS_OWN,
        "--mount-proc",
        "sh",
        "-c",
        (
            "for one in /tmp /dev/shm /run {prog}; do mount --bind $one $one || exit; done && "
            "for one in /tmp /dev/shm /run; do mount -o remount,noexec,bind $one || exit; done && "
            "exec {prog} $0"
        ),
    ),
    "root noexec but for the program": (
        *_OF_ITS_OWN,
        "sh",
        "-c",
        (
            "mount --bind {root} {root} && mount -t proc -o noexec proc {root}/proc && "
            "for one in $(find {root} -xdev -type f); do mount --bind $one $one || exit; done && "
            "mount -o remount,ro,noexec,nosuid,nodev,bind {root} && exec chroot {root} /prog $0"
        ),
    ),
    "vm.memfd_noexec is 1": (
        *_OF_ITS_OWN,
        "--mount-proc",
        "sh",
        "-c",
        f"echo 1 >{_MEMFD_NOEXEC} && exec {{prog}} $0",
    ),
    "vm.memfd_noexec is 2": (
        *_OF_ITS_OWN,
        "--mount-proc",
        "sh",
        "-c",
        f"echo 2 >{_MEMFD_NOEXEC} && exec {{prog}} $0",
    ),
}
"""Commands that start ``{prog}``, or ``/prog`` in ``{root}``, as a child of theirs."""

MEMFD_CREATE: Final = 319
MFD_NOEXEC_SEAL: Final = 8
REFUSED_IN_CONTAINERS: Final = {
    "mount": 165,
    "umount2": 166,
    "pivot_root": 155,
    "unshare": 272,
    "setns": 308,
    "keyctl": 250,
    "add_key": 248,
    "request_key": 249,
    "bpf": 321,
    "perf_event_open": 298,
    "userfaultfd": 323,
    "open_by_handle_at": 304,
    "kexec_load": 246,
    "init_module": 175,
    "personality": 135,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "ptrace": 101,
}
"""System calls that containers' usual profiles refuse, with their numbers on x86-64.

After Docker's default profile (moby, profiles/seccomp), older ones' ptrace included.
"""


def contained(how: Sequence[str], program: Path | str, root: Path) -> list[str]:
    """Give the command; one word may follow, which goes to the program."""
    return [word.format(prog=program, root=root) for word in how]


def runs_in_root(how: Sequence[str]) -> bool:
    """Tell whether it is the program in the root that is started."""
    return not any("{prog}" in word for word in how)


def build_small_root(folder: Path, program: Path) -> Path:
    """Make a root with the program, its libraries and the loader, and nothing else."""
    (folder / "proc").mkdir(parents=True)
    shutil.copy(program, folder / "prog")
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for word in listed.split():
        if word.startswith("/"):
            (folder / word[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(word, folder / word[1:])
    return folder


def can_make_namespaces() -> bool:
    return subprocess.run([*_OF_ITS_OWN, "true"], capture_output=True, check=False).returncode == 0


def lacks(how: Sequence[str]) -> str:
    """Say what this way of running a program needs, and is not here; "" if it can be done."""
    if not can_make_namespaces():
        return "root, to make namespaces"
    if any(str(_MEMFD_NOEXEC) in word for word in how) and not _MEMFD_NOEXEC.exists():
        return "vm.memfd_noexec (Linux 6.3)"
    return ""


def noexec(place: Path, command: Iterable[object]) -> list[str]:
    """Give a command that runs where nothing in ``place`` may be run."""
    mounts = f"mount --bind {place} {place} && mount -o remount,noexec,bind {place}"
    shell = ("unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")
    return [*shell, *map(str, command)]


def without_exec_gain(program: Path) -> list[str]:
    """Give a command that becomes the program, with memory that may not be made executable."""
    code = f"ctypes.CDLL(None).prctl({_PR_SET_MDWE}, {_REFUSE_EXEC_GAIN}, 0, 0, 0)"
    return _becoming(code, program)


def can_refuse_exec_gain() -> bool:
    """Tell whether the kernel has PR_SET_MDWE (Linux 6.3)."""
    code = f"import ctypes; raise SystemExit(ctypes.CDLL(None).prctl({_PR_SET_MDWE}, 1, 0, 0, 0))"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


_FILTER: Final = """
import struct
def code(*instructions): return b"".join(struct.pack("<HBBI", *one) for one in instructions)
numbers, action = {numbers}, {action}
asked = ((0x20, 0, 0, 24), (0x45, 0, 1, {unless}), (6, 0, 0, 0x7FFF0000)) if {unless} else ()
ends = (*asked, (6, 0, 0, action))
named = [one for n in numbers for one in ((0x15, 0, len(ends), n), *ends)]
raw = code((0x20, 0, 0, 0), *named, (6, 0, 0, 0x7FFF0000))
kept = ctypes.create_string_buffer(raw)
class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("at", ctypes.c_void_p)]
program = Program(len(raw) // 8, ctypes.addressof(kept))
libc = ctypes.CDLL(None)
if libc.prctl({no_new_privs}, 1, 0, 0, 0) or libc.prctl({seccomp}, 2, ctypes.byref(program), 0, 0):
    raise SystemExit("no filter")
"""


def with_filter(
    program: Path, numbers: Iterable[int], *, kills: bool = False, unless: int = 0
) -> list[str]:
    """Give a command that becomes the program, below a seccomp filter.

    The system calls of these numbers fail with EPERM, or end it: seccomp(2), SECCOMP_RET_ERRNO,
    SECCOMP_RET_KILL_PROCESS. ``unless``: not with one of these bits in the second argument.
    """
    action = 0x80000000 if kills else 0x00050000 | 1
    code = _FILTER.format(
        numbers=tuple(numbers),
        action=action,
        unless=unless,
        no_new_privs=_PR_SET_NO_NEW_PRIVS,
        seccomp=_PR_SET_SECCOMP,
    )
    return _becoming(code, program)


def _becoming(code: str, program: Path) -> list[str]:
    return [
        sys.executable,
        "-c",
        f"import ctypes, os, sys\n{code}\nos.execv(sys.argv[1], sys.argv[1:])",
        str(program),
    ]
