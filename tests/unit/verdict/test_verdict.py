from __future__ import annotations

from dataclasses import replace

import pytest

from cgoleak.errors import PolicyError
from cgoleak.model.frames import Frame, Language
from cgoleak.model.ids import StackId
from cgoleak.model.notice import Notice
from cgoleak.model.report import Cause, Report, Verdict
from cgoleak.model.snapshot import NO_LIMIT, ProbeCounters, StackCounts
from cgoleak.verdict import Policy, Suppression, analyse, parse_suppressions
from cgoleak.verdict.advice import advice_for
from cgoleak.verdict.shape import shape_of
from cgoleak.verdict.suppress import suppression_for
from support.builders import (
    a_capture,
    a_snapshot,
    counts,
    frames,
    go_memory,
    process_memory,
)

LEAK = frames("C row_dup row.c:41", "bridge main._Cfunc_row", "Go main.encode encode.go:88")
OTHER = frames("C cache_put cache.c:9", "Go main.lookup lookup.go:4")
MIB = 1 << 20


def a_report(
    leaked: int = 0,
    *,
    cleaned: int = 0,
    rss: tuple[int, int] | None = None,
    heap: tuple[int, int] | None = None,
    free: tuple[int, int] = (0, 0),
    churn: int = 0,
    policy: Policy | None = None,
    seconds: int = 30,
    counters: ProbeCounters | None = None,
) -> Report:
    """Thirty seconds in which one site gains ``leaked`` blocks of 1 KiB a second."""

    def ramp(ends: tuple[int, int], at: int) -> int:
        return ends[0] + (ends[1] - ends[0]) * (at - 1) // (seconds - 1)

    snapshots = [
        a_snapshot(
            at,
            {
                1: counts(
                    leaked * at + cleaned * at,
                    cleaned * at,
                    cleaned=cleaned * at,
                    block_bytes=1024,
                ),
                2: counts(churn * at + 100, churn * at, block_bytes=1024),
            },
            counters=counters,
            process=process_memory(rss=ramp(rss, at)) if rss else None,
            go=go_memory(gc_cycles=at // 20, heap_in_use=ramp(heap, at), heap_free=ramp(free, at))
            if heap
            else None,
        )
        for at in range(1, seconds + 1)
    ]
    return analyse(a_capture(snapshots, {1: LEAK, 2: OTHER}), policy)


def test_a_leak_is_the_cause_and_the_sentence_says_how_fast() -> None:
    report = a_report(leaked=300, rss=(64 * MIB, 73 * MIB))

    assert report.cause is Cause.NATIVE_LEAK
    assert report.summary == "1 site in the code is losing C memory at 300 KiB/s."
    assert [one.verdict for one in report.findings] == [Verdict.NATIVE_LEAK, Verdict.BOUNDED]
    assert report.findings[0].stack == LEAK
    assert report.findings[0].outstanding_blocks == 9000
    assert report.findings[0].growth_bytes_per_second == pytest.approx(300 * 1024)
    assert report.findings[0].suppression == "leak:row_dup"
    assert (
        report.findings[0].advice
        == "None of these blocks was freed: find who should free what row_dup (row.c:41) allocates "
        "for main.encode (encode.go:88), and free it there."
    )


def test_a_small_leak_is_the_cause_even_if_rss_is_at_rest() -> None:
    assert a_report(leaked=1, rss=(64 * MIB, 64 * MIB)).cause is Cause.NATIVE_LEAK


def test_a_go_heap_that_outgrows_the_leak_by_far_is_named_first() -> None:
    report = a_report(leaked=1, rss=(64 * MIB, 164 * MIB), heap=(20 * MIB, 118 * MIB))

    assert report.cause is Cause.GO_HEAP
    assert "pprof" in report.summary
    assert report.findings[0].verdict is Verdict.NATIVE_LEAK


def test_nothing_that_grows_is_stable() -> None:
    report = a_report(rss=(64 * MIB, 65 * MIB), churn=1000)

    assert report.cause is Cause.STABLE
    assert report.summary == "No site kept growing in 30 s."
    assert report.notices == ()


def test_growth_that_no_site_explains_is_unknown_while_go_was_not_read() -> None:
    report = a_report(rss=(64 * MIB, 164 * MIB))

    assert report.cause is Cause.UNKNOWN
    assert [notice.code for notice in report.notices] == ["verdict.thin-evidence"]
    assert "Go's own numbers were not read" in report.notices[0].text


def test_what_go_holds_back_is_retained() -> None:
    report = a_report(rss=(64 * MIB, 164 * MIB), heap=(20 * MIB, 20 * MIB), free=(0, 95 * MIB))

    assert report.cause is Cause.GO_RETAINED


def test_what_c_freed_and_rss_kept_is_the_allocators() -> None:
    report = a_report(rss=(64 * MIB, 94 * MIB), heap=(20 * MIB, 20 * MIB), churn=2000)

    assert report.cause is Cause.ALLOCATOR_RETAINED


def test_growth_in_neither_heap_is_other() -> None:
    report = a_report(rss=(64 * MIB, 164 * MIB), heap=(20 * MIB, 20 * MIB))

    assert report.cause is Cause.OTHER


def test_memory_that_waits_for_finalizers_is_held_by_go() -> None:
    report = a_report(leaked=1000, cleaned=500, rss=(64 * MIB, 94 * MIB))

    assert report.cause is Cause.GO_HELD
    assert report.findings[0].verdict is Verdict.GO_HELD
    assert "29.3 MiB of C memory from 1 site waits for Go's finalizers" in report.summary
    assert "Close" in report.findings[0].advice


def test_a_suspect_alone_leaves_the_cause_unknown() -> None:
    report = a_report(leaked=10, seconds=5)

    assert report.cause is Cause.UNKNOWN
    assert report.findings[0].verdict is Verdict.SUSPECT
    assert "only 5 s were measured" in report.findings[0].evidence
    assert "1 site is suspect" in report.summary


def test_a_capture_without_snapshots_gives_a_report() -> None:
    report = analyse(a_capture(notices=(Notice("capture.unfinished", "x"),)))

    assert report.cause is Cause.UNKNOWN
    assert report.balance == report.findings == ()
    assert [one.code for one in report.notices] == ["capture.unfinished", "verdict.thin-evidence"]
    assert report.cost.events == 0


def test_the_balance_adds_up_to_rss() -> None:
    report = a_report(leaked=10, rss=(64 * MIB, 90 * MIB), heap=(20 * MIB, 30 * MIB))
    rss, *parts = report.balance

    assert rss.part == "RSS"
    assert sum(line.now_bytes for line in parts) == rss.now_bytes
    assert sum(line.change_bytes or 0 for line in parts) == rss.change_bytes
    assert sum(line.start_bytes or 0 for line in parts) == rss.start_bytes
    assert parts[-1].part == "other"


def test_what_the_probe_lost_is_told() -> None:
    lost = ProbeCounters(events=1000, dropped_blocks=5, dropped_stacks=2, truncated_stacks=1)
    report = a_report(leaked=10, counters=lost)

    assert [one.code for one in report.notices] == [
        "probe.dropped-blocks",
        "probe.dropped-stacks",
        "probe.truncated-stacks",
    ]
    assert "less than 1 %" in report.notices[0].text
    assert report.cost.dropped == 7


def test_a_muted_site_keeps_its_numbers_and_says_what_it_was() -> None:
    report = a_report(leaked=300, policy=Policy(suppressions=(Suppression("row_dup"),)))

    muted = report.findings[-1]
    assert muted.verdict is Verdict.SUPPRESSED
    assert muted.evidence[0] == "muted by leak:row_dup; without it: native-leak"
    assert muted.outstanding_blocks == 9000
    assert report.cause is Cause.STABLE


def test_of_two_lines_the_one_that_holds_memory_is_shown() -> None:
    stacks = {
        1: frames("C f a.c:10", "Go main.g g.go:1"),
        2: frames("C f a.c:20", "Go main.g g.go:1"),
    }
    snapshots = [
        a_snapshot(at, {1: counts(100 * at, 100 * at), 2: counts(10 * at)}) for at in range(1, 31)
    ]

    (finding,) = analyse(a_capture(snapshots, stacks)).findings

    assert finding.verdict is Verdict.NATIVE_LEAK
    assert finding.stack[0].line == 20


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("row", "png_row_dup", True),
        ("^row", "png_row_dup", False),
        ("^png", "png_row_dup", True),
        ("dup$", "png_row_dup", True),
        ("row$", "png_row_dup", False),
        ("^png*dup$", "png_row_dup", True),
        ("png*row*dup", "png_row_dup", True),
        ("dup*png", "png_row_dup", False),
        ("^png_row_dup$", "png_row_dup", True),
        ("^png$", "png_row_dup", False),
        ("^aa*aa$", "aaa", False),
        ("*", "x", True),
    ],
)
def test_patterns_match_as_in_leak_sanitizer(pattern: str, name: str, matches: bool) -> None:  # noqa: FBT001
    assert Suppression(pattern).matches(frames(f"C {name} a.c:1")) is matches


