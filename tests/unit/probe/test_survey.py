"""Facts of a process → modules, slots, and where it may be entered; the target is not touched."""

from __future__ import annotations

import os
import platform
from types import SimpleNamespace

import pytest

from cgoleak.errors import TargetBusy, UnsupportedTarget
from cgoleak.probe.calls.modules import find_modules, mapped_modules
from cgoleak.probe.entry import guard
from cgoleak.probe.entry.guard import SafePlaces, stop_at_safe_place
from cgoleak.probe.survey import survey_target
from cgoleak.target.gobinary import GoBinary
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory
from cgoleak.target.kernel.procfs import PROC, Region
from support.elf_build import build
from support.elf_slots import CODE, DATA, SlotAsked, an_image, mappings, slot_at
from support.fake_target import a_child, memory_of, state_of

EXE_AT = 0x400000
LIBC_AT = 0x7F00_0000_0000
LOADER_AT = 0x7F00_0010_0000
VDSO_AT = 0x7F00_0020_0000
STACK = Region(0x7FFD_0000_0000, 0x7FFD_0002_0000, "rw-p", 0, "00:00", 0, "[stack]")
VDSO = Region(VDSO_AT, VDSO_AT + 0x1000, "r-xp", 0, "00:00", 0, "[vdso]")
SIGRETURN = {
    "x86-64": bytes.fromhex("48c7c00f0000000f05"),
    "aarch64": bytes.fromhex("681180d2010000d4"),
}


class Process:
    """A worker with a libc and a loader, made by hand: files, map and memory."""

    def __init__(self, scratch, *, slots=("malloc", "free")):
        self.root = scratch / "proc"
        self._files = scratch / "files"
        self._files.mkdir()
        (self.root / "42").mkdir(parents=True)
        (self.root / "42" / "root").symlink_to(self._files)
        definitions = {"malloc": CODE + 0x100, "free": CODE + 0x200}
        asked = [SlotAsked(name) for name in slots]
        self.regions = [
            *self._file("worker", an_image(type=2, base=EXE_AT, slots=asked), EXE_AT),
            *self._file("libc.so.6", an_image(defines=definitions), LIBC_AT),
            *self._file("ld-linux-x86-64.so.2", an_image(), LOADER_AT),
            VDSO,
            STACK,
        ]
        self.memory = {
            EXE_AT + slot_at(i): LIBC_AT + definitions.get(name, 0) for i, name in enumerate(slots)
        }
        self.code = {LIBC_AT: bytearray(0x1000), VDSO_AT: bytearray(0x1000)}

    def _file(self, name, content, at):
        (self._files / name).write_bytes(content)
        return mappings(at, f"/{name}", inode=(self._files / name).stat().st_ino)

    def survey(self):
        binary = GoBinary("/worker", arch="amd64", is_go=True, go_version="go1.24.3")
        held = {
            LIBC_AT + CODE: bytes(self.code[LIBC_AT]),
            VDSO_AT: bytes(self.code[VDSO_AT]),
            **self.memory,
        }
        facts = SimpleNamespace(pid=42, binary=binary)
        return survey_target(facts, tuple(self.regions), memory_of(held), self.root)


@pytest.fixture
def process(tmp_path):
    return Process(tmp_path)


def covers(ranges, address):
    return any(start <= address < end for start, end in ranges)


def test_what_must_be_known_is_found(process):
    found = process.survey()

    assert [m.name for m in found.modules] == ["worker", "libc.so.6", "ld-linux-x86-64.so.2"]
    assert [slot.function.name for slot in found.slots.slots] == ["MALLOC", "FREE"]
    assert found.main_stack_top == STACK.end


@pytest.mark.parametrize("slots", [(), ("malloc",), ("free",), ("calloc",)])
def test_a_process_that_does_not_reach_both_malloc_and_free_is_refused(tmp_path, slots):
    with pytest.raises(UnsupportedTarget) as error:
        Process(tmp_path, slots=slots).survey()

    assert "allocator is linked into the executable" in error.value.cause


def test_without_gos_function_table_its_stacks_cost_a_notice(process):
    found = process.survey()

    assert found.go is None
    assert found.heap is None
    assert [(n.code, "no function table" in n.text) for n in found.notices] == [
        ("go.no-stacks", True)
    ]


def test_a_library_that_cannot_be_read_costs_a_notice(process):
    process.regions += mappings(0x7E00_0000_0000, "/gone.so", inode=999_999)

    found = process.survey()

    assert [n.code for n in found.notices] == ["probe.module-unreadable", "go.no-stacks"]


def test_code_of_the_provider_and_the_loader_is_risky_and_the_programs_own_is_not(process):
    risky = process.survey().risky

    assert covers(risky, LIBC_AT + CODE)
    assert covers(risky, LOADER_AT + CODE)
    assert not covers(risky, EXE_AT + CODE)
    assert not covers(risky, LIBC_AT + DATA)


