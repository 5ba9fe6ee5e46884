"""Reports with everything filled in, for the tests of what shows them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cgoleak.model.capture import Target
from cgoleak.model.ids import SiteKey
from cgoleak.model.notice import Notice
from cgoleak.model.report import (
    BalanceLine,
    Cause,
    Finding,
    GoReturn,
    HandleFinding,
    Report,
    ReportCost,
    ReportWindow,
    Restart,
    Timeline,
    Verdict,
)
from support.builders import frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.frames import Frame

MIB = 1 << 20

LEAK_STACK = frames(
    "C row_dup csrc/png_row.c:41",
    "inl C encode_row csrc/png_row.c:77",
    "C encode_all csrc/png_row.c:103",
    "bridge _cgo_3f1b_Cfunc_encode_all",
    "runtime runtime.asmcgocall /usr/local/go/src/runtime/asm_amd64.s:923",
    "runtime runtime.cgocall /usr/local/go/src/runtime/cgocall.go:185",
    "bridge main._Cfunc_encode_all _cgo_gotypes.go:77",
    "Go main.encode /src/thumbnailer/encode.go:88",
    "Go main.worker /src/thumbnailer/main.go:52",
    "runtime runtime.goexit /usr/local/go/src/runtime/asm_amd64.s:1700",
)


def a_finding(
    verdict: Verdict = Verdict.NATIVE_LEAK,
    *,
    site: str = "a3f1c2",
    stack: Sequence[Frame] = LEAK_STACK,
    outstanding_bytes: int = 19_088_744,
    outstanding_blocks: int = 18_640,
    growth: float = 319_488.0,
    oldest_seconds: float = 59.8,
    evidence: tuple[str, ...] = (
        "none of 18 640 blocks was freed over 9 GC cycles",
        "straight growth over 12 snapshots (r² 0.99); the oldest block is as old as the window",
    ),
    advice: str = "free the row that row_dup returns; Go code calling it never reaches C.row_free",
    suppression: str = "leak:row_dup",
    history: tuple[int, ...] = (),
) -> Finding:
    return Finding(
        site=SiteKey(site),
        verdict=verdict,
        outstanding_bytes=outstanding_bytes,
        outstanding_blocks=outstanding_blocks,
        growth_bytes_per_second=growth,
        oldest_seconds=oldest_seconds,
        stack=tuple(stack),
        evidence=evidence,
        advice=advice,
        suppression=suppression,
        history_bytes=history,
    )


def a_handle_finding() -> HandleFinding:
    return HandleFinding(
        site=SiteKey("0ddba1"),
        family="sqlite3_stmt",
        verdict=Verdict.NATIVE_LEAK,
        outstanding=1240,
        outstanding_bytes=0,
        growth_per_second=20.67,
        oldest_seconds=59.0,
        stack=LEAK_STACK,
        evidence=("none of 1 240 handles freed in 60 s",),
        advice="Call sqlite3_finalize on every sqlite3_stmt that is made in main.encode.",
        suppression="leak:main.encode",
        creates=("sqlite3_prepare_v2",),
        destroys=("sqlite3_finalize",),
    )


def some_findings() -> tuple[Finding, ...]:
    """A leak, a suspect, memory held by Go objects, and a cache."""
    suspect = a_finding(
        Verdict.SUSPECT,
        site="77b0de",
        stack=frames(
            "C++ std::vector<ctx*>::push_back(ctx*&&) /usr/include/c++/13/bits/stl_vector.h:1299",
            "C++ ctx_new csrc/ctx.cc:12",
            "bridge _cgo_3f1b_Cfunc_ctx_new",
            "runtime runtime.cgocall",
            "Go main.open /src/thumbnailer/store.go:31",
            "runtime runtime.goexit",
        ),
        outstanding_bytes=98_304,
        outstanding_blocks=3,
        growth=0.0,
        oldest_seconds=41.0,
        evidence=("3 blocks survived 6 GC cycles, which is too few to tell",),
        advice="measure longer: --duration 5m",
        suppression="leak:ctx_new",
    )
    held = a_finding(
        Verdict.GO_HELD,
        site="1c9e04",
        stack=frames(
            "bridge _cgo_3f1b_Cfunc__Cmalloc",
            "runtime runtime.cgocall",
            "Go main.NewBuf /src/thumbnailer/buf.go:20",
            "runtime runtime.goexit",
        ),
        outstanding_bytes=1_153_434,
        outstanding_blocks=270,
        growth=0.0,
        oldest_seconds=9.2,
        evidence=("98 % of the freed blocks were freed by the finalizer goroutine",),
        advice="call Close instead of waiting for the finalizer",
        suppression="leak:main.NewBuf",
    )
    cache = a_finding(
        Verdict.BOUNDED,
        site="0d11aa",
        stack=frames("C cache_put csrc/cache.c:9", "runtime runtime.cgocall", "Go main.get"),
        outstanding_bytes=8 * MIB,
        outstanding_blocks=128,
        growth=0.0,
        oldest_seconds=58.0,
    )
    return (a_finding(), suspect, held, cache)


def a_report(
    *,
    cause: Cause = Cause.NATIVE_LEAK,
    summary: str = "1 site is losing C memory at 312 KiB/s; 1 more is suspect.",
    findings: tuple[Finding, ...] | None = None,
    notices: tuple[Notice, ...] | None = None,
    restarts: tuple[Restart, ...] = (),
    go_return: GoReturn | None = None,
    exe: str = "/srv/thumbnailer",
) -> Report:
    return Report(
        target=Target(
            pid=4242,
            exe=exe,
            go_version="go1.24.3",
            libc="glibc 2.39",
            allocator="glibc",
            arch="amd64",
            stripped=False,
        ),
        window=ReportWindow(seconds=60.1, snapshots=12, gc_cycles=9, mode="exact"),
        cause=cause,
        summary=summary,
        balance=(
            BalanceLine("Go heap in use", 43_201_331, 42_781_900, -419_431, "runtime.gcController"),
            BalanceLine(
                "Go heap held back",
                12 * MIB,
                100_977_868,
                88_394_956,
                "the runtime returns this on its own; not a leak",
            ),
            BalanceLine("native outstanding", 0, 19_293_798, 19_293_798, "since attach"),
            BalanceLine("native from before", None, 3_250_585, None, "malloc's own count"),
            BalanceLine("unexplained", 62_914_560, 63_124_275, 209_715, "RSS less all of these"),
        ),
        findings=some_findings() if findings is None else findings,
        cost=ReportCost(
            pause_seconds=0.0143,
            target_bytes=1_258_291,
            events=1_234_567,
            dropped=0,
            unmatched_frees=321,
            ns_per_event=31.4,
        ),
        notices=notices
        if notices is not None
        else (
            Notice(
                "symbols.no-dwarf",
                "libz.so.1: no line numbers",
                "install zlib1g-dbgsym or set DEBUGINFOD_URLS",
            ),
        ),
        go_return=go_return
        if go_return is not None
        else GoReturn(
            held_bytes=100_977_868,
            returning_bytes=88_394_956,
            buffer_bytes=12 * MIB,
            within_seconds=(120.0, 300.0),
            why="The background scavenger keeps to 1 % of a CPU.",
        ),
        restarts=restarts,
    )


def a_sampled_report(since: float | None = None) -> Report:
    """A report of which some blocks were followed; the first finding is an estimate."""
    report = a_report()
    first = replace(report.findings[0], samples=36, interval_bytes=(12 * MIB, 26 * MIB))
    return replace(
        report,
        window=replace(
            report.window, mode="sampled", sample_bytes=512 << 10, sampled_since_seconds=since
        ),
        cost=replace(report.cost, cpu_share=0.021),
        findings=(first, *report.findings[1:]),
    )


def a_growing_report() -> Report:
    """Half a minute of a leak, a Go heap that goes up and down, and curves of both."""
    seconds = tuple(float(second) for second in range(0, 31, 2))
    report = a_report()
    leak, *others = report.findings
    history = tuple(int(second * 319_488) for second in seconds)
    return replace(
        report,
        window=replace(report.window, seconds=30.0),
        findings=(replace(leak, history_bytes=history), *others),
        history_seconds=seconds,
        timeline=Timeline(
            seconds=seconds,
            rss_bytes=tuple(116 * MIB + 3 * MIB * int(second) for second in seconds),
            go_in_use_bytes=tuple((36 + int(second) % 8) * MIB for second in seconds),
            go_held_bytes=tuple((12 + 2 * int(second)) * MIB for second in seconds),
            outstanding_bytes=tuple(int(second * 643_000) for second in seconds),
            slack_bytes=tuple(3 * MIB for _ in seconds),
            gc_cycles=tuple(int(second) // 3 for second in seconds),
        ),
    )