def test_a_pattern_may_name_a_file_or_a_module() -> None:
    stack = frames("C f src/cache.c:3 @libcache.so.1")

    assert Suppression("src/cache").matches(stack)
    assert Suppression("libcache.so").matches(stack)


def test_a_suppression_file_is_that_of_leak_sanitizer() -> None:
    text = "# known\n\nleak:png_*\n  leak:^cache_put$\n"

    assert [str(one) for one in parse_suppressions(text)] == ["leak:png_*", "leak:^cache_put$"]


@pytest.mark.parametrize("line", ["png", "race:png", "leak:", "leak:*"])
def test_a_line_that_is_no_suppression_is_named(line: str) -> None:
    with pytest.raises(PolicyError, match=r"mute\.txt:2") as caught:
        parse_suppressions(f"leak:x\n{line}\n", name="mute.txt")
    assert caught.value.exit_code == 2


def test_the_offered_suppression_mutes_the_site_it_was_offered_for() -> None:
    for stack in (LEAK, OTHER, frames("C++ Map<char*>::put(char*) a.cc:1".replace(" ", "~", 0))):
        line = suppression_for(stack)
        assert parse_suppressions(line)[0].matches(stack)
    assert suppression_for(()) == ""


@pytest.mark.parametrize(
    ("field", "value"), [("min_seconds", -1.0), ("slowing", 1.5), ("min_age_seconds", float("nan"))]
)
def test_a_policy_out_of_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(PolicyError, match=field):
        Policy(**{field: value})


