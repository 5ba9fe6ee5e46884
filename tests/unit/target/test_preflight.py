"""Which processes are refused, with which error, cause and fix."""

from __future__ import annotations

import os
import platform
import subprocess

import pytest

from cgoleak.errors import (
    AlreadyTraced,
    NoCgo,
    NoSuchProcess,
    NotGo,
    NotPermitted,
    UnsupportedTarget,
)
from cgoleak.target.kernel.procfs import CAP_SYS_PTRACE, status
from cgoleak.target.listing import list_go_processes
from cgoleak.target.machine import machine_checks
from cgoleak.target.permission import refusal
from cgoleak.target.preflight import checks, require
from support.elfbytes import an_elf
from support.proctree import LIBC_LINE, a_process

x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="what static programs need")
NATIVE_MACHINE = {"x86_64": 62, "aarch64": 183}[platform.machine()]


@pytest.fixture
def proc(tmp_path):
    root = tmp_path / "proc"
    root.mkdir()
    return root


def a_worker(proc, pid=42, *, elf=None, maps=LIBC_LINE, **facts):
    """Make a process whose executable is a dynamic cgo program of this machine."""
    exe = proc.parent / f"worker{pid}"
    exe.write_bytes(elf or an_elf(machine=NATIVE_MACHINE))
    return a_process(proc, pid, exe=exe, maps=maps, **facts)


def test_a_dynamic_cgo_program_is_accepted_with_its_facts(proc):
    a_worker(proc)

    facts = require(42, proc)

    assert facts.start_ticks == 95739
    assert facts.target.go_version == "go1.24.3"
    assert facts.target.exe.endswith("worker42")
    assert facts.libc.kind == facts.allocator == "glibc"


def test_a_pid_that_is_gone_is_refused(proc):
    with pytest.raises(NoSuchProcess, match="no process 42"):
        require(42, proc)


def test_a_zombie_is_refused_as_ended(proc):
    a_worker(proc, state="Z (zombie)")

    with pytest.raises(NoSuchProcess, match="has ended"):
        require(42, proc)


def test_a_thread_id_is_refused_and_the_process_named(proc):
    a_worker(proc, tgid=41)

    with pytest.raises(NoSuchProcess) as caught:
        require(42, proc)
    assert caught.value.fix == "use 41 instead"


def test_a_kernel_thread_is_refused(proc):
    a_process(proc, 2, kernel_thread=True)

    with pytest.raises(UnsupportedTarget, match="thread of the kernel"):
        require(2, proc)


def test_cgoleak_does_not_attach_to_itself():
    with pytest.raises(UnsupportedTarget, match="cgoleak itself"):
        require(os.getpid())


def test_a_stopped_process_is_refused_with_the_command_that_wakes_it(proc):
    a_worker(proc, state="T (stopped)")

    with pytest.raises(UnsupportedTarget) as caught:
        require(42, proc)
    assert caught.value.fix is not None
    assert "kill -CONT 42" in caught.value.fix


@pytest.mark.parametrize(("limit", "refused"), [("1000000", True), ("unlimited", False)])
def test_a_limit_of_files_that_would_end_the_process_is_refused(proc, limit, refused):
    a_worker(proc)
    line = f"Max file size             {limit}            unlimited            bytes\n"
    (proc / "42" / "limits").write_text(line)

    if not refused:
        assert require(42, proc).pid == 42
        return
    with pytest.raises(UnsupportedTarget) as caught:
        require(42, proc)
    assert caught.value.fix is not None
    assert "prlimit --pid 42 --fsize=unlimited" in caught.value.fix


