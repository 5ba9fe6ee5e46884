"""The HTML report as a document; what a browser makes of it is in ``tests/browser``."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgoleak.model.gate import Gate, Level, Violation
from cgoleak.model.holding import AT_ITS_END
from cgoleak.model.ids import SiteKey
from cgoleak.model.report import Cause
from cgoleak.model.words import ENGLISH
from cgoleak.render.html.payload import safe_json
from cgoleak.render.html.sheet import KINDS
from cgoleak.render.html.timechart import chart_of, sparkline
from support.reports import a_finding, a_report, a_sampled_report
from support.scenario_reports import (
    SCENARIOS,
    a_timed_report,
    hostile_report,
    many_sites,
    rendered,
    scenario_report,
)

PAYLOAD = re.compile(r'<script type="application/json" id="report-data">(.*?)</script>', re.DOTALL)


# These never stand in one sheet, or are two states of the same memory.
SAME_COLOUR = {"Go heap released", "native in use", "native, not split"}


def page_of(report, **options):
    return rendered(report, **options).decode()


def payload_in(page):
    return json.loads(PAYLOAD.search(page)[1])


class Elements(HTMLParser):
    """Counts elements, keeps text, and sees that what was opened is closed."""

    VOID = frozenset({"meta", "input", "line", "rect", "path", "br", "wbr"})

    def __init__(self):
        super().__init__()
        self.open, self.counts, self.text = [], {}, []

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(page):
    found = Elements()
    found.feed(page)
    found.close()
    assert found.open == []
    return found


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_page_is_well_formed_and_begins_with_the_verdict(name):
    report = scenario_report(name)

    page = page_of(report)

    assert report.summary in "".join(parsed(page).text)
    assert page.index("<h1>") < page.index("<h2 ")


def test_a_number_and_its_unit_an_option_and_its_dashes_stand_on_one_line():
    summary = "RSS grew by 5.8 MiB in 5 min 30 s, 2 sites, <b>: --duration 10m."

    page = page_of(replace(a_report(), summary=summary))

    title = page[page.index("<h1>") : page.index("</h1>")]
    kept = re.findall(r'<span class="bound">([^<]*)</span>', title)
    assert kept == ["5.8 MiB", "5 min", "30 s", "--duration"]
    assert "&lt;b&gt;" in title


def test_a_leak_beside_something_larger_is_red_all_the_same():
    assert "cause-go-held leaking" in page_of(scenario_report("held-and-leak"))
    assert "leaking" not in page_of(scenario_report("finalizer-held")).partition("<main>")[2]


def test_every_part_of_the_sheet_has_a_colour_of_its_own():
    kinds = [kind for part, kind in KINDS.items() if part not in SAME_COLOUR]

    assert len(kinds) == len(set(kinds))
    assert KINDS.keys() > SAME_COLOUR


def test_shell_and_assets_stay_below_150_kilobytes():
    page = page_of(scenario_report("c-leak"))

    assert len(page.encode()) - len(PAYLOAD.search(page)[1].encode()) < 150_000


def test_five_thousand_sites_are_no_more_than_a_few_megabytes():
    assert len(rendered(many_sites(5000))) < 4_000_000


def test_nothing_is_loaded_from_anywhere():
    page = page_of(scenario_report("c-leak"))
    shell = PAYLOAD.sub("", page)

    assert re.findall(r"""(?:src|href|action)=["'](?!#)""", shell) == []
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", shell) == []
    assert "url(" not in re.sub(r"url\(#hatch\d\)", "", shell)


def test_the_policy_names_the_styles_and_scripts_that_are_there():
    page = page_of(a_report())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    policy = policy.replace("&#39;", "'")
    inline = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", page, re.DOTALL)

    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert len(inline) == 3
    for text in inline:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_hostile_names_open_no_element_and_stay_readable():
    plain, hostile = page_of(a_timed_report()), page_of(hostile_report(), top=10)

    scripts = parsed(plain).counts["script"]
    assert parsed(hostile).counts["script"] == scripts == 3
    assert parsed(hostile).counts.get("img") is None
    assert "</script><script>window.hacked=1" in payload_in(hostile)["strings"][0] or any(
        "</script><script>window.hacked=1" in text for text in payload_in(hostile)["strings"]
    )
    assert "\u202e" not in hostile
    assert len(hostile) < 1_000_000


@settings(max_examples=40)
@given(st.text(max_size=60))
def test_whatever_a_name_holds_the_page_has_the_same_elements(name):
    report = replace(
        a_report(findings=(a_finding(evidence=(name,), advice=name or "x"),)), summary=name
    )
    plain = replace(a_report(findings=(a_finding(evidence=("x",), advice="x"),)), summary="x")

    def elements(page):
        # What keeps a number and its unit on one line is made by us, as often as there are numbers.
        made = Counter(span=page.count('<span class="bound">'))
        return Counter(parsed(page).counts) - made

    assert elements(page_of(report)) == elements(page_of(plain))


def test_json_in_a_page_has_no_angle_brackets():
    text = safe_json({"a": "</script><!--&"})

    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script><!--&"}


def test_the_payload_has_every_finding_with_its_numbers():
    report = many_sites(300)

    sites = payload_in(page_of(report))["sites"]

    assert sites["bytes"] == [one.outstanding_bytes for one in report.findings]
    assert sites["blocks"] == [one.outstanding_blocks for one in report.findings]
    assert sites["verdict"] == [one.verdict for one in report.findings]