@pytest.mark.parametrize(
    ("stack", "says"),
    [
        (
            [
                "bridge _cgo_1_Cfunc__Cmalloc",
                "runtime runtime.cgocall",
                "bridge main._Cfunc_CString",
                "Go main.tag tag.go:12",
            ],
            (
                "The caller owns what C.CString returns: call C.free(unsafe.Pointer(p)) in "
                "main.tag (tag.go:12)"
            ),
        ),
        (["bridge main._Cfunc__CMalloc", "Go main.f f.go:1"], "what C.malloc returns"),
        (
            ["C strdup @libc.so.6", "C tag_new t.c:3"],
            "owns what strdup returns: free it in tag_new",
        ),
        (
            ["C __GI__IO_getline_info @libc.so.6", "C _IO_fgets @libc.so.6", "C header m.c:5"],
            "Find who should free what header (m.c:5) allocates",
        ),
        (
            ["C __GI__IO_file_doallocate @libc.so.6", "C _IO_fgets @libc.so.6", "C header m.c:5"],
            "fopen returns, and this buffer with it: give it to fclose in header (m.c:5)",
        ),
        (
            ["C __fopen_internal @libc.so.6", "C header m.c:4"],
            "owns what fopen returns: give it to fclose in header (m.c:4)",
        ),
        (
            ["C generate_addrinfo @libc.so.6", "C __GI_getaddrinfo @libc.so.6", "C known h.c:9"],
            "owns what getaddrinfo leaves in *res: give it to freeaddrinfo in known (h.c:9)",
        ),
        (
            ["C getline @libc.so.6", "C first_line m.c:3"],
            "owns what getline leaves in *lineptr: free it in first_line",
        ),
        (
            ["C build_trtable @libc.so.6", "C __GI___regexec @libc.so.6", "C match m.c:5"],
            "owns what regexec leaves in *preg: give it to regfree in match (m.c:5)",
        ),
        (
            ["C _IO_mem_finish @libc.so.6", "C _IO_new_fclose @libc.so.6", "C page m.c:5"],
            "owns what open_memstream leaves in *ptr: free it in page (m.c:5)",
        ),
        (
            ["C __GI___strndup @libc.so.6", "bridge _cgo_1_Cfunc_next", "Go main.f f.go:1"],
            "owns what strndup returns: free it in C.next, or after its last use from main.f",
        ),
        (
            ["bridge _cgo_1_Cfunc_open", "bridge main._Cfunc_open", "Go main.f f.go:1"],
            "Find who should free what C.open allocates for main.f (f.go:1)",
        ),
        (["C grow_realloc a.c:2"], "Keep what realloc returns in grow_realloc (a.c:2)"),
        (
            ["C work a.c:1", "bridge _cgoexp_1_goDone", "Go main.goDone d.go:2"],
            "callback from C to Go and back, by way of main.goDone (d.go:2): decide",
        ),
        (
            ["C++ std::string::_M_create", "C++ Tag::Tag tag.cc:3"],
            "A C++ object that Tag::Tag (tag.cc:3) makes holds this memory",
        ),
        (["bridge x"], "Find who should free what the allocating function allocates"),
    ],
)
def test_advice_names_what_to_free_and_where(stack: list[str], says: str) -> None:
    assert says in advice_for(Verdict.NATIVE_LEAK, frames(*stack), infrastructure=None)


HELPED = frames(
    "C strbuf_grow strbuf.c:10",
    "C strbuf_append strbuf.c:24",
    "C flatten meta.c:72",
    "bridge main._Cfunc_flatten",
    "Go main.g b.go:3",
)


