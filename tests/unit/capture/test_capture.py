from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest

from cgoleak.capture import CaptureWriter, open_capture
from cgoleak.capture.earlier import EARLIER_OPTIONAL, EARLIER_TABLES
from cgoleak.capture.format import ADDRESS_LIMIT, APPLICATION_ID
from cgoleak.errors import (
    CaptureError,
    DamagedCapture,
    NewerCapture,
    NotACapture,
    OutputError,
)
from cgoleak.model.capture import Sampling
from cgoleak.model.ids import Address, StackId
from cgoleak.model.notice import Notice
from cgoleak.model.snapshot import GoMemory, NativeMemory, ProbeCounters, ProcessMemory
from support.builders import (
    a_cost,
    a_module,
    a_snapshot,
    a_stack,
    a_target,
    a_window,
    counts,
    frames,
    go_memory,
    process_memory,
)
from support.earlier import write_earlier


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.cgoleak"


def a_file(path: Path, snapshots: int = 3, *, finished: bool = True) -> Path:
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        writer.add_module(a_module())
        writer.add_stack(a_stack(1, [0x401000, 0x402000]))
        for at in range(1, snapshots + 1):
            writer.add_snapshot(a_snapshot(at, {1: counts(born=10 * at, oldest_s=at)}))
        if finished:
            writer.finish(a_window(seconds=float(snapshots)), a_cost())
    return path


def test_a_person_with_sqlite3_finds_the_tables_explained(path: Path) -> None:
    a_file(path)

    with sqlite3.connect(path) as db:
        schema = "\n".join(sql for (sql,) in db.execute("SELECT sql FROM sqlite_master"))
        rows = db.execute("SELECT snapshot, born_blocks, freed_blocks FROM stack_count").fetchall()
        about = dict(db.execute("SELECT key, value FROM meta"))
    db.close()

    assert "-- outstanding is born less freed" in schema
    assert rows == [(1, 10, 0), (2, 20, 0), (3, 30, 0)]
    assert about["written_by"].startswith("cgoleak")
    assert "cgoleak report" in about["about"]


def test_a_stack_at_rest_is_stored_once_although_its_oldest_block_ages(path: Path) -> None:
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        for at in range(1, 101):
            writer.add_snapshot(a_snapshot(at, {1: counts(born=5, oldest_s=at - 0.5, old=5)}))

    with sqlite3.connect(path) as db:
        stored = db.execute("SELECT count(*) FROM stack_count").fetchone()
    db.close()
    assert stored == (1,)
    assert open_capture(path).snapshots[99].stacks[StackId(1)].oldest_ns == 99_500_000_000


def test_a_stack_that_is_no_longer_reported_is_gone_from_then_on() -> None:
    with CaptureWriter() as writer:
        writer.write_target(a_target())
        writer.add_snapshot(a_snapshot(1, {1: counts(born=5), 2: counts(born=1)}))
        writer.add_snapshot(a_snapshot(2, {2: counts(born=1)}))
        snapshots = writer.capture().snapshots

    assert set(snapshots[0].stacks) == {1, 2}
    assert set(snapshots[1].stacks) == {2}
    assert len(snapshots[1].stacks) == 1
    assert "CountsAt" in repr(snapshots[1].stacks)


def test_a_capture_whose_recorder_died_ends_with_its_last_snapshot(path: Path) -> None:
    capture = open_capture(a_file(path, 4, finished=False))

    assert capture.window.ended == "lost"
    assert capture.window.seconds == 4.0
    assert capture.window.mode == "exact"
    assert capture.window.started_unix_ns > 0
    assert [notice.code for notice in capture.notices] == ["capture.unfinished"]
    assert "4 snapshots in 4.0 s" in capture.notices[0].text


def test_a_capture_without_a_snapshot_can_be_read(path: Path) -> None:
    capture = open_capture(a_file(path, 0, finished=False))

    assert capture.snapshots == ()
    assert capture.window.seconds == 0.0


