"""What ``/proc`` says of a process: small pure readers, each of one file.

pid → typed facts. Every reader takes ``root``, so that a test can hand in a tree of files. A
process may end between two reads; each reader then raises NoSuchProcess, and where the kernel
refuses, NotPermitted with the bare fact: ``preflight`` knows the reason and the fix.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgoleak.errors import NoSuchProcess, NotPermitted
from cgoleak.model.snapshot import ProcessMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CAP_SYS_PTRACE",
    "PROC",
    "ProcessStat",
    "ProcessStatus",
    "Region",
    "can_read_memory",
    "command_line",
    "exe_path",
    "maps",
    "namespace",
    "parse_maps",
    "pids",
    "process_file",
    "process_memory",
    "ptrace_scope",
    "stat",
    "status",
    "tasks",
]

PROC: Final = Path("/proc")

CAP_SYS_PTRACE: Final = 19
"""Bit number in the capability masks (``include/uapi/linux/capability.h``)."""

_DELETED: Final = " (deleted)"
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Region:
    """One line of ``/proc/PID/maps``.

    Attributes:
        start: lowest address.
        end: one past the highest.
        perms: four characters such as ``r-xp``.
        offset: offset in the file, in bytes.
        device: ``major:minor`` in hexadecimal, as printed.
        inode: 0 for memory without a file.
        path: file, pseudo name such as ``[heap]``, or the empty string.
        deleted: the file was unlinked or replaced since it was mapped.
    """

    start: int
    end: int
    perms: str
    offset: int
    device: str
    inode: int
    path: str
    deleted: bool = False

    @property
    def executable(self) -> bool:
        """True if code can run there."""
        return self.perms[2:3] == "x"

    @property
    def is_shared(self) -> bool:
        """True if others may write there by a mapping of theirs: MAP_SHARED."""
        return self.perms[3:4] == "s"

    @property
    def is_file(self) -> bool:
        """True if the bytes come from a named file rather than anonymous memory."""
        return self.inode != 0 and self.path.startswith("/")


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """Lines of ``/proc/PID/status`` that decide whether a process can be measured.

    Attributes:
        name: the kernel's ``comm``, at most 15 bytes.
        state: one letter: R, S, D, T (stopped), t (traced stop), Z (zombie), X, I.
        tgid: process that this task belongs to; another number means that the pid is a thread's.
        uid: effective user id, as seen from our user namespace.
        tracer_pid: who traces it, or 0.
        threads: number of threads.
        ns_pids: pid in each nested pid namespace, outermost first.
        seccomp: 0 none, 1 strict, 2 filter; None where the kernel does not say.
        effective_capabilities: bit mask.
        kernel_thread: has no user memory.
    """

    name: str
    state: str
    tgid: int
    ppid: int
    uid: int
    tracer_pid: int
    threads: int
    ns_pids: tuple[int, ...]
    seccomp: int | None
    effective_capabilities: int
    kernel_thread: bool

    def has_capability(self, bit: int) -> bool:
        """Say whether the capability with this bit number is in effect."""
        return bool(self.effective_capabilities >> bit & 1)


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """Fields of ``/proc/PID/stat``; (pid, start time) names a process beyond pid reuse."""

    state: str
    ppid: int
    start_ticks: int
    """Start time in clock ticks (``SC_CLK_TCK``) since boot; field 22 of proc_pid_stat(5)."""


def pids(root: Path = PROC) -> Iterator[int]:
    """Yield the pids of all processes, ascending; some may be gone when they are looked at."""
    return iter(sorted(int(entry.name) for entry in root.iterdir() if entry.name.isdecimal()))


def tasks(pid: int, root: Path = PROC) -> tuple[int, ...]:
    """List the thread ids of a process, ascending.

    Raises:
        NoSuchProcess: the process is gone.
    """
    try:
        names = [entry.name for entry in (root / str(pid) / "task").iterdir()]
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        raise _gone(pid) from None
    except PermissionError:
        raise _refused(pid, "task") from None
    return tuple(sorted(int(name) for name in names if name.isdecimal()))


def status(pid: int, root: Path = PROC) -> ProcessStatus:
    """Read ``/proc/PID/status``; lines that an old kernel lacks get the harmless value.

    Raises:
        NoSuchProcess: the process is gone.
        NotPermitted: ``/proc`` is mounted with ``hidepid``.
    """
    fields = _colon_fields(_read(pid, "status", root))
    uids = fields.get("Uid", "").split()
    # Before Linux 6.7 there is no Kthread line; a process without VmSize and with threads is one.
    kthread = fields.get("Kthread")
    state = fields.get("State", "?")[:1]
    has_memory = "VmSize" in fields
    return ProcessStatus(
        name=fields.get("Name", ""),
        state=state,
        tgid=_integer(fields.get("Tgid"), default=pid),
        ppid=_integer(fields.get("PPid")),
        uid=_integer(uids[1]) if len(uids) > 1 else -1,
        tracer_pid=_integer(fields.get("TracerPid")),
        threads=_integer(fields.get("Threads")),
        ns_pids=tuple(_integer(word) for word in fields.get("NSpid", "").split()),
        seccomp=_integer(fields["Seccomp"]) if "Seccomp" in fields else None,
        effective_capabilities=_integer(fields.get("CapEff"), base=16),
        kernel_thread=kthread == "1" if kthread else not has_memory and state not in "ZX",
    )


def stat(pid: int, root: Path = PROC) -> ProcessStat:
    """Read ``/proc/PID/stat``.

    Raises:
        NoSuchProcess: the process is gone.
    """
    # The name in parentheses may hold spaces and parentheses: the last one closes it.
    words = _read(pid, "stat", root).rpartition(b")")[2].split()
    if len(words) < 20:
        raise _gone(pid)
    return ProcessStat(
        state=words[0].decode("ascii", "replace"),
        ppid=_integer(words[1].decode("ascii", "replace")),
        start_ticks=_integer(words[19].decode("ascii", "replace")),
    )


def cpu_seconds(pid: int, root: Path = PROC) -> float:
    """Read how much CPU time a process has taken: fields 14 and 15 of proc_pid_stat(5).

    Raises:
        TargetError: as for ``stat``.
    """
    words = _read(pid, "stat", root).rpartition(b")")[2].split()
    if len(words) < 13 or not (words[11].isdigit() and words[12].isdigit()):
        raise _gone(pid)
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def maps(pid: int, root: Path = PROC) -> tuple[Region, ...]:
    """Read ``/proc/PID/maps``, ascending by address; empty for zombies and kernel threads.

    Raises:
        NoSuchProcess: the process is gone.
        NotPermitted: the process is another user's and we may not look.
    """
    return tuple(parse_maps(_read(pid, "maps", root)))


def parse_maps(text: bytes) -> Iterator[Region]:
    r"""Yield the regions of a maps file; torn or foreign lines are left out.

    Paths are bytes to the kernel, which escapes only the newline (as ``\012``, ``show_map_vma``
    in ``fs/proc/task_mmu.c``); bytes that are not UTF-8 come as surrogates, as ``os`` wants them.
    """
    for line in text.split(b"\n"):
        words = line.split(None, 5)
        if len(words) < 5:
            continue
        first, _, last = words[0].partition(b"-")
        try:
            start, end = int(first, 16), int(last, 16)
            offset, inode = int(words[2], 16), int(words[4])
        except ValueError:
            continue
        path = os.fsdecode(words[5].replace(b"\\012", b"\n")) if len(words) == 6 else ""
        deleted = path.endswith(_DELETED)
        yield Region(
            start=start,
            end=end,
            perms=words[1].decode("ascii", "replace"),
            offset=offset,
            device=words[3].decode("ascii", "replace"),
            inode=inode,
            path=path.removesuffix(_DELETED) if deleted else path,
            deleted=deleted,
        )


def process_memory(pid: int, root: Path = PROC, *, exact: bool = True) -> ProcessMemory | None:
    """Read the kernel's memory totals, in bytes; None for zombies and kernel threads.

    RSS and anonymous memory are counted page by page (``smaps_rollup``, Linux 4.14): the totals
    in ``status`` are per-CPU approximations since Linux 6.2. File and shared memory are from
    ``status``, which alone tells them apart. Where ``smaps_rollup`` is refused or missing,
    ``status`` serves for all, as it does without ``exact``.

    Raises:
        NoSuchProcess: the process is gone.
    """
    fields = _colon_fields(_read(pid, "status", root))
    if "VmRSS" not in fields:
        return None
    try:
        rollup = _colon_fields(_read(pid, "smaps_rollup", root)) if exact else {}
    except (NoSuchProcess, NotPermitted):
        rollup = {}
    return ProcessMemory(
        rss=_kib(rollup.get("Rss", fields["VmRSS"])),
        anonymous=_kib(rollup.get("Anonymous", fields.get("RssAnon"))),
        file=_kib(fields.get("RssFile")),
        shmem=_kib(fields.get("RssShmem")),
        swap=_kib(rollup.get("Swap", fields.get("VmSwap"))),
        threads=_integer(fields.get("Threads")),
        lazy_free=_kib(rollup.get("LazyFree")),
        huge_pages=_kib(rollup.get("AnonHugePages")),
    )


def exe_path(pid: int, root: Path = PROC) -> str | None:
    """Return the path of the executable in the target's own root, or None for kernel threads.

    A replaced file keeps its old name, without the kernel's ``(deleted)``; open
    ``/proc/PID/exe`` itself to read it.

    Raises:
        NoSuchProcess: the process is gone.
        NotPermitted: the process is another user's and we may not look.
    """
    folder = root / str(pid)
    try:
        return str((folder / "exe").readlink()).removesuffix(_DELETED)
    except (FileNotFoundError, ProcessLookupError):
        # A kernel thread has the directory and an exe link that leads nowhere.
        if folder.exists():
            return None
        raise _gone(pid) from None
    except PermissionError:
        raise _refused(pid, "exe") from None


def command_line(pid: int, root: Path = PROC) -> tuple[str, ...]:
    """Return the arguments; empty for zombies and kernel threads.

    Raises:
        NoSuchProcess: the process is gone.
    """
    raw = _read(pid, "cmdline", root)
    return tuple(os.fsdecode(word) for word in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def can_read_memory(pid: int, root: Path = PROC) -> bool:
    """Ask the kernel whether we may trace the process, without tracing it.

    Opening ``/proc/PID/mem`` takes the same decision as an attach (``PTRACE_MODE_ATTACH`` in
    ``fs/proc/base.c``: user, capability, dumpable flag, Yama and other security modules).

    Raises:
        NoSuchProcess: the process is gone.
    """
    try:
        os.close(os.open(root / str(pid) / "mem", os.O_RDONLY | os.O_CLOEXEC))
    except (FileNotFoundError, ProcessLookupError):
        raise _gone(pid) from None
    except OSError:
        return False
    return True


def namespace(pid: int | str, kind: str, root: Path = PROC) -> str | None:
    """Return the identity of a namespace (``user``, ``pid``, ``mnt``), or None if hidden."""
    try:
        return str((root / str(pid) / "ns" / kind).readlink())
    except OSError:
        return None


def ptrace_scope(root: Path = PROC) -> int | None:
    """Return ``kernel.yama.ptrace_scope``: 0 to 3, or None in a kernel without Yama."""
    try:
        return int((root / "sys/kernel/yama/ptrace_scope").read_text("ascii"))
    except (OSError, ValueError):
        return None


def process_file(pid: int, name: str, root: Path = PROC) -> bytes:
    """Read one file of a process, with its end and its refusal told apart.

    Raises:
        NoSuchProcess: the process is gone.
        NotPermitted: the kernel refuses.
    """
    return _read(pid, name, root)


def _read(pid: int, name: str, root: Path) -> bytes:
    try:
        return (root / str(pid) / name).read_bytes()
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        raise _gone(pid) from None
    except PermissionError:
        raise _refused(pid, name) from None
    except OSError as error:
        raise NotPermitted(
            f"cannot read /proc/{pid}/{name}", cause=error.strerror or str(error)
        ) from error


def _gone(pid: int) -> NoSuchProcess:
    return NoSuchProcess(
        f"there is no process {pid}",
        cause="it ended, or the number is from another pid namespace",
        fix="list the Go processes with: cgoleak ps",
    )


def _refused(pid: int, name: str) -> NotPermitted:
    return NotPermitted(
        f"cannot read /proc/{pid}/{name}",
        cause="the kernel does not let this user look into the process",
        fix=f"see what is missing with: cgoleak doctor {pid}",
    )


def _colon_fields(text: bytes) -> dict[str, str]:
    """Split ``Key:<blank>value`` lines; the first of two equal keys counts."""
    fields: dict[str, str] = {}
    for line in text.decode("utf-8", "replace").split("\n"):
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def _integer(word: str | None, *, default: int = 0, base: int = 10) -> int:
    try:
        return int(word or "", base)
    except ValueError:
        return default


def _kib(value: str | None) -> int:
    """Turn ``1234 kB`` into bytes: the kernel's kB are 1,024."""
    return _integer((value or "").partition(" ")[0]) * _KIB
