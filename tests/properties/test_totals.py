"""All formats tell the same totals: there is one report, and nobody adds up on his own."""

from __future__ import annotations

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from cgoleak.model.frames import Frame, Language
from cgoleak.model.report import Verdict
from cgoleak.units import format_bytes
from support.pprof_reader import read_profile
from support.reports import a_finding, a_report
from support.scenario_reports import rendered

NAMES = st.text(alphabet='abc;: <>&"\\\n', max_size=6)
FRAMES = st.builds(
    Frame,
    lang=st.sampled_from(list(Language)),
    function=NAMES,
    file=st.none() | NAMES,
    line=st.none() | st.integers(0, 10_000),
    module=st.none() | st.sampled_from(["worker", "libz.so.1"]),
    inlined=st.booleans(),
)
FINDINGS = st.builds(
    a_finding,
    st.sampled_from(list(Verdict)),
    site=st.integers(0, 1 << 24).map("{:06x}".format),
    stack=st.lists(FRAMES, max_size=5),
    outstanding_bytes=st.integers(0, 1 << 45),
    outstanding_blocks=st.integers(0, 1 << 30),
)


@settings(max_examples=30)
@given(st.lists(FINDINGS, max_size=12, unique_by=lambda one: one.site), st.integers(1, 5))
def test_the_totals_agree_in_all_formats(findings, top):
    report = a_report(findings=tuple(findings))
    size = sum(one.outstanding_bytes for one in findings)
    blocks = sum(one.outstanding_blocks for one in findings)

    document = json.loads(rendered(report, "json"))
    assert sum(one["outstanding_bytes"] for one in document["findings"]) == size

    profile = read_profile(rendered(report, "pprof"))
    assert sum(sample.value[0] for sample in profile.sample) == blocks
    assert sum(sample.value[1] for sample in profile.sample) == size

    lines = [line for line in rendered(report, "folded").decode().split("\n") if line]
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == size

    by_bytes, by_blocks = json.loads(rendered(report, "speedscope"))["profiles"]
    assert sum(by_bytes["weights"]) == by_bytes["endValue"] == size
    assert sum(by_blocks["weights"]) == blocks

    text = rendered(report, "openmetrics", top=top).decode()
    sums = {
        family.name: sum(sample.value for sample in family.samples)
        for family in text_string_to_metric_families(text)
    }
    assert sums.get("cgoleak_outstanding_bytes", 0) == size
    assert sums.get("cgoleak_outstanding_blocks", 0) == blocks

    page = rendered(report, "html", top=top).decode()
    found = re.search(r'id="report-data">(.*?)</script>', page, re.DOTALL)
    sites = json.loads(found[1])["sites"]
    assert sum(sites["bytes"]) == size
    assert sum(sites["blocks"]) == blocks

    screen = rendered(report, "terminal", top=100).decode()
    for one in findings:
        assert format_bytes(one.outstanding_bytes) in screen