def test_a_recorder_killed_at_any_moment_leaves_all_but_its_last_snapshot(path: Path) -> None:
    program = """
import sys
from cgoleak.capture import CaptureWriter
from support.builders import a_snapshot, a_stack, a_target, counts
writer = CaptureWriter(sys.argv[1])
writer.write_target(a_target())
for at in range(1, 100000):
    writer.add_stack(a_stack(at, range(1, 30)))
    writer.add_snapshot(a_snapshot(at, {n: counts(born=at) for n in range(200)}))
    print(at, flush=True)
"""
    tests = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, env=environment
    ) as recorder:
        assert recorder.stdout is not None
        said = [int(recorder.stdout.readline()) for _ in range(5)]
        recorder.send_signal(signal.SIGKILL)
        said += [int(line) for line in recorder.stdout.read().split(b"\n")[:-1]]

    snapshots = open_capture(path).snapshots

    assert said[-1] <= len(snapshots) <= said[-1] + 1
    assert snapshots[-1].stacks[StackId(199)].born_blocks == len(snapshots)


def test_a_journal_left_by_a_death_in_a_commit_is_played_back(path: Path, tmp_path: Path) -> None:
    """The pair (half-written file, journal) as the kernel would find it after a SIGKILL."""
    a_file(path, 1, finished=False)
    before = path.read_bytes()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA cache_size=1")  # forces half of the transaction into the file
    db.execute("BEGIN")
    for row in range(5000):
        db.execute("INSERT INTO stack VALUES (?,1,'[]')", (row + 100,))
    torn = tmp_path / "torn.cgoleak"
    torn.write_bytes(path.read_bytes())
    journal = path.with_name(path.name + "-journal").read_bytes()
    torn.with_name(torn.name + "-journal").write_bytes(journal)
    db.close()

    assert torn.read_bytes() != before
    assert set(open_capture(torn).stacks) == {1}


def test_reading_while_the_recorder_writes_shows_what_was_committed(path: Path) -> None:
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        writer.add_snapshot(a_snapshot(1, {1: counts(born=1)}))
        writer.add_stack(a_stack(2))

        assert len(open_capture(path).snapshots) == 1
        assert open_capture(path).stacks == {}


def test_nothing_is_overwritten_unless_asked(path: Path) -> None:
    a_file(path)

    with pytest.raises(OutputError, match="exists") as caught:
        CaptureWriter(path)
    assert "--force" in str(caught.value.fix)
    with CaptureWriter(path, overwrite=True) as writer:
        writer.write_target(a_target())
    assert open_capture(path).snapshots == ()


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no/such"):
        CaptureWriter(tmp_path / "no" / "such" / "a.cgoleak")


@pytest.mark.parametrize("address", [-1, ADDRESS_LIMIT, 0xFFFFFFFFFF600000])
def test_an_address_of_the_kernel_is_refused_and_the_rest_is_kept(address: int) -> None:
    with CaptureWriter() as writer:
        writer.write_target(a_target())
        with pytest.raises(CaptureError, match="stack 7"):
            writer.add_stack(a_stack(7, [0x1000, address]))
        writer.add_snapshot(a_snapshot())

        assert writer.capture().stacks == {}


def test_sums_beyond_sqlite_integers_are_clamped() -> None:
    with CaptureWriter() as writer:
        writer.write_target(a_target())
        writer.add_snapshot(a_snapshot(1, {1: counts(born=1, block_bytes=1 << 64)}))

        assert writer.capture().snapshots[0].stacks[StackId(1)].born_bytes == (1 << 63) - 1


def test_frames_can_be_sealed_anew() -> None:
    address = Address(0x401000)
    with CaptureWriter() as writer:
        writer.write_target(a_target())
        writer.seal_frames({address: frames("unknown thumbnailer+0x1000")})
        better = frames("inl C row_dup row.c:41", "C row row.c:9")
        writer.seal_frames({address: better})

        assert writer.capture().frames == {address: better}


def test_notices_travel_with_the_data() -> None:
    notice = Notice(code="symbols.no-dwarf", text="libz.so.1: no line numbers", fix=None)
    with CaptureWriter() as writer:
        writer.write_target(a_target())
        writer.add_notice(notice)
        writer.finish(a_window(), a_cost())

        assert writer.capture().notices == (notice,)


def test_a_write_after_close_is_an_error_with_a_cause(path: Path) -> None:
    writer = CaptureWriter(path)
    writer.close()
    writer.close()

    with pytest.raises(CaptureError, match="cannot write"):
        writer.add_snapshot(a_snapshot())


def test_a_file_that_is_not_there_is_not_a_capture(path: Path) -> None:
    with pytest.raises(NotACapture, match="cannot read"):
        open_capture(path)


def test_a_folder_or_a_pipe_is_not_a_capture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for name in (".", "pipe"):
        with pytest.raises(NotACapture, match="not a capture"):
            open_capture(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"\x7fELF" + b"\0" * 200, b"SQLite formaX 3\0"])