@pytest.mark.parametrize(("used", "refused"), [(50 << 20, True), (40 << 20, False)])
def test_a_process_close_to_its_memory_limit_is_refused(proc, tmp_path, used, refused):
    a_worker(proc)
    (proc / "42" / "cgroup").write_text("0::/box\n")
    group = tmp_path / "cgroups" / "box"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{64 << 20}\n")
    (group / "memory.current").write_text(f"{used}\n")

    if not refused:
        assert require(42, proc, cgroups=tmp_path / "cgroups").pid == 42
        return
    with pytest.raises(UnsupportedTarget) as caught:
        require(42, proc, cgroups=tmp_path / "cgroups")
    assert caught.value.cause is not None
    assert "memory cgroup /box has 14.0 MiB left of 64.0 MiB" in caught.value.cause


def test_a_traced_process_is_refused_and_the_tracer_named(proc):
    a_worker(proc, tracer=77)
    a_process(proc, 77, name="gdb")

    with pytest.raises(AlreadyTraced) as caught:
        require(42, proc)
    assert caught.value.cause is not None
    assert "77 (gdb)" in caught.value.cause


def test_a_tracer_of_a_single_thread_counts(proc):
    folder = a_worker(proc)
    (folder / "task" / "43").mkdir()
    a_process(proc, 43, tgid=42, tracer=77)

    with pytest.raises(AlreadyTraced):
        require(42, proc)


def test_a_process_that_we_hold_ourselves_may_be_traced_and_stopped(proc):
    a_worker(proc, state="t (tracing stop)", tracer=os.getpid())

    assert require(42, proc, held=True).pid == 42


def test_a_refusal_of_the_kernel_is_not_permitted(proc):
    a_worker(proc, readable_memory=False)
    (proc / "42" / "mem").symlink_to("mem")  # a loop: open() fails, but not for want of a file

    with pytest.raises(NotPermitted) as caught:
        require(42, proc)
    assert caught.value.cause
    assert caught.value.fix


def test_a_program_that_is_not_go_is_refused(proc):
    a_worker(proc, elf=an_elf(machine=NATIVE_MACHINE, go_version=None))

    with pytest.raises(NotGo) as refused:
        require(42, proc)

    assert "cgoleak ps" in refused.value.fix


def test_a_command_that_is_not_go_is_told_to_name_the_program_itself(proc):
    a_worker(proc, elf=an_elf(machine=NATIVE_MACHINE, go_version=None))

    with pytest.raises(NotGo) as refused:
        require(42, proc, held=True)

    assert "not a shell or script" in refused.value.fix


def test_a_go_program_without_c_is_sent_to_pprof(proc):
    pure = an_elf(machine=NATIVE_MACHINE, cgo=False, dynamic=False, settings="build\tCGO_ENABLED=0")
    a_worker(proc, elf=pure, maps="")

    with pytest.raises(NoCgo) as caught:
        require(42, proc)
    assert caught.value.fix is not None
    assert "pprof" in caught.value.fix
    assert caught.value.cause is not None
    assert "CGO_ENABLED=0" in caught.value.cause


def test_c_that_was_loaded_without_cgo_is_accepted(proc):
    a_worker(proc, elf=an_elf(machine=NATIVE_MACHINE, cgo=False))

    assert require(42, proc).libc.kind == "glibc"


@x86_64
def test_a_static_program_without_symbols_is_refused(proc):
    stripped = an_elf(machine=NATIVE_MACHINE, dynamic=False, sections=(".text",))
    a_worker(proc, elf=stripped, maps="")

    with pytest.raises(UnsupportedTarget, match="static") as refused:
        require(42, proc)

    assert "stripped" in refused.value.cause
    assert "-ldflags=-s" in refused.value.fix


@x86_64
def test_a_static_program_is_refused_at_its_start(proc):
    a_worker(proc, elf=an_elf(machine=NATIVE_MACHINE, dynamic=False), maps="")

    with pytest.raises(UnsupportedTarget, match="static") as refused:
        require(42, proc, held=True)

    assert "cgoleak attach" in refused.value.fix