@pytest.mark.parametrize(
    ("freed", "says"),
    [
        (0.0, "None of these blocks was freed: find who should free what strbuf_grow"),
        (0.75, "75 % of these blocks were freed, so some path leaves it out"),
        (None, "Find who should free what strbuf_grow (strbuf.c:10) allocates for"),
    ],
)
def test_advice_says_whether_any_block_was_freed_and_for_whom(
    freed: float | None, says: str
) -> None:
    """A helper that many call is not who has to free: its callers are named, out of its file."""
    said = advice_for(Verdict.NATIVE_LEAK, HELPED, infrastructure=None, freed=freed)

    assert said.startswith(says)
    assert "allocates for strbuf_append (strbuf.c:24) ← flatten (meta.c:72)" in said


@pytest.mark.parametrize(
    ("freed", "says"),
    [
        (0.0, "None of these mappings was unmapped: find who should munmap what strbuf_grow"),
        (0.75, "75 % of these mappings were unmapped, so some path leaves it out"),
        (None, "Find who should munmap what strbuf_grow (strbuf.c:10) maps for"),
    ],
)
def test_mappings_are_not_to_be_given_to_free(freed: float | None, says: str) -> None:
    said = advice_for(Verdict.NATIVE_LEAK, HELPED, infrastructure=None, freed=freed, maps=True)

    assert said.startswith(says)
    assert "free" not in said


def test_objects_that_are_deleted_as_a_rule_are_lost_on_some_path() -> None:
    inner, outer = frames("C++ operator @libstdc++.so.6", "C++ make m.cc:4")
    made = (inner._replace(function="operator new(unsigned long)"), outer)

    said = advice_for(Verdict.NATIVE_LEAK, made, infrastructure=None, freed=0.91)

    assert said.startswith("91 % of these objects were deleted, so some path leaves it out")
    assert said.endswith("hold what make (m.cc:4) makes in a std::unique_ptr.")


def test_what_only_finalizers_free_is_not_said_to_miss_a_path() -> None:
    said = advice_for(Verdict.SUSPECT, HELPED, infrastructure=None, freed=0.5, cleaned=True)

    assert said.startswith("Free explicitly (Close, Free) what main.")
    assert said.endswith("look for what in Go still holds it (a map, a list, a goroutine).")


def test_what_is_freed_in_the_end_is_looked_for_in_a_queue_and_not_in_an_early_return() -> None:
    said = advice_for(Verdict.SUSPECT, LEAK, infrastructure=None, freed=0.8, passing=True)

    assert "queue without a limit that falls behind" in said
    assert "what row_dup (row.c:41) makes for main.encode (encode.go:88) is freed" in said
    assert "early return" not in said


def test_a_buffer_that_is_made_larger_is_to_be_limited_and_not_freed() -> None:
    said = advice_for(Verdict.SUSPECT, HELPED, infrastructure=None, freed=0.99, larger=True)

    assert said.endswith(
        "strbuf_grow (strbuf.c:10) makes a buffer ever larger for strbuf_append (strbuf.c:24) ← "
        "flatten (meta.c:72): find who should empty or limit it."
    )


def test_a_site_is_of_mappings_if_all_its_stacks_are() -> None:
    stacks = {1: LEAK, 2: LEAK}
    grown = [a_snapshot(at, dict.fromkeys(stacks, counts(born=at * 10))) for at in range(31)]
    capture = a_capture(grown, stacks)

    def advice(*mappings: int) -> str:
        found = analyse(replace(capture, mappings=frozenset(map(StackId, mappings)))).findings
        return found[0].advice

    assert "munmap" in advice(1, 2)
    assert "munmap" not in advice(1)