def test_some_other_file_is_not_a_capture(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(NotACapture):
        open_capture(path)


def test_a_file_cut_within_its_header_is_damaged(path: Path) -> None:
    path.write_bytes(a_file(path).read_bytes()[:40])

    with pytest.raises(DamagedCapture, match="damaged"):
        open_capture(path)


def test_a_database_of_another_program_is_not_a_capture(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE places (url)")
    db.close()

    with pytest.raises(NotACapture) as caught:
        open_capture(path)
    assert "another program" in str(caught.value.cause)


def altered(path: Path, *statements: str) -> Path:
    db = sqlite3.connect(a_file(path), isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()
    return path


def test_a_capture_of_a_newer_version_says_so(path: Path) -> None:
    with pytest.raises(NewerCapture) as caught:
        open_capture(altered(path, "PRAGMA user_version=3"))
    assert "version 3" in str(caught.value.cause)


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("PRAGMA user_version=0", "layout version 0"),
        ("CREATE VIEW extra AS SELECT 1", "its tables"),
        ("DROP TABLE notice", "its tables"),
        ("DELETE FROM target", "which process"),
        ("DELETE FROM measurement", "when it was measured"),
        ("UPDATE target SET pid = 'x'", "a number is 'x'"),
        ("UPDATE target SET pid = -1", "a count is -1"),
        ("UPDATE measurement SET seconds = 9e999", "a duration is inf"),
        ("UPDATE measurement SET mode = 5.5, ended = 7", None),
        ("UPDATE change SET freed_bytes = '[null]'", "a number is None"),
        ("UPDATE change SET lifetime_ns_max = '[-3]'", "a count is -3"),
        ("UPDATE change SET oldest_born_ns = '[\"x\"]'", "a number is 'x'"),
        ("UPDATE change SET old_blocks = '[-2]'", "a count is -2"),
        ("UPDATE change SET snapshot = -snapshot", "a count is -"),
        ("UPDATE change SET born_bytes = '[1.5]'", "a number is 1.5"),
        ("UPDATE change SET freed_blocks = '[1E3]'", "a number is 1000.0"),
        ("UPDATE change SET freed_blocks = '[NaN]'", "a number is nan"),
        ("UPDATE change SET freed_blocks = '[Infinity]'", "a number is inf"),
        ("UPDATE change SET old_blocks = '[Infinity]'", "a number is inf"),
        ("UPDATE change SET oldest_born_ns = '[Infinity]'", "a number is inf"),
        ("UPDATE change SET freed_blocks = '[true]'", "a number is True"),
        ("UPDATE change SET freed_blocks = '[{}]'", "a number is {}"),
        ("UPDATE change SET freed_blocks = '[[1]]'", "a number is [1]"),
        ("UPDATE change SET freed_blocks = '[1,2]'", "not equally long"),
        ("UPDATE change SET freed_blocks = '[]'", "not equally long"),
        ("UPDATE change SET freed_blocks = '[1'", "an array is none"),
        ("UPDATE change SET freed_blocks = '1'", "an array is none"),
        ("UPDATE change SET freed_blocks = x'31ff'", "decode"),
        ("UPDATE change SET freed_blocks = '[' || hex(zeroblob(3000)) || '1]'", "an array is none"),
        ("UPDATE change SET born_bytes = '[9223372036854775808]'", "19 digits"),
        ("UPDATE change SET samples = '[4]', bytes_error = '[-5]'", "a count is -5"),
        ("UPDATE stack SET addresses = '[\"x\"]'", "a number is 'x'"),
        ("UPDATE stack SET addresses = '[-1]'", "a count is -1"),
        ("UPDATE stack SET addresses = '[9223372036854775808]'", "19 digits"),
        ("UPDATE stack SET addresses = '[[1]]'", "are no array"),
        ("UPDATE stack SET addresses = '{\"a\": [1]}'", "are no array"),
        ("UPDATE stack SET addresses = '[1],[2'", "are no array"),
        ("UPDATE stack SET addresses = '1'", "are no array"),
        ("UPDATE stack SET addresses = '[1'", "an array is none"),
        ("INSERT INTO frame VALUES (1,0,'COBOL','f',NULL,NULL,NULL,0)", "COBOL"),
        ("INSERT INTO notice (code, text) VALUES (x'ff', 'text')", "decode"),
    ],
)
def test_what_no_writer_stores_is_damage(path: Path, statement: str, cause: str | None) -> None:
    altered(path, statement)

    if cause is None:  # text columns turn numbers into text: odd, but harmless
        assert open_capture(path).window.mode == "5.5"
        return
    with pytest.raises(DamagedCapture) as caught:
        open_capture(path)
    assert cause in str(caught.value.cause)


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("UPDATE stack_count SET freed_bytes = NULL", "a number is None"),
        ("UPDATE stack_count SET lifetime_ns_max = -3", "a count is -3"),
        ("UPDATE stack_count SET oldest_born_ns = 'x'", "a number is 'x'"),
        ("UPDATE stack_count SET old_blocks = -2", "a count is -2"),
        ("UPDATE stack_count SET snapshot = -snapshot", "a count is -"),
        ("UPDATE stack_count SET born_bytes = 1.5", "a number is 1.5"),
        ("UPDATE stack_count SET freed_blocks = 1e300", "a number is 1e+300"),
        ("UPDATE stack_count SET freed_blocks = 'null'", "a number is 'null'"),
        ("UPDATE stack_count SET old_blocks = x'31'", "BLOB"),
        ("UPDATE stack_address SET address = 'x'", "a number is 'x'"),
        ("UPDATE stack_address SET address = -1", "a count is -1"),
        ("INSERT INTO sample_count VALUES (1,1,4,-5,6)", "a count is -5"),
    ],
)
def test_what_no_writer_of_version_1_stored_is_damage(
    path: Path, tmp_path: Path, statement: str, cause: str
) -> None:
    earlier = write_earlier(a_file(path), tmp_path / "earlier.cgoleak")
    with sqlite3.connect(earlier) as db:
        db.execute(statement)
    db.close()

    with pytest.raises(DamagedCapture) as caught:
        open_capture(earlier)
    assert cause in str(caught.value.cause)


