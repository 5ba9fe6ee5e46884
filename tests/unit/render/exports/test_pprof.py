"""The pprof export, as protobuf's own library and ``go tool pprof`` read it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace

import pytest

from support.go_programs import go_commands
from support.pprof_reader import read_profile
from support.reports import LEAK_STACK, a_finding, a_report
from support.scenario_reports import hostile_report, many_sites, rendered, scenario_report


def profile_of(report):
    return read_profile(rendered(report, "pprof"))


def named(profile, location_id):
    """The functions at a location, innermost first."""
    location = next(one for one in profile.location if one.id == location_id)
    functions = {one.id: profile.string_table[one.name] for one in profile.function}
    return [functions[line.function_id] for line in location.line]


def test_sample_types_are_those_of_a_go_heap_profile():
    profile = profile_of(a_report())
    text = profile.string_table

    assert [(text[one.type], text[one.unit]) for one in profile.sample_type] == [
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ]
    assert text[profile.default_sample_type] == "inuse_space"
    assert text[0] == ""


def test_a_stack_is_leaf_first_and_inlined_functions_share_a_location():
    profile = profile_of(a_report(findings=(a_finding(),)))

    [sample] = profile.sample
    names = [named(profile, one) for one in sample.location_id]
    assert names[:3] == [["row_dup"], ["encode_row", "encode_all"], ["_cgo_3f1b_Cfunc_encode_all"]]
    assert [name for place in names for name in place] == [one.function for one in LEAK_STACK]
    assert list(sample.value) == [18_640, 19_088_744]


def test_each_sample_is_labelled_with_its_site_and_verdict():
    profile = profile_of(a_report())
    text = profile.string_table
    labels = [
        {text[one.key]: text[one.str] or one.num for one in sample.label}
        for sample in profile.sample
    ]

    assert labels[0] == {"site": "a3f1c2", "verdict": "native-leak", "bytes": 19_088_744 // 18_640}


def test_mappings_have_build_ids_and_say_that_names_are_there():
    report = scenario_report("c-leak")
    profile = profile_of(report)

    assert report.modules
    by_file = {profile.string_table[one.filename]: one for one in profile.mapping}
    for module in report.modules:
        mapping = by_file[module.path]
        assert profile.string_table[mapping.build_id] == module.build_id
        assert mapping.has_functions
        assert mapping.has_line_numbers


def test_ids_count_from_one_and_lead_somewhere():
    profile = profile_of(many_sites(200))

    for table in (profile.function, profile.location, profile.mapping):
        assert [one.id for one in table] == list(range(1, len(table) + 1))
    functions = {one.id for one in profile.function}
    assert all(line.function_id in functions for one in profile.location for line in one.line)
    places = {one.id for one in profile.location}
    assert all(place in places for one in profile.sample for place in one.location_id)
    assert len(set(profile.string_table)) == len(profile.string_table)


def test_the_run_and_its_notices_are_comments():
    profile = profile_of(a_report())
    comments = [profile.string_table[one] for one in profile.comment]

    assert comments[0].startswith("cgoleak: NATIVE LEAK: 1 site is losing")
    assert any(text.startswith("symbols.no-dwarf: ") for text in comments)


def test_hostile_numbers_and_names_are_a_profile_still():
    profile = profile_of(hostile_report())

    assert profile.sample[0].value[1] == -5
    assert profile.sample[2].value[1] == (1 << 63) - 1
    assert all(text.isprintable() for text in profile.string_table)


def test_a_site_without_frames_has_a_place():
    profile = profile_of(a_report(findings=(a_finding(stack=()),)))

    assert named(profile, profile.sample[0].location_id[0]) == ["unknown stack"]


@pytest.fixture(scope="module")
def pprof(tmp_path_factory):
    commands = go_commands()
    if not commands:
        pytest.skip("go tool pprof needs Go")
    folder = tmp_path_factory.mktemp("pprof")

    def run(report, *flags, base=None):
        path = folder / "leak.pb.gz"
        path.write_bytes(rendered(report, "pprof"))
        if base is not None:
            (folder / "base.pb.gz").write_bytes(rendered(base, "pprof"))
            flags = (*flags, f"-diff_base={folder / 'base.pb.gz'}")
        done = subprocess.run(
            [str(commands[0]), "tool", "pprof", *flags, str(path)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PPROF_TMPDIR": str(folder)},
        )
        assert done.returncode == 0, done.stderr
        assert "symboliz" not in done.stderr.lower(), done.stderr
        return done.stdout

    return run


def test_go_tool_pprof_shows_the_leak_at_the_top(pprof):
    report = scenario_report("cpp-leak")
    total = sum(one.outstanding_bytes for one in report.findings)

    text = pprof(report, "-top", "-unit=b")

    assert f"of {total}B total" in text
    assert "Type: inuse_space" in text
    assert "thumb::make_text_layer" in text


def test_go_tool_pprof_reads_lines_and_inlined_functions(pprof):
    text = pprof(scenario_report("c-leak"), "-traces", "-lines")

    assert re.search(r"histogram_new .*algo/histogram\.c:15", text)
    assert re.search(r"scan_bands .*algo/histogram\.c:29 \(inline\)", text)


def test_go_tool_pprof_subtracts_a_base(pprof):
    report = scenario_report("cache-and-leak")
    leak, cache = report.findings
    before = replace(
        report, findings=(replace(leak, outstanding_bytes=1000, outstanding_blocks=1), cache)
    )

    text = pprof(report, "-top", "-unit=b", base=before)

    grown = leak.outstanding_bytes - 1000
    assert re.search(rf"^ +{grown}B .* histogram_new$", text, re.MULTILINE)
    assert "cache_entry_new" not in text


def test_go_tool_pprof_takes_blocks_and_labels(pprof):
    report = scenario_report("c-leak")
    blocks = report.findings[0].outstanding_blocks

    assert f"of {blocks} total" in pprof(report, "-top", "-sample_index=inuse_objects")
    assert "native-leak" in pprof(report, "-tags")