def many_callers(leaf: str, total: list[int]) -> Report:
    """Thirty Go functions call the same C code in turns; ``total`` blocks at each second."""
    stacks = {at: frames(leaf, "bridge x", f"Go main.route{at} r.go:{at}") for at in range(30)}
    snapshots = [
        a_snapshot(at, {one: counts(born=(made + one) // 30) for one in stacks})
        for at, made in enumerate(total)
    ]
    return analyse(a_capture(snapshots, stacks))


def test_a_leak_of_many_callers_with_few_blocks_each_is_one_leak() -> None:
    (one,) = many_callers("C ctx_new c.c:6", [at * 8 for at in range(31)]).findings

    assert (one.verdict, one.outstanding_blocks) == (Verdict.NATIVE_LEAK, 240)
    assert any(line.startswith("30 call paths from Go, judged together") for line in one.evidence)


@pytest.mark.parametrize(
    ("leaf", "total"),
    [
        ("C ctx_new c.c:6", [min(at * 16, 240) for at in range(31)]),
        ("C pthread_create @libc.so.6", [at * 8 for at in range(31)]),
        ("bridge main._Cfunc_CString", [at * 8 for at in range(31)]),
    ],
    ids=["it levelled off", "threads", "no C code of its own"],
)
def test_callers_are_not_put_together_for_anything_else(leaf: str, total: list[int]) -> None:
    found = many_callers(leaf, total).findings

    assert len(found) == 30
    assert not any(one.verdict is Verdict.NATIVE_LEAK for one in found)


@pytest.mark.parametrize(
    ("sites", "freed", "verdict"),
    [
        (1, 10, Verdict.SUSPECT),
        (2, 20, Verdict.SUSPECT),
        (2, 10, Verdict.SUSPECT),
        (1, 20, Verdict.NATIVE_LEAK),
        (2, 40, Verdict.NATIVE_LEAK),
        (1, 5, Verdict.NATIVE_LEAK),
    ],
)
def test_full_caches_free_as_many_old_blocks_as_they_add_new_ones(
    sites: int, freed: int, verdict: Verdict
) -> None:
    """Each site gains ten blocks a second; ``freed`` a second are from before the attach."""
    stacks = {at: frames(f"C cache_{at} c.c:1", "Go main.f f.go:1") for at in range(1, sites + 1)}
    snapshots = [
        a_snapshot(
            at,
            {one: counts(born=at * 10) for one in stacks},
            counters=ProbeCounters(unmatched_frees=at * freed),
        )
        for at in range(31)
    ]

    found = analyse(a_capture(snapshots, stacks)).findings

    assert [one.verdict for one in found] == [verdict] * sites


def test_memory_that_waits_for_the_gc_is_freed_where_the_object_is_done_with() -> None:
    """The Go function that allocates is often a constructor, whose caller is the one to free."""
    stack = frames("C new t.c:3", "bridge x", "Go main.NewTexture t.go:5", "Go main.draw d.go:7")

    said = advice_for(Verdict.GO_HELD, stack, infrastructure=None)

    assert "what main.NewTexture (t.go:5) makes when it is done with, in main.draw" in said


@pytest.mark.parametrize(("new", "says"), [("new", "Delete the object"), ("new[]", "to delete[]")])
def test_advice_for_c_plus_plus_new(new: str, says: str) -> None:
    inner, outer = frames("C++ operator @libstdc++.so.6", "C++ make m.cc:4")
    stack = (type(inner)(lang=inner.lang, function=f"operator {new}", module=inner.module), outer)

    assert says in advice_for(Verdict.NATIVE_LEAK, stack, infrastructure=None)


def test_advice_for_the_other_verdicts() -> None:
    def advice(verdict: Verdict, kind: str | None = None) -> str:
        return advice_for(verdict, LEAK, infrastructure=kind)

    assert advice(Verdict.SUSPECT).startswith("Measure longer")
    assert "library handles" in advice(Verdict.SUSPECT, "the loader")
    assert advice(Verdict.BOUNDED) == "Nothing to do."
    assert advice(Verdict.SUPPRESSED).startswith("Muted")


def test_a_curve_of_four_instants_has_no_thirds() -> None:
    assert shape_of((0, 1, 2, 3), (0, 1, 2, 3)) is None
    assert shape_of((0, 1, 2, 3, 4), (0, 1, 2, 3, 4)) is not None


PUT = "Go main.(*Cache).Put cache.go:7"
KEY = frames("C lru_put lru.c:20", PUT)
VALUE = frames("C lru_put lru.c:21", PUT)


def lines_of_one_function(key, value, *, seconds: int = 30, block_bytes: int = 2048) -> Report:
    """Judge a function whose one line makes keys of 24 bytes and another makes larger values."""
    snapshots = [
        a_snapshot(
            at,
            {
                1: counts(*key(at), block_bytes=24),
                2: counts(*value(at), block_bytes=block_bytes),
            },
        )
        for at in range(1, seconds + 1)
    ]
    return analyse(a_capture(snapshots, {1: KEY, 2: VALUE}))


def test_a_line_that_leaks_is_told_from_another_of_its_function_that_does_not() -> None:
    report = lines_of_one_function(
        lambda at: (400 * at, 0), lambda at: (400 * at, max(0, 400 * at - 2000 - at % 3))
    )

    leak, live = report.findings
    assert (leak.verdict, leak.outstanding_bytes) == (Verdict.NATIVE_LEAK, 400 * 30 * 24)
    assert leak.growth_bytes_per_second == pytest.approx(400 * 24)
    assert leak.stack == KEY
    assert (live.verdict, live.stack) == (Verdict.BOUNDED, VALUE)
    assert leak.site != live.site


def test_a_leak_at_one_line_shows_under_the_ups_and_downs_of_another() -> None:
    report = lines_of_one_function(
        lambda at: (2 * at, 0), lambda at: (4000 * at, 4000 * at - 900 * (at % 5))
    )

    assert [one.verdict for one in report.findings] == [Verdict.NATIVE_LEAK]
    assert report.findings[0].outstanding_blocks == 60


def test_a_line_that_takes_the_place_of_another_is_no_leak_of_its_own() -> None:
    report = lines_of_one_function(
        lambda at: (100 * at, 0),
        lambda at: (3000, 100 * (at - 1)),
        block_bytes=24,
    )

    assert [one.verdict for one in report.findings] == [Verdict.BOUNDED]


def test_a_function_that_leaks_at_every_line_is_one_site() -> None:
    report = lines_of_one_function(lambda at: (20 * at, 0), lambda at: (30 * at, 0))

    (leak,) = report.findings
    assert (leak.verdict, leak.outstanding_blocks) == (Verdict.NATIVE_LEAK, 1500)
    assert leak.stack == VALUE


def test_the_line_that_is_shown_is_the_one_whose_bytes_grew() -> None:
    # Two lines together are suspect, one of them with most bytes at rest.
    report = lines_of_one_function(lambda at: (at // 4, 0), lambda at: (5000, 0), block_bytes=4096)

    assert report.findings[0].stack == KEY


def test_a_buffer_that_is_made_larger_says_in_how_many_intervals_it_grew() -> None:
    snapshots = [
        a_snapshot(at, {1: replace(counts(at, at - 1), born_bytes=at * MIB, freed_bytes=0)})
        for at in range(1, 31)
    ]

    (finding,) = analyse(a_capture(snapshots, {1: LEAK})).findings

    assert finding.verdict is Verdict.SUSPECT
    assert any(line.startswith("grew in 30 of 30 intervals, ") for line in finding.evidence)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("std::shared_ptr<Node> std::make_shared<Node>()", "is owned by std::shared_ptr"),
        ("std::vector<int, std::allocator<int> >::push_back(int&&)", "A C++ container that"),
        ("std::map<int, std::string>::operator[](int const&)", "A C++ container that"),
        ("std::__cxx11::basic_string<char>::insert(unsigned long, char)", "A C++ object that"),
        ("std::vector<int>::vector(unsigned long)", "A C++ object that"),
    ],
)
def test_advice_tells_a_container_that_is_filled_from_an_object_that_is_made(
    function: str, says: str
) -> None:
    inner = Frame(Language.CPP, function, None, None, "worker")
    stack = (inner, *frames("C++ feed w.cc:6", "Go main.f f.go:1"))

    assert says in advice_for(Verdict.NATIVE_LEAK, stack, infrastructure=None)


def test_what_a_module_makes_and_go_may_still_hold_is_closed_by_who_asked_for_it() -> None:
    stack = frames(
        "C open_db db.c:5",
        "Go github.com/some/db.Open /go/pkg/mod/github.com/some/db@v1.2.3/db.go:9",
        "Go main.query q.go:7",
    )

    advice = advice_for(Verdict.NATIVE_LEAK, stack, infrastructure=None, owned=True)

    assert advice.startswith(
        "Close what main.query (q.go:7) gets from github.com/some/db when it is done with, and "
    )


def a_report_of_owners(
    owners: float | None, *, cycles: int = 0, gc_percent: int = 100, limit: int = NO_LIMIT
) -> Report:
    """Thirty seconds in which a site gains ten blocks a second, and Go so many owners."""
    snapshots = [
        a_snapshot(
            at,
            {1: counts(10 * at)},
            go=replace(
                go_memory(gc_cycles=cycles * at // 30),
                owners=None if owners is None else 40 + round(owners * at),
                gc_percent=gc_percent,
                memory_limit=limit,
            ),
        )
        for at in range(1, 31)
    ]
    return analyse(a_capture(snapshots, {1: LEAK}))


def test_blocks_of_go_objects_that_no_collection_has_looked_at_are_no_leak() -> None:
    report = a_report_of_owners(10)

    (finding,) = report.findings
    assert finding.verdict is Verdict.SUSPECT
    assert any(
        "290 more Go objects have a finalizer or cleanup than at the attach, and no GC cycle "
        "could find them dead" in line
        for line in finding.evidence
    )
    assert finding.advice.startswith("Measure until the GC has run (Go forces one every two")
    assert "If it goes on: Free explicitly (Close, Free) what main.encode" in finding.advice
    assert report.window.go_owners_change == 290


@pytest.mark.parametrize(
    ("owners", "said"),
    [
        (0, "but it waits for none: Go has no more objects with"),
        (0.5, "but it hardly waits for one: Go has 15 more objects with"),
    ],
)
def test_without_new_owners_no_collection_is_missing(owners: float, said: str) -> None:
    (finding,) = a_report_of_owners(owners).findings

    assert finding.verdict is Verdict.NATIVE_LEAK
    assert any(said in line for line in finding.evidence)


def test_an_owner_may_own_several_blocks_of_a_site() -> None:
    (finding,) = a_report_of_owners(1.5).findings

    assert finding.verdict is Verdict.SUSPECT


def test_where_owners_are_not_known_the_limit_is_said() -> None:
    (finding,) = a_report_of_owners(None).findings

    assert finding.verdict is Verdict.NATIVE_LEAK
    assert any("waits for a finalizer looks the same" in line for line in finding.evidence)


@pytest.mark.parametrize(("owners", "held"), [(10, True), (5, False), (20, False)])
def test_owners_that_collections_left_alive_are_looked_for_in_go(
    *, owners: int, held: bool
) -> None:
    (finding,) = a_report_of_owners(owners, cycles=20).findings

    assert finding.verdict is Verdict.NATIVE_LEAK
    assert ("look for what in Go still holds it" in finding.advice) == held
    assert any("something in Go may still hold them" in one for one in finding.evidence) == held


@pytest.mark.parametrize(
    ("limit", "said"),
    [(NO_LIMIT, "only when the program asks for it"), (64 * MIB, "near its memory limit")],
)
def test_where_gogc_is_off_it_is_said_what_a_collection_waits_for(limit: int, said: str) -> None:
    (finding,) = a_report_of_owners(10, gc_percent=-1, limit=limit).findings

    assert finding.verdict is Verdict.SUSPECT
    assert any(line.startswith("GOGC is off") and said in line for line in finding.evidence)


def test_where_go_collects_by_itself_nothing_is_said_of_gogc() -> None:
    (finding,) = a_report_of_owners(10).findings

    assert not any("GOGC" in line for line in finding.evidence)


def a_report_of_stalled_cleanups(
    *, share: float = 0.05, until: int = 6, owners: int | None = 40, cycles: int = 30
) -> Report:
    """Thirty seconds in which a site gains blocks, and cleanups free some of them at first."""
    snapshots = [
        a_snapshot(
            at,
            {
                1: counts(
                    100 * at,
                    freed := round(3000 * share * min(at, until) / until),
                    cleaned=freed,
                    oldest_s=at,
                )
            },
            go=replace(
                go_memory(gc_cycles=cycles * at // 30),
                owners=None if owners is None else 40 + (owners - 40) * at // 30,
            ),
        )
        for at in range(1, 31)
    ]
    return analyse(a_capture(snapshots, {1: HELPED}))


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.05, Verdict.NATIVE_LEAK), (0.15, Verdict.SUSPECT)]
)
def test_cleanups_that_stop_while_dead_owners_are_found_may_wait_behind_one_that_blocks(
    share: float, verdict: Verdict
) -> None:
    (finding,) = a_report_of_stalled_cleanups(share=share).findings

    assert finding.verdict is verdict
    assert any(
        "cleanups freed none in the last 24 GC cycles, though Go found objects dead" in line
        for line in finding.evidence
    )
    assert not any("Go still holds" in line for line in finding.evidence)
    assert finding.advice.endswith(
        "Go holds hardly more owners than before: see in a goroutine profile whether a finalizer "
        "or cleanup blocks, and whether each object has one."
    )


@pytest.mark.parametrize(
    "report",
    [
        a_report_of_stalled_cleanups(until=29),
        a_report_of_stalled_cleanups(owners=3000),
        a_report_of_stalled_cleanups(owners=None),
        a_report_of_stalled_cleanups(share=0.0007),
        a_report_of_stalled_cleanups(cycles=2),
    ],
    ids=["until the end", "living owners", "not known", "too few to tell", "no GC since"],
)
def test_cleanups_are_not_said_to_have_stopped(report: Report) -> None:
    (finding,) = report.findings

    assert not any("cleanups freed none in the last" in line for line in finding.evidence)


@pytest.mark.parametrize(
    ("owners", "said"),
    [(40, "Go holds hardly more owners"), (3000, "still holds it"), (None, "still holds it")],
)
def test_who_holds_what_cleanups_do_not_free_is_looked_for_where_owners_are_more(
    owners: int | None, said: str
) -> None:
    (finding,) = a_report_of_stalled_cleanups(until=29, owners=owners).findings

    assert said in finding.advice


def test_what_only_finalizers_free_is_a_leak_without_an_early_return() -> None:
    said = advice_for(Verdict.NATIVE_LEAK, HELPED, infrastructure=None, freed=0.02, cleaned=True)

    assert said.startswith("Free explicitly (Close, Free) what main.")


@pytest.mark.parametrize(
    ("call", "freed", "says"),
    [
        ("CString", 0.9, "90 % of what C.CString returns in main.f (f.go:1) was freed, so some"),
        ("_CMalloc", 0.75, "75 % of what C.malloc returns in main.f (f.go:1) was freed, so some"),
        ("CString", 0.0, "The caller owns what C.CString returns"),
        ("CString", None, "The caller owns what C.CString returns"),
    ],
)
def test_what_go_frees_as_a_rule_is_lost_on_some_path(
    call: str, freed: float | None, says: str
) -> None:
    stack = frames(f"bridge main._Cfunc_{call}", "Go main.f f.go:1")

    said = advice_for(Verdict.NATIVE_LEAK, stack, infrastructure=None, freed=freed)

    assert said.startswith(says)
    assert "C.free(unsafe.Pointer(p))" in said


def a_report_of_threads(more: int, *, within: int = 30) -> Report:
    """Thirty blocks, one a second, in a process that gains threads meanwhile."""
    return analyse(
        a_capture(
            [
                a_snapshot(
                    at,
                    {1: counts(at)},
                    process=process_memory(
                        threads=8 + more * min(at - 1, within - 1) // (within - 1)
                    ),
                )
                for at in range(1, 31)
            ],
            {1: LEAK},
        )
    )


@pytest.mark.parametrize("more", [28, 30, 32])
def test_as_many_threads_as_blocks_may_own_them(more: int) -> None:
    (finding,) = a_report_of_threads(more).findings

    assert finding.verdict is Verdict.NATIVE_LEAK
    assert any(line.startswith(f"{more} more threads") for line in finding.evidence)
    assert finding.advice.startswith("As many threads have come and not ended")


@pytest.mark.parametrize("more", [0, 2, 15, 60])
def test_fewer_or_more_threads_than_blocks_tell_nothing(more: int) -> None:
    (finding,) = a_report_of_threads(more).findings

    assert not any("threads" in line for line in finding.evidence)
    assert finding.advice.startswith("None of these blocks was freed")


def test_threads_that_all_came_with_the_first_load_tell_nothing() -> None:
    (finding,) = a_report_of_threads(30, within=10).findings

    assert not any("threads" in line for line in finding.evidence)


@pytest.mark.parametrize(
    ("inner", "what"),
    [
        ("std::vector<int>::resize(unsigned long)", "C++ container that parse (p.cc:5) fills"),
        ("std::vector<int>::vector(unsigned long)", "C++ object that parse (p.cc:5) makes"),
    ],
)
def test_members_of_objects_that_are_deleted_as_a_rule_are_lost_on_some_path(
    inner: str, what: str
) -> None:
    library, user = frames("C++ vector vector.tcc:100", "C++ parse p.cc:5")
    made = (library._replace(function=inner), user)

    said = advice_for(Verdict.NATIVE_LEAK, made, infrastructure=None, freed=0.89)

    assert said.startswith(f"A {what} holds this memory, and 89 % of its like were freed")
    assert "on every path (an exception, an early return)" in said


def test_a_buffer_that_doubles_is_said_to_need_a_limit() -> None:
    """It is made larger ever more seldom, so that nothing is allocated for most of the time."""
    sizes = [MIB << (at // 6) for at in range(1, 24)]
    snapshots = [
        a_snapshot(
            at,
            {1: StackCounts(at // 6 + 1, 2 * size - MIB, at // 6, size - MIB)},
            counters=ProbeCounters(events=2 * (at // 6)),
        )
        for at, size in enumerate(sizes, start=1)
    ]

    (finding,) = analyse(a_capture(snapshots, {1: LEAK})).findings

    assert finding.verdict is Verdict.SUSPECT
    assert "find who should empty or limit it" in finding.advice


def test_blocks_that_begin_late_are_not_said_to_be_made_larger() -> None:
    snapshots = [
        a_snapshot(at, {1: counts(10 * max(0, at - 18), block_bytes=3000)}) for at in range(1, 31)
    ]

    (finding,) = analyse(a_capture(snapshots, {1: LEAK})).findings

    assert finding.verdict is Verdict.SUSPECT
    assert "ever larger" not in finding.advice


@pytest.mark.parametrize(
    ("freed", "said"),
    [(0.0, "The caller owns what strdup returns"), (0.96, "96 % of these blocks were freed")],
)
def test_copies_that_are_freed_as_a_rule_are_lost_on_some_path(freed: float, said: str) -> None:
    made = frames("C __GI___strdup strdup.c:42", "C obj_new o.c:6", "Go main.request o.go:13")

    assert advice_for(Verdict.NATIVE_LEAK, made, infrastructure=None, freed=freed).startswith(said)


def test_growth_that_no_site_shows_refers_to_no_suspects() -> None:
    report = a_report(rss=(64 * MIB, 164 * MIB), heap=(20 * MIB, 65 * MIB), free=(0, 10 * MIB))

    assert report.cause is Cause.UNKNOWN
    assert report.notices[0].text.endswith("no site grew to the end")