@pytest.mark.parametrize("tables", [EARLIER_TABLES, EARLIER_TABLES | EARLIER_OPTIONAL])
def test_a_capture_of_version_1_tells_the_same(
    path: Path, tmp_path: Path, tables: dict[str, str]
) -> None:
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        writer.add_stack(a_stack(1, [0x401000, 0x402000]))
        writer.add_stack(a_stack(2, []))
        writer.add_snapshot(a_snapshot(1, {1: counts(born=5, oldest_s=1), 2: counts(born=1)}))
        writer.add_snapshot(a_snapshot(2, {2: counts(born=7, freed=2)}))
        writer.finish(a_window(seconds=2.0), a_cost())

    earlier = write_earlier(path, tmp_path / "earlier.cgoleak", tables)

    assert open_capture(earlier) == open_capture(path)


def test_a_sampled_capture_of_version_1_tells_the_same(path: Path, tmp_path: Path) -> None:
    few = replace(counts(born=40), samples=4, blocks_error=5, bytes_error=60)
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        writer.put_sampling([Sampling(0, 4096, None)])
        writer.add_snapshot(a_snapshot(1, {1: few, 2: counts(born=1)}))
        writer.finish(a_window(seconds=1.0), a_cost())

    earlier = open_capture(write_earlier(path, tmp_path / "earlier.cgoleak"))

    assert earlier == open_capture(path)
    assert earlier.snapshots[0].stacks[StackId(1)].bytes_error == 60


