"""Reports of the sample's scenarios, as measured once, and reports of any size and malice."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgoleak.model.frames import Frame, Language
from cgoleak.model.ids import SiteKey
from cgoleak.model.notice import Notice
from cgoleak.model.report import Finding, Report, Timeline, Verdict
from cgoleak.render.base import format_by_name
from cgoleak.render.contract.reading import read_report
from support.reports import a_finding, a_report

if TYPE_CHECKING:
    from collections.abc import Sequence

REPORTS: Final = Path(__file__).parents[1] / "data" / "reports"
SCENARIOS: Final = tuple(sorted(path.stem for path in REPORTS.glob("*.json")))
HOSTILE: Final = (
    (
        "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>"
        "<!--\u202egnp.exe\u200b\x1b]0;owned\x07\x00{{7*7}}&lt;&#39;\"'`\u2028\ud800"
    ),
    "\u202eabc\u202c \u202eevil",
    "x" * 1_000_000,
    "",
    "]]>-->\\u003c/script>",
    "a\u0301" * 200,
)


@cache
def scenario_report(name: str) -> Report:
    """Read the report of a scenario."""
    return read_report((REPORTS / f"{name}.json").read_bytes(), name)


def rendered(report: Report, name: str = "html", **options: object) -> bytes:
    """Write a report in one format."""
    known = format_by_name(name)
    assert known is not None
    out = io.BytesIO()
    known.make(**options).render(report, out)
    return out.getvalue()


def many_sites(count: int) -> Report:
    """A report of as many sites as a large service has: deep stacks that share most frames."""
    dice = random.Random(7)
    pool = [
        Frame(Language.C, f"lib_function_{n}", f"src/lib/part_{n % 97}.c", n % 900 + 1, "libbig.so")
        for n in range(3000)
    ]
    go = [
        Frame(Language.GO, f"example.org/service/pkg{n % 40}.(*Server).handle{n}",
              f"/src/service/pkg{n % 40}/handle.go", n % 700 + 1, "service")
        for n in range(1500)
    ]  # fmt: skip
    bridge = (
        Frame(Language.BRIDGE, "_cgo_3f1b_Cfunc_call", None, None, "service"),
        Frame(Language.RUNTIME, "runtime.asmcgocall", "asm_amd64.s", 923, "service"),
        Frame(Language.RUNTIME, "runtime.cgocall", "cgocall.go", 185, "service"),
        Frame(Language.BRIDGE, "main._Cfunc_call", "_cgo_gotypes.go", 77, "service"),
    )
    kinds = (Verdict.NATIVE_LEAK, Verdict.SUSPECT, Verdict.GO_HELD, Verdict.BOUNDED)
    findings = []
    for place in range(count):
        verdict = kinds[min(3, place * 100 // max(1, count) // 2)]
        root = dice.randrange(20)
        stack = (
            *dice.sample(pool, dice.randrange(2, 8)),
            *bridge,
            *(go[(root * 61 + step * 7) % 1500] for step in range(dice.randrange(2, 9), 0, -1)),
            Frame(Language.RUNTIME, "runtime.goexit", "asm_amd64.s", 1700, "service"),
        )
        blocks = dice.randrange(1, 10_000)
        size = blocks * dice.choice((16, 48, 512, 4096))
        findings.append(
            Finding(
                site=SiteKey(f"{place:06x}"),
                verdict=verdict,
                outstanding_bytes=size,
                outstanding_blocks=blocks,
                growth_bytes_per_second=size / 60 if place % 3 else 0.0,
                oldest_seconds=dice.random() * 60,
                stack=stack,
                evidence=(
                    f"none of {blocks} blocks freed in 1 min",
                    f"grew in {place % 30} of 30 intervals, {place} KiB/s (r² 0.98)",
                ),
                advice=f"Find who should free what {stack[0].function} allocates.",
                suppression=f"leak:{stack[0].function}",
                history_bytes=tuple(size * step // 23 for step in range(24)),
            )
        )
    return replace(a_timed_report(), findings=tuple(findings))


def a_timed_report(instants: int = 31) -> Report:
    """A report with a timeline, as ``a_report`` has none."""
    places = range(instants)
    return replace(
        a_report(),
        timeline=Timeline(
            seconds=tuple(place * 2.0 for place in places),
            rss_bytes=tuple((60 + place) << 20 for place in places),
            go_in_use_bytes=tuple((20 + place % 5) << 20 for place in places),
            go_held_bytes=tuple((10 - place % 5) << 20 for place in places),
            outstanding_bytes=tuple(place << 20 for place in places),
            slack_bytes=tuple(None if place % 4 else 3 << 20 for place in places),
            gc_cycles=tuple(place // 3 for place in places),
        ),
        history_seconds=tuple(place * 60 / 23 for place in range(24)),
    )


def hostile_report(names: Sequence[str] = HOSTILE) -> Report:
    """A report in which everything that comes from outside means harm."""
    findings = []
    for place, name in enumerate(names):
        stack = tuple(Frame(lang, name, name or None, -1, name or None) for lang in Language)
        findings.append(
            a_finding(
                list(Verdict)[place % 5],
                site=f"bad{place}",
                stack=stack,
                outstanding_bytes=(-5, 0, 1 << 70, 7, 8, 9)[place % 6],
                outstanding_blocks=(-1, 0, 1 << 60, 1, 1, 1)[place % 6],
                growth=(float("nan"), float("-inf"), -1.0, 0.0, 1e300, 1.0)[place % 6],
                oldest_seconds=(float("inf"), -3.0, 1e12, 0.0, float("nan"), 1.0)[place % 6],
                evidence=(name, name),
                advice=name,
                suppression=name,
                history=((), (1,), (-4, 5), (0, 0), (1 << 70, 1), (1, 2))[place % 6],
            )
        )
    bad = names[0]
    return replace(
        a_timed_report(),
        target=replace(a_report().target, exe=f"/srv/{bad}", go_version=bad, libc=bad, arch=bad),
        summary=bad,
        balance=tuple(replace(line, part=bad, source=bad) for line in a_report().balance),
        findings=tuple(findings),
        notices=(Notice(bad, bad, bad),),
    )
