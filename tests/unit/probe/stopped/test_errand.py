"""A thread that waits is sent through foreign code and comes back as it was; what can go wrong."""

from __future__ import annotations

import dataclasses
import platform
import subprocess
import time

import pytest

from cgoleak.errors import NoSuchProcess, TargetBusy
from cgoleak.probe.entry import borrow
from cgoleak.probe.entry.borrow import bring_in
from cgoleak.probe.entry.orders import Order
from cgoleak.probe.stopped.edits import CodeMemory
from cgoleak.probe.stopped.errand import Stub, resumed
from cgoleak.probe.wire.artifact import load_artifact
from cgoleak.probe.wire.resident import find_residents
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.mark import find_mark
from cgoleak.target.kernel.memory import Memory
from support.elf_build import build

RAX, ORIG_RAX, RIP = 10, 15, 16
NO_CALL = (1 << 64) - 1
FUTEX, RESTART_SYSCALL = 202, 219
BEHIND_THE_CALL = 0x401002
DEAD_BYTES = 1024

x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the way in: x86-64 alone")

SOURCE = r"""
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* checked(number, a, b, c): a system call, with all that it must leave alone looked at after it. */
__asm__(
    ".text\n"
    "checked:\n"
    "  push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
    "  mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n"
    "  mov %rdi, %rbx\n mov %rsi, %rbp\n mov %rdx, %r12\n mov %rsp, %r13\n"
    "  mov $0x1414, %r14d\n mov $0x1515, %r15d\n"
    "  mov $0x1010, %r10d\n mov $0x88, %r8d\n mov $0x99, %r9d\n"
    "  stc\n"
    "  syscall\n"
    "  jnc 9f\n"
    "  cmp %rdi, %rbx\n jne 9f\n cmp %rsi, %rbp\n jne 9f\n cmp %rdx, %r12\n jne 9f\n"
    "  cmp %rsp, %r13\n jne 9f\n cmp $0x1414, %r14\n jne 9f\n cmp $0x1515, %r15\n jne 9f\n"
    "  cmp $0x1010, %r10\n jne 9f\n cmp $0x88, %r8\n jne 9f\n cmp $0x99, %r9\n jne 9f\n"
    "8: pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
    "  ret\n"
    "9: mov $-1000, %rax\n"
    "  jmp 8b\n"
    ".balign 4096\n"
    "near: .fill 4096, 1, 0xcc\n"
    "dead: .fill 1024, 1, 0x90\n"
    ".balign 4096\n");
extern long checked(long number, const void *a, const void *b, long c);
extern char near[]; /* no address in the code itself is on a stack */

static volatile long bad, naps;
static void *nap(void *from)
{
    void *volatile held = from; /* on this thread's stack */
    for (;;) {
        struct timespec time = {0, 20000000}, before, after;
        clock_gettime(CLOCK_MONOTONIC, &before);
        long got = checked(35, &time, 0, 0);
        clock_gettime(CLOCK_MONOTONIC, &after);
        long slept = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
        if (got != 0 || slept < 20000000)
            __sync_fetch_and_add(&bad, 1);
        __sync_fetch_and_add(&naps, 1);
    }
    return held;
}
int main(int argc, char **argv)
{
    pthread_t thread;
    struct pollfd none = {-1, 0, 0};
    pthread_create(&thread, 0, nap, argv[2] ? near + 4096 + atoi(argv[2]) : 0);
    for (;;) {
        printf("%p %ld %ld\n", (void *)near, bad, naps);
        fflush(stdout);
        char word;
        if (strchr(argv[1], 'p') && checked(7, &none, (void *)1, 5) != 0)
            bad++;
        if (checked(0, 0, &word, 1) != 1)
            bad++;
        if (word == 'x')
            execl("/proc/self/exe", "waits", argv[1], (char *)0);
    }
}
"""


# --- what the thread goes on with ---------------------------------------------------------------


def registers(result, call):
    values = list(range(100, 127))
    values[RAX], values[ORIG_RAX], values[RIP] = result % (1 << 64), call, BEHIND_THE_CALL
    return values


@pytest.mark.parametrize("result", [-512, -513, -514])
def test_an_interrupted_call_begins_again_with_its_number(result):
    after = resumed(registers(result, FUTEX))

    assert (after[RAX], after[RIP], after[ORIG_RAX]) == (FUTEX, BEHIND_THE_CALL - 2, NO_CALL)


def test_a_call_with_a_time_left_goes_on_by_restart_syscall():
    after = resumed(registers(-516, FUTEX))

    assert (after[RAX], after[RIP]) == (RESTART_SYSCALL, BEHIND_THE_CALL - 2)


@pytest.mark.parametrize("result", [0, 17, -4, -11])
def test_a_call_that_is_over_keeps_its_result(result):
    after = resumed(registers(result, FUTEX))

    assert (after[RAX], after[RIP]) == (result % (1 << 64), BEHIND_THE_CALL)


