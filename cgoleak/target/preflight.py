"""Can this process be measured? Decided from facts, with the target untouched.

pid → one Check per precondition (``checks``, for ``doctor``), or the facts that the probe needs
(``require``), which raises the error of the first precondition that does not hold. Nothing here
traces, stops or signals the target: where ptrace is refused, Frida's own attempt would patch malloc
through ``/proc/PID/mem``, so that is refused before.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.errors import (
    AlreadyTraced,
    CgoleakError,
    NoCgo,
    NoSuchProcess,
    NotGo,
    NotPermitted,
    UnsupportedTarget,
)
from cgoleak.model.capture import Target
from cgoleak.target.gobinary import GoBinary, Libc, find_libc, godebug_of, read_binary
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.cgroup import CGROUPS, ENTER_BYTES, room
from cgoleak.target.kernel.procfs import PROC
from cgoleak.target.libc.allocator import find_allocator
from cgoleak.target.permission import refusal
from cgoleak.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cgoleak.target.kernel.procfs import ProcessStatus, Region

__all__ = [
    "PROBE_ARCHITECTURES",
    "Check",
    "TargetFacts",
    "checked",
    "checks",
    "require",
    "require_alive",
    "require_architecture",
]

PROBE_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""``platform.machine()`` of the machines that a probe exists for → Go's name."""


_FILE_SIZE_LIMIT: Final = re.compile(rb"^Max file size +(\d+) ", re.MULTILINE)
_TABLES_AT_MOST: Final = 1 << 32
"""Bytes; above the size of the probe's tables, which are sparse (probes/control.c, cg_plan)."""