def test_a_view_of_a_stranger_under_our_name_is_never_run(path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i, i, i, i FROM n"
    altered(path, "DROP TABLE notice", f"CREATE VIEW notice AS {endless}")

    with pytest.raises(DamagedCapture):
        open_capture(path)


def test_the_identity_is_where_file_and_sqlite3_look_for_it(path: Path) -> None:
    header = a_file(path).read_bytes()[:100]

    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
    assert header[68:72] == b"cgLk"


def fill_the_disk(writer: CaptureWriter) -> None:
    """Let the file grow no more."""
    connection = writer._db.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")


def test_a_full_disk_ends_the_file_and_costs_the_measurement_nothing(path: Path) -> None:
    many = {n: counts(born=n) for n in range(5000)}
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        writer.add_snapshot(a_snapshot(1, {1: counts(born=1)}))
        fill_the_disk(writer)
        writer.add_stack(a_stack(7))
        writer.add_snapshot(a_snapshot(2, many))
        writer.add_snapshot(a_snapshot(3, many))
        writer.finish(a_window(ended="interrupted"), a_cost())
        measured = writer.capture()

    assert [one.at_ns // 10**9 for one in measured.snapshots] == [1, 2, 3]
    assert StackId(7) in measured.stacks
    assert measured.window.ended == "interrupted"
    (cut,) = measured.notices
    assert cut.code == "capture.cut"
    assert f"{path} ends after 1 snapshot: database or disk is full" in cut.text


def test_a_file_that_a_full_disk_has_ended_is_read_up_to_there(path: Path) -> None:
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        writer.add_snapshot(a_snapshot(1, {1: counts(born=1)}))
        fill_the_disk(writer)
        writer.add_snapshot(a_snapshot(2, {n: counts(born=n) for n in range(5000)}))
        writer.finish(a_window(), a_cost())

    found = open_capture(path)

    assert len(found.snapshots) == 1
    assert [one.code for one in found.notices] == ["capture.unfinished"]


def test_a_full_disk_is_met_while_snapshots_wait_for_a_later_commit(path: Path) -> None:
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        fill_the_disk(writer)
        for at in range(1, 40):
            many = {n: counts(born=n + at) for n in range(200)}
            writer.add_snapshot(a_snapshot(at, many), commit=at % 10 == 0)
        measured = writer.capture()

    assert len(measured.snapshots) == 39
    assert measured.snapshots[-1].stacks[StackId(5)].born_blocks == 5 + 39
    assert [one.code for one in measured.notices if one.code == "capture.cut"] == ["capture.cut"]


def test_a_file_that_cannot_even_be_begun_is_refused_and_leaves_none(tmp_path: Path) -> None:
    place = tmp_path / "full"
    script = (
        "import resource, signal, sys; from cgoleak.capture import CaptureWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: CaptureWriter(sys.argv[1])\n"
        "except Exception as e: print(type(e).__name__, e.fix)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, str(place)], capture_output=True, text=True, check=True
    )

    assert said.stdout == "OutputError make room there, or write elsewhere\n"
    assert not place.exists()


def test_the_columns_of_a_snapshot_are_the_fields_of_what_it_holds() -> None:
    with CaptureWriter() as writer:
        rows = writer._db.connection.execute(
            "SELECT name FROM pragma_table_info('snapshot')"
        ).fetchall()
    names = [name for (name,) in rows]

    assert names == [
        *("id", "at_ns"),
        *(field.name for field in fields(ProbeCounters)),
        *(field.name for field in fields(ProcessMemory) if field.name != "cpu_ms"),
        *(field.name for field in fields(GoMemory) if field.name != "owners"),
        *(f"native_{field.name}" for field in fields(NativeMemory)),
    ]


def test_go_s_objects_with_finalizers_are_stored_where_they_were_counted(tmp_path: Path) -> None:
    path = tmp_path / "capture.cgoleak"
    known = [replace(go_memory(), owners=owners) for owners in (7, None, 900)]
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        for at, go in enumerate(known, start=1):
            writer.add_snapshot(a_snapshot(at, go=go))
        writer.finish(a_window(), a_cost())

    found = open_capture(path)

    assert [one.go for one in found.snapshots] == known


def test_a_capture_from_before_they_were_counted_is_read(tmp_path: Path) -> None:
    path = tmp_path / "capture.cgoleak"
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        writer.add_snapshot(a_snapshot(1, go=replace(go_memory(), owners=7)))
        writer.finish(a_window(), a_cost())
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TABLE go_owner")

    assert open_capture(path).snapshots[0].go == go_memory()


@pytest.mark.parametrize("dropped", [("process_cpu",), ("go_owner", "process_cpu")])
def test_cpu_time_is_kept_and_a_capture_from_before_it_was_is_read(
    tmp_path: Path, dropped: tuple[str, ...]
) -> None:
    path = tmp_path / "capture.cgoleak"
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        writer.add_snapshot(a_snapshot(1, process=replace(process_memory(), cpu_ms=70)))
        writer.finish(a_window(), a_cost())
    assert open_capture(path).snapshots[0].process == replace(process_memory(), cpu_ms=70)

    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for table in dropped:
            db.execute(f"DROP TABLE {table}")

    assert open_capture(path).snapshots[0].process == process_memory()


def test_what_a_long_watch_drops_leaves_no_count_of_go_s_objects() -> None:
    with CaptureWriter() as writer:
        for at in (1, 2, 3):
            writer.add_snapshot(a_snapshot(at, go=replace(go_memory(), owners=at)))
        writer.drop_snapshots([2])
        rows = writer._db.connection.execute("SELECT objects FROM go_owner").fetchall()

    assert rows == [(1,), (3,)]