def test_the_providers_data_are_risky_with_what_follows_them_without_a_name(process):
    risky = process.survey().risky_data

    assert covers(risky, LIBC_AT + DATA)
    assert covers(risky, LIBC_AT + DATA + 0x1000)
    assert not covers(risky, EXE_AT + DATA)
    assert not covers(risky, LIBC_AT + CODE)


@pytest.mark.parametrize("code", SIGRETURN.values(), ids=SIGRETURN)
@pytest.mark.parametrize(("where", "base"), [(LIBC_AT, LIBC_AT + CODE), (VDSO_AT, VDSO_AT)])
def test_what_signal_handlers_return_to_is_found_in_the_c_library_and_the_kernels_page(
    process, where, base, code
):
    process.code[where][0x50 : 0x50 + len(code)] = code
    process.code[where][0x1000 - len(code) :] = code

    assert process.survey().handler_returns == (base + 0x50, base + 0x1000 - len(code))


def test_unwind_tables_are_told_as_far_as_they_are_mapped():
    regions = procfs.maps(os.getpid())
    modules, _ = find_modules(os.getpid(), regions, PROC)
    readable = [(r.start, r.end) for r in regions if "r" in r.perms]

    rows = mapped_modules(modules)

    assert len([row for row in rows if row.hdr]) > 2
    for row in rows:
        assert not row.hdr or row.start <= row.hdr < row.hdr_end <= row.end
        assert row.start <= row.frame < row.frame_end <= row.end
        assert covers(readable, row.frame)
        assert covers(readable, row.frame_end - 1)


# --- a real process ---------------------------------------------------------------------------

WAITER_C = """\
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_here(int number) { (void)number; write(1, "x", 1); pause(); }

int main(int argc, char **argv) {
    free(malloc(argc));
    signal(SIGUSR1, wait_here);
    if (argc > 1) raise(SIGUSR1);
    wait_here(0);
    return argv != 0;
}
"""


@pytest.mark.native
@pytest.mark.parametrize("in_handler", [False, True])
def test_a_real_process_is_entered_outside_of_signal_handlers_only(
    tmp_path, monkeypatch, in_handler
):
    monkeypatch.setattr(guard, "_PATIENCE_S", 0.03)
    program = build(tmp_path, "waiter", WAITER_C, "-O1")
    command = [str(program), "handler"] if in_handler else [str(program)]
    read_end, write_end = os.pipe()
    with a_child(*command, stdout=write_end) as pid, Memory(pid) as memory:
        os.read(read_end, 1)
        os.close(read_end)
        os.close(write_end)
        facts = SimpleNamespace(pid=pid, binary=GoBinary(str(program)))
        found = survey_target(facts, procfs.maps(pid), memory, PROC)
        places = SafePlaces(
            found.risky, found.risky_data, frozenset(found.handler_returns), platform.machine()
        )

        if in_handler:
            with pytest.raises(TargetBusy):
                stop_at_safe_place(pid, places)
            assert state_of(pid) == "S"
        else:
            stop_at_safe_place(pid, places)
            assert state_of(pid) == "T"


PROGRAM_C = """\
#include <stdlib.h>
#include <unistd.h>
extern void *work(void *(*allocate)(size_t));
int main(void) { free(work(malloc)); write(1, "x", 1); pause(); return 0; }
"""
LIBRARY_C = """\
#include <stdlib.h>
void *(*volatile chosen)(size_t);
void *work(void *(*allocate)(size_t)) {
    chosen = malloc;
    return allocate == chosen ? chosen(8) : 0;
}
"""


@pytest.mark.native
@pytest.mark.parametrize(
    "flags", [("-no-pie", "-fno-pic"), ("-pie", "-fPIE")], ids=["fixed", "pie"]
)
@pytest.mark.parametrize("binding", ["lazy", "now"])
def test_a_real_programs_slots_lead_to_libc_however_it_was_linked(tmp_path, flags, binding):
    build(tmp_path, "libwork.so", LIBRARY_C, "-shared", "-fPIC")
    needs = (f"-L{tmp_path}", "-Wl,--no-as-needed", "-l:libwork.so", f"-Wl,-rpath,{tmp_path}")
    program = build(tmp_path, "program", PROGRAM_C, *flags, *needs, f"-Wl,-z,{binding}")
    read_end, write_end = os.pipe()
    with a_child(str(program), stdout=write_end) as pid, Memory(pid) as memory:
        os.read(read_end, 1)
        os.close(read_end)
        os.close(write_end)
        facts = SimpleNamespace(pid=pid, binary=GoBinary(str(program)))
        found = survey_target(facts, procfs.maps(pid), memory, PROC)

    ours = {(slot.module, slot.function.name) for slot in found.slots.slots}
    assert {("program", "MALLOC"), ("program", "FREE")} <= ours
    assert found.slots.foreign == ()