def test_an_empty_report_is_a_page():
    empty = replace(
        a_report(cause=Cause.UNKNOWN, findings=(), notices=()), balance=(), go_return=None
    )

    page = page_of(empty)

    assert "RSS was not read." in page
    assert 'id="site-list"' not in page


def section(page, name):
    text = page[page.index(f'<section id="{name}"') :]
    return " ".join(parsed(text[: text.index("</section>") + len("</section>")]).text)


def test_a_sample_is_told_in_the_facts_beside_each_estimate_and_in_the_method():
    page = page_of(a_sampled_report(since=12.0))

    facts = page[page.index('<p class="facts">') : page.index('<dl class="answers">')]
    shown = re.sub("<[^>]*>", "", facts)
    assert "sampled" in shown
    assert "one block per 512 KiB" in shown
    assert "from 12 s on" in shown
    assert re.findall(r'class="range">([^<]*)<', page) == ["12.0 MiB to 26.0 MiB"]
    assert "Numbers of sites are estimates from a sample" in section(page, "about")
    assert "share of its CPU time 2 %" in re.sub(r"\s+", " ", section(page, "about"))
    assert "18.2 MiB so far, estimated" in re.sub("<[^>]*>", "", page)


def test_what_was_followed_whole_has_no_range():
    page = page_of(a_report())

    assert 'class="range"' not in page
    assert "estimate" not in section(page, "about")
    assert "share of its CPU time" not in page


def with_evidence(line):
    report = a_report()
    return replace(report, findings=(replace(report.findings[0], evidence=(line,)),))


def test_what_is_known_of_pointers_is_told_as_it_was_measured():
    held = with_evidence(f"{AT_ITS_END}nothing in it pointed to 3 blocks any more")
    outside = replace(a_report(findings=()), window=replace(a_report().window, mode="watch"))

    grown, ended, watched = [
        section(page_of(report), "about") for report in (a_report(), held, outside)
    ]

    assert "not reachability" in grown
    assert "searched for pointers" not in grown
    assert "searched for pointers to the outstanding blocks" in ended
    assert "not reachability" not in ended
    assert "allocations were not followed" in watched
    assert "sites. Whether" not in watched


def test_neither_environment_nor_arguments_are_shown():
    report = a_report()
    report = replace(report, target=replace(report.target, godebug="secret=1"))

    assert "secret=1" not in page_of(report)


def test_the_first_finding_is_open_if_it_is_one_to_look_at():
    assert len(re.findall(r"<details class=\"site [^>]* open>", page_of(a_report()))) == 1
    bounded = scenario_report("cache-fills")
    assert re.findall(r"<details class=\"site [^>]* open>", page_of(bounded)) == []


def test_top_limits_what_can_be_read_without_scripts():
    page = page_of(many_sites(30), top=4)

    assert page.count('<details class="site ') == 4
    assert "26 more sites are in this file" in page


def test_the_bars_add_up_to_rss():
    page = page_of(scenario_report("c-leak"))
    bars = re.findall(r'<svg role="img".*?</svg>', page, re.DOTALL)

    widths = [
        sum(float(width) for width in re.findall(r'class="part [^>]*width="([\d.]+)%"', bar))
        for bar in bars
    ]
    assert max(widths) == pytest.approx(100, abs=0.1)
    report = scenario_report("c-leak")
    rss = report.balance[0]
    assert min(widths) / max(widths) == pytest.approx(rss.start_bytes / rss.now_bytes, abs=0.01)


def test_the_chart_breaks_where_a_process_took_anothers_place():
    chart = chart_of(scenario_report("restart"), ENGLISH)
    [rss] = [curve for curve in chart.curves if curve.name == "rss_bytes"]

    assert rss.path.count("M") == 1 + len(scenario_report("restart").restarts)


def test_the_forecast_ends_at_what_go_keeps():
    report = scenario_report("go-burst")

    chart = chart_of(report, ENGLISH)

    assert chart.forecast
    assert chart.end > report.timeline.seconds[-1]


def test_a_chart_needs_two_instants():
    assert chart_of(a_report(), ENGLISH) is None
    assert chart_of(a_timed_report(1), ENGLISH) is None
    assert chart_of(a_timed_report(2), ENGLISH) is not None


@given(st.lists(st.integers(), max_size=30))
def test_a_sparkline_stays_in_its_box(values):
    numbers = [float(text) for text in re.findall(r"-?[\d.]+", sparkline(values))]

    assert all(-0.01 <= one <= 100 for one in numbers)


def test_the_page_speaks_chinese():
    page = page_of(scenario_report("held-and-leak"), lang="zh")

    assert '<html lang="zh"' in page
    assert "是泄漏吗?" in page.replace("\uff1f", "?")
    words = payload_in(page)["words"]
    assert words["Copied"] == "已复制"
    text = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert "What to do" not in text


def test_the_decision_of_the_gate_stands_before_the_answers():
    violation = Violation(SiteKey("a3f1c2"), Level.ERROR, "native-leak: 18.2 MiB <over>")
    gate = Gate(
        passed=False, program="worker", policy=None, summary="1 site over", violations=(violation,)
    )

    page = page_of(replace(a_report(), gate=gate))

    assert page.index("native-leak: 18.2 MiB &lt;over&gt;") < page.index('<dl class="answers">')
    assert "FAIL" in page
    assert 'class="gate' not in page_of(a_report())
