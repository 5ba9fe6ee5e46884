"""Reading /proc."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cgoleak.errors import NoSuchProcess
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.procfs import CAP_SYS_PTRACE, Region
from support.proctree import LIBC_LINE, a_process


def test_a_line_of_maps_becomes_a_typed_region():
    (region,) = procfs.parse_maps(LIBC_LINE.encode())

    assert region == Region(
        start=0x7F5BB37E8000,
        end=0x7F5BB393E000,
        perms="r-xp",
        offset=0x26000,
        device="fe:00",
        inode=1201,
        path="/usr/lib/x86_64-linux-gnu/libc.so.6",
    )
    assert region.executable
    assert region.is_file


def test_a_file_replaced_while_it_was_mapped_is_marked_deleted():
    (region,) = procfs.parse_maps(b"1000-2000 r--p 0 00:01 7 /usr/lib/libz.so.1 (deleted)\n")

    assert (region.path, region.deleted) == ("/usr/lib/libz.so.1", True)


def test_paths_with_blanks_newlines_and_foreign_bytes_survive():
    (region,) = procfs.parse_maps(b"1000-2000 r--p 0 00:01 7 /a b\\012c\xff\n")

    assert os.fsencode(region.path) == b"/a b\nc\xff"


def test_pseudo_names_and_anonymous_memory_are_no_files():
    regions = list(procfs.parse_maps(b"1-2 rw-p 0 00:00 0 [heap]\n2-3 rw-p 0 00:00 0 \n"))

    assert [region.path for region in regions] == ["[heap]", ""]
    assert not any(region.is_file for region in regions)


@pytest.mark.parametrize(
    "line",
    [b"", b"garbage", b"1000 r--p 0 0", b"x-y r--p 0 0 0", b"1-2 r--p z 0 0", b"\xff\xff"],
)
def test_torn_lines_of_maps_are_left_out(line):
    assert list(procfs.parse_maps(line)) == []


def test_status_gives_the_facts_that_decide_about_tracing(tmp_path):
    a_process(
        tmp_path,
        42,
        uid=1000,
        tracer=77,
        threads=9,
        seccomp=2,
        capabilities=1 << CAP_SYS_PTRACE,
    )

    status = procfs.status(42, tmp_path)

    assert (status.uid, status.tracer_pid, status.threads, status.seccomp) == (1000, 77, 9, 2)
    assert status.state == "S"
    assert status.ns_pids == (42, 7)
    assert status.has_capability(CAP_SYS_PTRACE)
    assert not status.has_capability(0)
    assert not status.kernel_thread


def test_a_kernel_thread_is_known_without_the_line_of_new_kernels(tmp_path):
    folder = a_process(tmp_path, 2, kernel_thread=True)
    text = (folder / "status").read_text()
    (folder / "status").write_text(text.replace("Kthread:\t1\n", ""))

    assert procfs.status(2, tmp_path).kernel_thread


def test_a_zombie_is_not_taken_for_a_kernel_thread(tmp_path):
    folder = a_process(tmp_path, 2, state="Z (zombie)")
    text = (folder / "status").read_text()
    (folder / "status").write_text(text.replace("Kthread:\t0\n", ""))

    assert not procfs.status(2, tmp_path).kernel_thread


def test_a_name_with_parentheses_and_blanks_does_not_shift_the_fields_of_stat(tmp_path):
    a_process(tmp_path, 42, name="a) R 1 (b")

    stat = procfs.stat(42, tmp_path)

    assert (stat.state, stat.ppid, stat.start_ticks) == ("S", 1, 95739)


def test_memory_comes_from_smaps_rollup_where_it_can_be_read(tmp_path):
    folder = a_process(tmp_path, 42)
    (folder / "smaps_rollup").write_text("00-ff ---p [rollup]\nRss: 1004 kB\nAnonymous: 604 kB\n")

    memory = procfs.process_memory(42, tmp_path)

    assert memory is not None
    assert (memory.rss, memory.anonymous, memory.file) == (1004 * 1024, 604 * 1024, 300 * 1024)


def test_memory_comes_from_status_where_smaps_rollup_is_missing(tmp_path):
    a_process(tmp_path, 42)

    memory = procfs.process_memory(42, tmp_path)

    assert memory is not None
    assert (memory.rss, memory.anonymous, memory.swap) == (1000 * 1024, 600 * 1024, 8 * 1024)


def test_a_zombie_has_no_memory(tmp_path):
    a_process(tmp_path, 42, state="Z (zombie)")

    assert procfs.process_memory(42, tmp_path) is None


@pytest.mark.parametrize(
    "reader",
    [
        procfs.status,
        procfs.stat,
        procfs.maps,
        procfs.tasks,
        procfs.exe_path,
        procfs.command_line,
        procfs.process_memory,
        procfs.can_read_memory,
    ],
)
def test_every_reader_says_that_a_process_is_gone(reader, tmp_path):
    with pytest.raises(NoSuchProcess):
        reader(4242, tmp_path)


def test_a_process_that_ends_between_two_reads_is_gone_not_refused():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    # A zombie now: its status is still there, its memory is not.
    try:
        assert procfs.status(child.pid).state == "Z"
        assert procfs.maps(child.pid) == ()
        assert procfs.process_memory(child.pid) is None
    finally:
        child.wait()
    with pytest.raises(NoSuchProcess):
        procfs.status(child.pid)


def test_the_executable_of_a_kernel_thread_is_none(tmp_path):
    a_process(tmp_path, 2, kernel_thread=True)

    assert procfs.exe_path(2, tmp_path) is None


def test_a_replaced_executable_keeps_its_name(tmp_path):
    a_process(tmp_path, 42, exe="/srv/worker (deleted)")

    assert procfs.exe_path(42, tmp_path) == "/srv/worker"


def test_arguments_are_split_at_their_ends(tmp_path):
    a_process(tmp_path, 42)

    assert procfs.command_line(42, tmp_path) == ("./worker", "--port", "8080")


def test_only_directories_named_by_numbers_are_pids(tmp_path):
    for name in ("12", "3", "self", "sys"):
        (tmp_path / name).mkdir()

    assert list(procfs.pids(tmp_path)) == [3, 12]


def test_a_kernel_without_yama_has_no_ptrace_scope(tmp_path):
    assert procfs.ptrace_scope(tmp_path) is None

    scope = tmp_path / "sys/kernel/yama/ptrace_scope"
    scope.parent.mkdir(parents=True)
    scope.write_text("1\n")
    assert procfs.ptrace_scope(tmp_path) == 1


def test_the_real_proc_is_read():
    pid = os.getpid()

    assert procfs.status(pid).tgid == pid
    assert pid in procfs.tasks(pid)
    assert procfs.can_read_memory(pid)
    assert any(region.path == "[stack]" for region in procfs.maps(pid))
    memory = procfs.process_memory(pid)
    assert memory is not None
    assert memory.rss > 1 << 20
    assert Path(procfs.exe_path(pid) or "").exists()