def test_no_other_register_changes():
    before = registers(-512, FUTEX)

    after = resumed(before)

    changed = {at for at, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}
    assert changed == {RAX, ORIG_RAX, RIP}


# --- a process that waits -----------------------------------------------------------------------


class Waits:
    """The program at work: its first thread waits for a line, its second takes naps."""

    def __init__(self, path, *how):
        self.process = subprocess.Popen(
            [path, *how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid
        self.dead = self.said_dead()

    def said_dead(self):
        return int(self.process.stdout.readline().split()[0], 16) + 4096

    def ask(self, word="n"):
        """Have it say how often something was not as it should be, and how many naps it took."""
        self.process.stdin.write(word)
        self.process.stdin.flush()
        _, bad, naps = self.process.stdout.readline().split()
        return int(bad), int(naps)

    def order(self):
        with Memory(self.pid) as memory:
            mark = find_mark(self.pid, memory)
            own = memory.read(self.dead, DEAD_BYTES)
        return Order(
            pid=self.pid,
            image=str(load_artifact().path),
            start=0,
            namespaced=False,
            held=False,
            risky=[],
            risky_data=[],
            returns=[],
            arch="x86_64",
            dead=(self.dead, self.dead + DEAD_BYTES),
            dead_code=own.hex(),
            mark_at=mark.address,
            mark=mark.content.hex(),
        )

    def code(self):
        with Memory(self.pid) as memory:
            return memory.read(self.dead, DEAD_BYTES)

    def is_probed(self):
        with Memory(self.pid) as memory:
            return bool(find_residents(procfs.maps(self.pid), memory, load_artifact()))

    def threads(self):
        return len(procfs.tasks(self.pid))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("errand"), "waits", SOURCE, "-O1", "-pthread")


NOPS = b"\x90" * DEAD_BYTES


@x86_64
@pytest.mark.native
@pytest.mark.parametrize("how", ["r", "p"], ids=["read", "poll"])
def test_the_probe_comes_in_and_every_thread_goes_on_as_it_was(built, how):
    with Waits(built, how) as program:
        assert program.ask()[0] == 0
        for number in range(8):
            loan = bring_in(program.order())
            assert loan.attempts >= 1
            assert program.code() == NOPS
            assert program.is_probed()
            assert program.ask()[0] == 0, number
        first = program.ask()[1]
        time.sleep(0.1)
        bad, naps = program.ask()
        assert bad == 0
        assert naps > first


@x86_64
@pytest.mark.native
def test_another_program_in_its_place_is_not_entered(built):
    with Waits(built, "r") as program:
        order = program.order()
        program.process.stdin.write("x")
        program.process.stdin.flush()
        program.dead = program.said_dead()
        order = dataclasses.replace(order, dead=(program.dead, program.dead + DEAD_BYTES))

        with pytest.raises(TargetBusy) as refused:
            bring_in(order)

        assert "another program" in refused.value.cause
        assert program.code() == NOPS
        assert not program.is_probed()
        assert program.ask()[0] == 0


@x86_64
@pytest.mark.native
def test_one_driver_at_a_time(built):
    with Waits(built, "r") as program, CodeMemory(program.pid) as first:
        assert first.lock()
        with pytest.raises(TargetBusy, match=str(program.pid)) as refused:
            bring_in(program.order())
        assert "another cgoleak" in refused.value.cause
        assert not program.is_probed()


@x86_64
@pytest.mark.native
def test_what_a_killed_driver_has_left_is_taken_away_first(built):
    with Waits(built, "r") as program:
        order = program.order()
        with CodeMemory(program.pid) as memory:
            assert memory.write(program.dead, Stub(load_artifact().path).code)
        assert program.code() != NOPS

        bring_in(order)

        assert program.code() == NOPS
        assert program.ask()[0] == 0


@x86_64
@pytest.mark.native
def test_code_that_a_started_thread_comes_back_to_is_left_there(built, monkeypatch):
    monkeypatch.setattr(borrow, "_PATIENCE_S", 0.3)
    stub = Stub(load_artifact().path)
    left = stub.code
    with Waits(built, "r", str(stub.apart + 1)) as program:
        order = program.order()
        with CodeMemory(program.pid) as memory:
            assert memory.write(program.dead, left)

        with pytest.raises(TargetBusy) as refused:
            bring_in(order)

        assert "earlier cgoleak" in refused.value.cause
        assert program.code() == left + NOPS[len(left) :]
        assert program.ask()[0] == 0


@x86_64
@pytest.mark.native
def test_a_process_that_has_ended_is_no_such_process(built):
    with Waits(built, "r") as program:
        order = program.order()
        program.process.kill()
        program.process.wait()

        with pytest.raises(NoSuchProcess):
            bring_in(order)
