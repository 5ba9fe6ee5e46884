"""The tables of probes/tables.c and scan.c, which reads them: exact, bounded, thread-safe."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from cgoleak.model.capture import RawStack
from cgoleak.model.ids import Address, StackId
from cgoleak.model.snapshot import StackCounts
from cgoleak.probe.wire.artifact import Artifact, load_artifact
from cgoleak.probe.wire.layout import MAGIC
from cgoleak.probe.wire.tables import Tables
from support.native_build import (
    NATIVE,
    compile_driver,
    compile_emulated,
    run_driver,
    sanitizer_flags,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.native

MS = 1_000_000
TICK_NS = 50 * MS


@dataclass(frozen=True, slots=True)
class Driver:
    """The driver as one compiler option builds it, and how much it is given to do."""

    program: Path
    blocks: int
    rounds: int


@pytest.fixture(scope="module", params=["plain", "address,undefined", "thread", "aarch64"])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    where = tmp_path_factory.mktemp("tables")
    if request.param == "aarch64":
        emulated = compile_emulated(NATIVE / "tables_driver.c", where / "driver")
        return Driver(emulated, 60_000, 400)
    flags = sanitizer_flags(request.param, where)
    program = compile_driver(NATIVE / "tables_driver.c", where / "driver", *flags)
    return Driver(program, *((60_000, 1500) if flags else (400_000, 20_000)))


def test_totals_and_single_blocks_agree_with_a_plain_count(driver: Driver) -> None:
    said = run_driver(driver.program, "many", driver.blocks, 20260101)

    levels = int(said.removeprefix("levels="))
    room = 4096 * (2 ** (levels - 1) - 1)
    assert levels > 3
    # What lies before the last level is mostly full: memory stays in proportion to the blocks.
    assert room < 1.6 * driver.blocks


@pytest.mark.slow
def test_millions_of_blocks_are_counted_to_the_last(driver: Driver) -> None:
    run_driver(driver.program, "many", 10 * driver.blocks, 1, timeout=300)


def test_what_finds_no_room_is_counted_and_nothing_else_happens(driver: Driver) -> None:
    run_driver(driver.program, "full")


def test_mappings_cut_anywhere_agree_with_a_page_map(driver: Driver) -> None:
    run_driver(driver.program, "regions", 0, 42)


def test_among_many_threads_every_birth_is_freed_or_outstanding(driver: Driver) -> None:
    said = run_driver(driver.program, "threads", driver.rounds)

    assert "threads=24" in said


# --- the Python side -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return load_artifact()


@pytest.fixture
def tables(artifact: Artifact, tmp_path: Path) -> Iterator[Tables]:
    program = compile_driver(NATIVE / "tables_driver.c", tmp_path / "driver")
    with subprocess.Popen(
        [str(program), "show"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid, fd = process.stdout.readline().split()
        found = Tables(os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR | os.O_CLOEXEC), artifact)
        # As after a crash: the memory outlives the process.
        process.kill()
        process.wait()
        yield found
        found.close()


def test_stacks_come_once_and_whole(tables: Tables) -> None:
    assert list(tables.new_stacks()) == [
        RawStack(StackId(0), (), complete=False),
        RawStack(StackId(1), addresses(0x401000, 0x402000, 0x403000), complete=True),
        RawStack(StackId(2), addresses(0x501000, 0, 0x503000), complete=False),
        RawStack(StackId(3), addresses(0x601000), complete=False),
    ]
    assert list(tables.new_stacks()) == []


def test_the_totals_of_a_stack_are_those_of_its_blocks(tables: Tables) -> None:
    counts = tables.counts()

    assert counts[StackId(1)] == StackCounts(
        born_blocks=30,
        born_bytes=3000,
        freed_blocks=6,
        freed_bytes=600,
        cleaned_blocks=2,
        lifetime_ns_sum=6 * 4 * TICK_NS,
        lifetime_ns_max=4 * TICK_NS,
        oldest_ns=10 * TICK_NS,
        old_blocks=0,
    )
    # The megabyte at the address that was handed out again is gone; three pages minus one are two.
    assert counts[StackId(2)].born_bytes - counts[StackId(2)].freed_bytes == 7
    assert counts[StackId(3)].born_bytes - counts[StackId(3)].freed_bytes == 8192
    assert counts[StackId(3)].born_blocks - counts[StackId(3)].freed_blocks == 2
    assert set(counts) == {StackId(1), StackId(2), StackId(3)}


def test_old_blocks_are_those_of_the_call_before(tables: Tables) -> None:
    tables.counts()

    later = tables.counts()

    assert later[StackId(1)].old_blocks == 24
    assert later[StackId(2)].old_blocks == 1


def test_the_cheap_totals_are_the_sum_of_all(tables: Tables) -> None:
    counts = tables.counts().values()

    events, outstanding_bytes, outstanding_blocks = tables.totals()

    assert events == sum(c.born_blocks + c.freed_blocks for c in counts)
    assert outstanding_bytes == 2400 + 7 + 8192
    assert outstanding_blocks == 24 + 1 + 2


def test_closing_is_quiet_while_somebody_still_looks_at_the_memory(tables: Tables) -> None:
    shared = tables.shared

    tables.close()

    assert shared.magic == MAGIC


def test_what_the_probe_says_of_itself_is_summed_over_its_shards(tables: Tables) -> None:
    counters = tables.counters(tables.counts())

    assert counters.unmatched_frees == 1
    assert counters.dropped_blocks == counters.dropped_stacks == 0
    assert 0 < counters.table_bytes < 2 << 20


def addresses(*values: int) -> tuple[Address, ...]:
    return tuple(map(Address, values))