@dataclass(frozen=True, slots=True)
class Check:
    """One precondition; ``ok`` is None where it could not be found out."""

    name: str
    ok: bool | None
    text: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What is known of a process that can be measured.

    Attributes:
        start_ticks: with the pid, names the process beyond pid reuse.
        regions: its memory map at the time of the look.
    """

    pid: int
    start_ticks: int
    status: ProcessStatus
    binary: GoBinary
    libc: Libc
    allocator: str
    regions: tuple[Region, ...]
    godebug: str = ""

    @property
    def target(self) -> Target:
        """Give the values of the report."""
        return Target(
            pid=self.pid,
            exe=self.binary.path,
            go_version=self.binary.go_version,
            libc=str(self.libc),
            allocator=self.allocator,
            arch=self.binary.arch or "unknown",
            stripped=self.binary.stripped,
            godebug=self.godebug,
        )


def require(
    pid: int, root: Path = PROC, *, held: bool = False, cgroups: Path = CGROUPS
) -> TargetFacts:
    """Return the facts of a process that can be measured.

    ``held`` says that we started the process ourselves and hold it before its first instruction:
    the tracer is us then, and so is the stop.

    Raises:
        NoSuchProcess: no such process, a thread's id, or a zombie.
        NotPermitted: the kernel would refuse to trace it.
        AlreadyTraced: it has a tracer.
        NotGo: the executable is not a Go program.
        NoCgo: Go, but nothing in it allocates with malloc.
        UnsupportedTarget: ourselves, a kernel thread, stopped, static and stripped, without a libc,
            of another architecture, or close to a limit that the probe would break.
    """
    status = require_alive(pid, root)
    if not held:
        _not_stopped(pid, status)
        _not_traced(pid, root)
    _permitted(pid, status, root)
    binary = read_binary(pid, root)
    _is_go(pid, binary, held=held)
    require_architecture(pid, binary)
    regions = procfs.maps(pid, root)
    libc = find_libc(pid, regions, root)
    _has_c(pid, binary, libc)
    _can_be_entered(pid, binary, held=held)
    libc = _with_libc(pid, binary, libc)
    _has_proc(pid, root)
    _large_files(pid, root)
    _has_room(pid, root, cgroups)
    return TargetFacts(
        pid=pid,
        start_ticks=procfs.stat(pid, root).start_ticks,
        status=status,
        binary=binary,
        libc=libc,
        allocator=find_allocator(pid, regions, libc, root) or libc.kind,
        regions=regions,
        godebug=godebug_of(pid, binary, root),
    )


def checks(pid: int, root: Path = PROC) -> tuple[Check, ...]:
    """Look at every precondition of one process; those hidden by an earlier refusal are ``?``."""
    return tuple(_checks(pid, root))


def _checks(pid: int, root: Path) -> Iterator[Check]:
    try:
        status = require_alive(pid, root)
    except CgoleakError as error:
        yield _failed("process", error)
        return
    yield Check("process", ok=True, text=f"{status.name}, {status.threads} threads")
    yield checked("running", "it is not stopped", lambda: _not_stopped(pid, status))
    yield checked("tracer", "nobody traces it", lambda: _not_traced(pid, root))
    yield checked("permission", "we may trace it", lambda: _permitted(pid, status, root))
    yield _seccomp(status)
    try:
        binary = read_binary(pid, root)
    except CgoleakError as error:
        # The fix of a refusal stands beside "permission"; this error's own would name doctor.
        unknown = f"not visible: {error.what}"
        fix = None if isinstance(error, NotPermitted) else error.fix
        for name in ("Go", "C code", "architecture", "way in", "symbols", "libc"):
            yield Check(name, ok=None, text=unknown, fix=fix)
        return
    yield from _program_checks(pid, binary, root)


def _program_checks(pid: int, binary: GoBinary, root: Path) -> Iterator[Check]:
    """Look at what the executable and its libraries say."""
    version = binary.go_version or "a Go program of unknown version"
    yield checked("architecture", f"{binary.arch}", lambda: require_architecture(pid, binary))
    yield checked("Go", version, lambda: _is_go(pid, binary))
    try:
        regions = procfs.maps(pid, root)
    except CgoleakError as error:
        yield Check("libc", ok=None, text=error.what, fix=error.fix)
        return
    libc = find_libc(pid, regions, root)
    linked = "linked with cgo" if binary.uses_cgo else "a C library is loaded, without cgo"
    yield checked("C code", linked, lambda: _has_c(pid, binary, libc))
    way = f"loaded by {binary.interpreter}" if binary.interpreter else "static, with its symbols"
    yield checked("way in", way, lambda: _can_be_entered(pid, binary))
    text = f"{libc}, malloc from {find_allocator(pid, regions, libc, root)}"
    yield checked("libc", text, lambda: _with_libc(pid, binary, libc))
    yield checked("/proc", "mounted in its root", lambda: _has_proc(pid, root))
    yield checked("file size", "large enough for the tables", lambda: _large_files(pid, root))
    yield checked("memory", "its cgroup has room for the tables", lambda: _has_room(pid, root))
    yield _symbols(binary)


def checked(name: str, text: str, ask: Callable[[], object]) -> Check:
    """Turn a precondition that raises into a ``Check``."""
    try:
        ask()
    except CgoleakError as error:
        return _failed(name, error)
    return Check(name, ok=True, text=text)


def _failed(name: str, error: CgoleakError) -> Check:
    text = f"{error.what}: {error.cause}" if error.cause else error.what
    return Check(name, ok=False, text=text, fix=error.fix)


def require_alive(pid: int, root: Path) -> ProcessStatus:
    """Return the status of a process that runs code of its own.

    Raises:
        NoSuchProcess: no such process, a thread's id, or a zombie.
        UnsupportedTarget: ourselves, or a kernel thread.
    """
    if pid == os.getpid():
        raise UnsupportedTarget(
            f"process {pid} is cgoleak itself",
            cause="a process cannot be stopped by itself",
            fix="give the pid of the Go process; list them with: cgoleak ps",
        )
    status = procfs.status(pid, root)
    if status.tgid != pid:
        raise NoSuchProcess(
            f"{pid} is a thread, not a process",
            cause=f"it belongs to process {status.tgid}",
            fix=f"use {status.tgid} instead",
        )
    if status.state in {"Z", "X"}:
        raise NoSuchProcess(
            f"process {pid} has ended",
            cause=f"it is a zombie that its parent {status.ppid} has not collected yet",
            fix="list the Go processes with: cgoleak ps",
        )
    if status.kernel_thread:
        raise UnsupportedTarget(
            f"process {pid} ({status.name}) is a thread of the kernel",
            cause="it runs no program",
            fix="list the Go processes with: cgoleak ps",
        )
    return status


def _not_stopped(pid: int, status: ProcessStatus) -> None:
    if status.state == "T":
        raise UnsupportedTarget(
            f"process {pid} is stopped",
            cause="somebody sent it SIGSTOP (or ^Z), and it is not for cgoleak to let it run",
            fix=f"let it run with: kill -CONT {pid}",
        )


def _not_traced(pid: int, root: Path) -> None:
    """Look at all threads: a tracer may have taken only some."""
    for task in procfs.tasks(pid, root):
        try:
            tracer = procfs.status(task, root).tracer_pid
        except NoSuchProcess:
            continue
        if tracer:
            raise AlreadyTraced(
                f"process {pid} is already traced",
                cause=f"by process {tracer} ({_name_of(tracer, root)}), and only one can trace",
                fix="end the debugger, strace or other cgoleak first",
            )


def _name_of(pid: int, root: Path) -> str:
    try:
        return procfs.status(pid, root).name or "unknown"
    except CgoleakError:
        return "unknown"


def _permitted(pid: int, status: ProcessStatus, root: Path) -> None:
    if not procfs.can_read_memory(pid, root):
        cause, fix = refusal(pid, status, root)
        raise NotPermitted(f"cannot trace process {pid} ({status.name})", cause=cause, fix=fix)


def _is_go(pid: int, binary: GoBinary, *, held: bool = False) -> None:
    if not binary.is_go and binary.bits != 32:
        fix = "list the Go processes with: cgoleak ps"
        if held:
            fix = "name the Go program itself, not a shell or script that starts it"
        raise NotGo(
            f"process {pid} is not a Go program",
            cause=f"{binary.path} has no Go build information",
            fix=fix,
        )


def require_architecture(pid: int, binary: GoBinary) -> None:
    """See that the program is for this machine; what is not ELF passes.

    Raises:
        UnsupportedTarget: it is for another one, or 32-bit.
    """
    ours = platform.machine()
    if binary.bits is not None and binary.arch != PROBE_ARCHITECTURES.get(ours):
        raise UnsupportedTarget(
            f"process {pid} cannot be measured on this machine",
            cause=f"the program is for {binary.arch or 'something unknown'}, we run on {ours}",
            fix="only 64-bit x86-64 and aarch64 programs that run natively are supported",
        )


def _has_c(pid: int, binary: GoBinary, libc: Libc | None) -> None:
    """Libraries that load C without cgo (purego) leave no mark but the mapped libc."""
    if not binary.uses_cgo and libc is None:
        setting = binary.settings.get("CGO_ENABLED")
        enabled = f" (built with CGO_ENABLED={setting})" if setting else ""
        raise NoCgo(
            f"process {pid} contains no C code",
            cause=f"{binary.path} is Go without cgo{enabled}, so that nothing in it calls malloc",
            fix="its memory is Go's own: use go tool pprof",
        )


_STATIC_MACHINE: Final = "amd64"


def _can_be_entered(pid: int, binary: GoBinary, *, held: bool = False) -> None:
    """Frida kills a program without a loader: the other way in and to its calls needs more."""
    if binary.interpreter is not None:
        return
    what, cause = f"process {pid} is a static program", ""
    fix = "link it dynamically; cgoleak watch works as it is"
    if binary.arch != _STATIC_MACHINE:
        cause = f"such programs are only measured on x86-64, and {binary.path} is for {binary.arch}"
    elif binary.stripped:
        cause = f"{binary.path} is stripped: where it calls malloc cannot be found"
        fix = "keep its symbols: build without -ldflags=-s; cgoleak watch works as it is"
    elif held:
        cause = "the way into a static program begins with a thread that waits, and it has none yet"
        fix = "start it first and measure it then with: cgoleak attach PID"
    if cause:
        raise UnsupportedTarget(what, cause=cause, fix=fix)


def _with_libc(pid: int, binary: GoBinary, libc: Libc | None) -> Libc:
    if libc is None:
        raise UnsupportedTarget(
            f"process {pid} has no C library that cgoleak knows",
            cause=f"neither glibc nor musl is mapped by {binary.path}",
            fix=f"see what is mapped in: /proc/{pid}/maps",
        )
    return libc


def _has_proc(pid: int, root: Path) -> None:
    """Frida's bootstrapper reads /proc/self/auxv in the target (frida-core, bootstrapper.c)."""
    inside = root / str(pid) / "root"
    try:
        can_tell = inside.is_dir()
    except OSError:
        return
    if can_tell and not os.path.lexists(inside / "proc" / "self"):
        raise UnsupportedTarget(
            f"process {pid} has no /proc in its root",
            cause="what brings the probe in reads /proc/self/auxv inside the process",
            fix=f"mount it there: nsenter -t {pid} -m -r mount -t proc proc /proc; or use: "
            "cgoleak watch",
        )