def test_a_static_program_of_aarch64_is_refused(proc, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    a_worker(proc, elf=an_elf(machine=183, dynamic=False), maps="")

    with pytest.raises(UnsupportedTarget, match="static") as refused:
        require(42, proc)

    assert "x86-64" in refused.value.cause
    assert "cgoleak watch" in refused.value.fix


def test_a_program_without_a_known_libc_is_refused(proc):
    a_worker(proc, maps="1-2 r-xp 0 fe:00 9 /system/lib64/bionic.so\n")

    with pytest.raises(UnsupportedTarget, match="no C library"):
        require(42, proc)


def test_a_program_for_another_machine_is_refused(proc):
    a_worker(proc, elf=an_elf(machine=243))

    with pytest.raises(UnsupportedTarget, match="cannot be measured on this machine"):
        require(42, proc)


def test_a_root_without_proc_is_refused_and_how_to_mount_it_is_said(proc):
    a_worker(proc)
    (proc / "42" / "root").unlink()
    (proc / "42" / "root").mkdir()

    with pytest.raises(UnsupportedTarget, match="no /proc in its root") as refused:
        require(42, proc)

    assert "nsenter -t 42" in str(refused.value.fix)


def test_a_32_bit_go_program_is_refused_for_its_machine_not_for_being_no_go(proc):
    a_worker(proc, elf=an_elf(machine=3, bits=32))

    with pytest.raises(UnsupportedTarget, match="cannot be measured on this machine"):
        require(42, proc)


def test_doctor_lists_every_precondition_of_a_good_process(proc):
    a_worker(proc)

    found = checks(42, proc)

    assert {check.name: check.ok for check in found} == {
        "process": True,
        "running": True,
        "tracer": True,
        "permission": True,
        "seccomp": True,
        "/proc": True,
        "file size": True,
        "memory": True,
        "architecture": True,
        "Go": True,
        "C code": True,
        "way in": True,
        "libc": True,
        "symbols": True,
    }


def test_doctor_gives_a_fix_for_whatever_is_not_well(proc):
    static = an_elf(machine=NATIVE_MACHINE, dynamic=False, sections=(".text",))
    a_worker(proc, elf=static, maps="", state="T (stopped)", tracer=77, seccomp=2)

    bad = [check for check in checks(42, proc) if check.ok is not True]

    assert {check.name for check in bad} == {
        "running",
        "tracer",
        "seccomp",
        "way in",
        "libc",
        "symbols",
    }
    assert all(check.fix for check in bad)


def test_doctor_of_a_missing_process_says_so_and_nothing_else(proc):
    (check,) = checks(42, proc)

    assert (check.name, check.ok) == ("process", False)


def ourselves(proc, *, capabilities=0, seccomp=0):
    a_process(
        proc, os.getpid(), uid=os.geteuid(), capabilities=capabilities, seccomp=seccomp, name="us"
    )


def yama(proc, scope):
    file = proc / "sys/kernel/yama/ptrace_scope"
    file.parent.mkdir(parents=True)
    file.write_text(str(scope))


def test_root_without_the_capability_is_told_of_containers(proc, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    ourselves(proc)
    a_process(proc, 42, uid=1000)

    cause, fix = refusal(42, status(42, proc), proc)

    assert "SYS_PTRACE" in cause
    assert "--cap-add=SYS_PTRACE" in fix


def test_another_users_process_needs_root_or_that_user(proc, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    ourselves(proc)
    a_process(proc, 42, uid=4_000_001)

    cause, fix = refusal(42, status(42, proc), proc)

    assert cause == "it belongs to user uid 4000001, and we are uid 4000000"
    assert fix == "run as root or as uid 4000001: sudo cgoleak attach 42"


def test_a_process_of_root_needs_root(proc, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    ourselves(proc)
    a_process(proc, 42, uid=0)

    assert refusal(42, status(42, proc), proc)[1] == "run as root: sudo cgoleak attach 42"


@pytest.mark.parametrize(
    ("scope", "words", "fix_words"),
    [(1, "not our child", "ptrace_scope=0"), (2, "only root", "sudo"), (3, "nobody", "boot")],
)
def test_our_own_process_under_yama_is_explained_by_its_scope(
    proc, monkeypatch, scope, words, fix_words
):
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    ourselves(proc)
    yama(proc, scope)
    a_process(proc, 42, uid=4_000_000)

    cause, fix = refusal(42, status(42, proc), proc)

    assert f"ptrace_scope is {scope}" in cause
    assert words in cause
    assert fix_words in fix


def test_our_own_process_without_yama_has_closed_itself(proc, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    ourselves(proc)
    a_process(proc, 42, uid=4_000_000)

    cause, _ = refusal(42, status(42, proc), proc)

    assert "PR_SET_DUMPABLE" in cause


def test_a_filter_around_cgoleak_is_named(proc, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    ourselves(proc, seccomp=2)
    a_process(proc, 42, uid=4_000_000)

    assert "seccomp" in refusal(42, status(42, proc), proc)[0]


def test_another_user_namespace_is_named(proc):
    ourselves(proc, capabilities=1 << CAP_SYS_PTRACE)
    folder = a_process(proc, 42)
    for where, inode in ((proc / "self", 1), (folder, 2)):
        (where / "ns").mkdir(parents=True)
        (where / "ns" / "user").symlink_to(f"user:[{inode}]")

    assert "user namespace" in refusal(42, status(42, proc), proc)[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_an_unprivileged_user_is_really_refused_by_the_kernel():
    target = subprocess.Popen(["sleep", "60"])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # All modules are imported: the other user may not be able to read this checkout.
        answer = "accepted"
        try:
            os.setgid(65534)
            os.setuid(65534)
            require(target.pid)
        except NotPermitted as error:
            answer = error.cause or ""
        finally:
            os.write(writer, answer.encode())
            os._exit(0)
    os.close(writer)
    try:
        os.waitpid(child, 0)
        with os.fdopen(reader) as pipe:
            answer = pipe.read()
    finally:
        target.kill()
        target.wait()
    assert answer.startswith("it belongs to user root, and we are ")


def test_the_machine_checks_are_the_same_for_everybody(proc):
    ourselves(proc)
    yama(proc, 1)

    found = {check.name: check for check in machine_checks(proc)}

    assert set(found) == {
        "machine",
        "ptrace_scope",
        "capability",
        "own seccomp",
        "own file size",
        "own addresses",
    }
    assert found["ptrace_scope"].ok is None
    assert found["ptrace_scope"].fix


def test_go_processes_are_listed_with_what_stands_in_the_way(proc):
    a_worker(proc, 42)
    a_worker(proc, 43, elf=an_elf(machine=NATIVE_MACHINE, cgo=False, dynamic=False), maps="")
    a_worker(proc, 44, elf=an_elf(machine=NATIVE_MACHINE, go_version=None))
    a_process(proc, 2, kernel_thread=True)
    ourselves(proc)

    listing = list_go_processes(proc)

    assert [(process.pid, process.cgo) for process in listing.processes] == [
        (42, True),
        (43, False),
    ]
    assert listing.processes[0].refusal is None
    assert listing.processes[0].rss_bytes == 1000 * 1024
    assert listing.processes[1].refusal == "process 43 contains no C code"
    assert listing.hidden == 0


def test_what_a_refusal_hides_does_not_send_from_doctor_to_doctor(proc, monkeypatch):
    a_worker(proc)

    def refused(pid, root):
        raise NotPermitted("cannot read /proc/42/exe", fix="see: cgoleak doctor 42")

    monkeypatch.setattr("cgoleak.target.preflight.read_binary", refused)

    hidden = [check for check in checks(42, proc) if check.text.startswith("not visible")]

    assert {check.name for check in hidden} >= {"Go", "C code", "symbols"}
    assert {check.fix for check in hidden} == {None}