def _large_files(pid: int, root: Path) -> None:
    """Growing a memfd beyond RLIMIT_FSIZE ends the process by SIGXFSZ (setrlimit(2))."""
    try:
        limits = procfs.process_file(pid, "limits", root)
    except NoSuchProcess:
        return
    found = _FILE_SIZE_LIMIT.search(limits)
    if found and int(found[1]) < _TABLES_AT_MOST:
        raise UnsupportedTarget(
            f"process {pid} may not have large files",
            cause=f"RLIMIT_FSIZE is {int(found[1])} bytes; the probe's tables are a sparse file"
            " in memory, and the kernel would end the process for it",
            fix=f"raise the limit: prlimit --pid {pid} --fsize=unlimited; or use: cgoleak watch",
        )


def _has_room(pid: int, root: Path, cgroups: Path = CGROUPS) -> None:
    """Pages of the probe's tables count for the process that touches them first."""
    found = room(pid, root, cgroups)
    if found is not None and found.left_bytes < ENTER_BYTES:
        raise UnsupportedTarget(
            f"process {pid} has hardly any memory left",
            cause=f"its memory cgroup {found.group} has {format_bytes(found.left_bytes)} left of "
            f"{format_bytes(found.limit_bytes)}, and the probe's tables count there as well",
            fix=f"raise the limit, so that {format_bytes(ENTER_BYTES)} are left at least; or use: "
            "cgoleak watch",
        )


def _seccomp(status: ProcessStatus) -> Check:
    """A filter may refuse what the probe needs; what it allows cannot be read from outside."""
    if not status.seccomp:
        return Check("seccomp", ok=True, text="no system call filter")
    return Check(
        "seccomp",
        ok=None,
        text="the process filters its system calls; the probe needs memfd_create, mmap and clone",
        fix="if attaching fails: allow them in the container's or unit's seccomp profile",
    )


def _symbols(binary: GoBinary) -> Check:
    if binary.has_dwarf:
        return Check("symbols", ok=True, text="the program has debug information")
    if not binary.stripped:
        return Check(
            "symbols",
            ok=True,
            text="function names, but no lines for the C code",
            fix="build C with -g",
        )
    return Check(
        "symbols",
        ok=None,
        text="stripped: Go frames are named, C functions of the program only if exported",
        fix="build without -ldflags='-s -w' (go test: -ldflags='-s=false -w=false')",
    )
