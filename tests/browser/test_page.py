"""The HTML report in a real browser: every scenario, every width, no request, no complaint."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from io import BytesIO

import pytest

from cgoleak.capture import open_capture
from cgoleak.pipeline import analyse
from cgoleak.render.base import DIFFERENCES, format_by_name
from cgoleak.verdict.compare import compare
from support.first_screen import QUESTIONS, missing
from support.neutral import unpacked
from support.reports import a_handle_finding, a_report
from support.sample import scenarios
from support.scenario_reports import (
    SCENARIOS,
    a_timed_report,
    hostile_report,
    many_sites,
    rendered,
    scenario_report,
)

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect

RECORDED = {one.name: one for one in scenarios()}
WIDTHS = (360, 768, 1280, 2000)
SERIOUS = {"serious", "critical"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_shown_without_a_complaint_and_without_a_request(open_page, name):
    report = scenario_report(name)

    with open_page(rendered(report)) as opened:
        page = opened.page
        assert page.locator("h1").inner_text() == report.summary
        assert page.locator(".answers dd").count() == 5
        assert page.locator("#site-list > .site").count() == len(report.findings)
        assert opened.said == []
        assert opened.asked == [page.url]


@pytest.mark.parametrize("name", ["c-leak", "held-and-leak", "restart", "go-heap-leak", "go-burst"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(open_page, name, width):
    with open_page(rendered(scenario_report(name)), width=width) as opened:
        wide = opened.page.evaluate("document.documentElement.scrollWidth")

    assert wide <= width


def test_on_a_phone_the_sheet_has_all_its_numbers(open_page):
    with open_page(rendered(scenario_report("cpp-leak")), width=360) as opened:
        sheet = opened.page.locator("#balance .scroll")
        assert sheet.evaluate("one => one.scrollWidth <= one.clientWidth")


def test_on_a_phone_the_longest_names_are_folded(open_page):
    with open_page(rendered(hostile_report()), width=360) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("width", WIDTHS)
def test_the_kind_of_a_handle_is_seen_and_does_not_touch_its_count(open_page, width):
    name = "rd_kafka_topic_partition_list"
    report = replace(a_report(), handles=(replace(a_handle_finding(), family=name),))
    with open_page(rendered(report), width=width) as opened:
        row = opened.page.locator("#handles .site > summary")
        count, kind = (row.locator(part).bounding_box() for part in (".size", ".blocks bdi"))

    assert kind["width"] > 60
    beside = count["x"] + count["width"] <= kind["x"]
    assert beside or count["y"] + count["height"] <= kind["y"]


def test_the_scale_of_the_chart_stands_beside_its_curves(open_page):
    with open_page(rendered(scenario_report("c-leak"))) as opened:
        page = opened.page
        left = page.locator("#chart-view").bounding_box()["x"]
        labels = page.locator("#chart-labels .tick").all()

        assert len(labels) > 1
        for label in labels:
            box = label.bounding_box()
            assert 0 < box["x"] < box["x"] + box["width"] < left


@pytest.mark.parametrize("width", [1280, 768, 360])
def test_sites_with_a_range_are_laid_out_as_others(open_page, width):
    plain = many_sites(3)
    estimated = [
        replace(one, samples=9, interval_bytes=(1 << 20, 5 << 20)) for one in plain.findings
    ]

    def columns(report):
        with open_page(rendered(report), width=width) as opened:
            row = opened.page.locator(".site > summary").first
            return len(row.evaluate("one => getComputedStyle(one).gridTemplateColumns").split())

    assert columns(replace(plain, findings=tuple(estimated))) == columns(plain)


def test_each_part_of_the_line_to_blame_stands_alone(open_page):
    with open_page(rendered(scenario_report("cpp-leak"))) as opened:
        parts = opened.page.locator(".answer-line small").all_inner_texts()

        share, callers, following = parts
        assert " of " in share
        assert callers.startswith("called from ")
        assert following.startswith("then ")


@pytest.mark.parametrize("width", WIDTHS)
def test_places_of_long_cpp_names_are_not_squeezed(open_page, width):
    with open_page(rendered(scenario_report("cpp-leak")), width=width) as opened:
        places = opened.page.locator("#site-list .site[open] .place:visible").all()
        heights = [box["height"] for one in places if (box := one.bounding_box())]

    assert len(heights) > 5
    assert max(heights) < 45


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (360, 780)])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_first_screen_answers_the_five_questions(open_page, name, width, height):
    with open_page(rendered(scenario_report(name)), width=width, height=height) as opened:
        box = opened.page.locator(".answers").bounding_box()

    assert box["y"] + box["height"] < height


@pytest.mark.parametrize("name", RECORDED)
def test_the_first_screen_of_a_recorded_scenario_has_the_answers_of_its_truth(
    open_page, name, tmp_path
):
    report = analyse(open_capture(unpacked(name, tmp_path)))

    with open_page(rendered(report), width=1280, height=800) as opened:
        answers = opened.page.locator(".answers dd").all()
        said = [one.inner_text() for one in answers if _is_seen(one, 800)]

    assert missing(RECORDED[name], dict(zip(QUESTIONS, said, strict=False))) == []


def _is_seen(element, height):
    box = element.bounding_box()
    return box["y"] + box["height"] <= height


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["cache-and-leak", "restart", "many"])
def test_axe_finds_nothing_serious(open_page, name, width, theme):
    report = many_sites(60) if name == "many" else scenario_report(name)
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")

    with open_page(rendered(report), width=width, theme=theme) as opened:
        opened.page.evaluate(axe)
        found = opened.page.evaluate("async () => (await axe.run()).violations")

    worst = [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"][:3]
    ]
    assert worst == []


def test_the_policy_forbids_requests_and_foreign_scripts(open_page):
    with open_page(rendered(a_timed_report())) as opened:
        page = opened.page
        refused = page.evaluate("fetch('http://127.0.0.1:9/x').then(() => 'sent', () => 'refused')")
        page.evaluate(
            """() => {
              const made = document.createElement('script');
              made.textContent = 'window.hacked = 1';
              document.body.append(made);
              document.body.insertAdjacentHTML('beforeend', '<img src="http://127.0.0.1:9/y.png">');
            }"""
        )
        page.wait_for_timeout(100)

        assert refused == "refused"
        assert page.evaluate("window.hacked") is None
        assert any("Content Security Policy" in line for line in opened.said)


def test_without_scripts_the_top_findings_can_be_read(open_page):
    report = scenario_report("cache-and-leak")

    with open_page(rendered(report), java_script_enabled=False) as opened:
        page = opened.page
        assert page.locator("h1").inner_text() == report.summary
        assert page.locator("#site-list .frames").first.is_visible()
        assert "histogram_new" in page.locator("#site-list .frames").first.inner_text()
        assert page.locator("#site-list .do").first.is_visible()
        assert page.locator(".plot .curve").first.is_visible()
        controls = "button:visible:not(.key), input:visible, select:visible"
        assert page.locator(controls).count() == 0


def test_without_scripts_the_page_says_how_many_sites_are_not_shown(open_page):
    with open_page(rendered(many_sites(40), top=10), java_script_enabled=False) as opened:
        assert opened.page.get_by_text("30 more sites are in this file").is_visible()


def test_five_thousand_sites_are_painted_within_a_second(open_page):
    with open_page(rendered(many_sites(5000))) as opened:
        painted = opened.page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        )
        assert opened.page.locator("#site-list > .site").count() == 50
        assert opened.page.locator("#found").inner_text().startswith("5 000 of 5 000")
        assert opened.said == []

    assert painted < 1000


def test_twenty_thousand_sites_can_be_looked_through(open_page):
    with open_page(rendered(many_sites(20_000))) as opened:
        page = opened.page
        page.fill("#find", "004e1f")
        expect(page.locator("#site-list > .site")).to_have_count(1)
        assert page.locator("#site-list > .site").get_attribute("data-site") == "004e1f"
        assert opened.said == []


def test_hostile_names_are_text_and_nothing_else(open_page):
    with open_page(rendered(hostile_report(), top=3)) as opened:
        page = opened.page
        closed = page.locator("#site-list > .site:not([open]) > summary")
        while closed.count():
            closed.first.click()
        page.fill("#find", "<script>")
        page.fill("#flame-find", "<img")
        page.wait_for_timeout(300)

        assert page.evaluate("window.hacked") is None
        assert page.locator("#site-list img, #flame img, main script").count() == 0
        assert "\u202e" not in page.content()
        assert "</script><script>window.hacked=1" in page.locator("h1").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        assert opened.said == []


@pytest.mark.parametrize("count", [0, 1])
def test_few_sites_are_shown_too(open_page, count):
    with open_page(rendered(many_sites(count))) as opened:
        assert opened.page.locator("#site-list > .site").count() == count
        assert opened.said == []


def test_a_printed_page_has_the_findings_and_no_controls(open_page):
    with open_page(rendered(scenario_report("cpp-leak"))) as opened:
        page = opened.page
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")

        assert page.locator("#site-list .site[open] .frames:visible").count() == 2
        controls = "button:visible:not(.key), input:visible, select:visible"
        assert page.locator(controls).count() == 0


@pytest.mark.parametrize(("width", "theme"), [*((w, "light") for w in WIDTHS), (1280, "dark")])
def test_a_difference_is_shown_filtered_and_linked(open_page, width, theme):
    difference = compare(scenario_report("finalizer-held"), scenario_report("held-and-leak"))
    known, out = format_by_name("html", DIFFERENCES), BytesIO()
    known.make().render(difference, out)
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")

    with open_page(out.getvalue(), width=width, theme=theme) as opened:
        page = opened.page
        assert page.locator("h1").inner_text() == difference.summary
        assert page.locator("#site-list > .site:visible").count() == 1
        page.fill("#find", "no such function")
        expect(page.locator("#site-list > .site:visible")).to_have_count(0)
        page.fill("#find", "histogram")
        expect(page.locator("#site-list > .site:visible")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(axe)
        found = page.evaluate("async () => (await axe.run()).violations")
        assert [one["id"] for one in found if one["impact"] in SERIOUS] == []
        assert opened.said == []
        assert opened.asked == [page.url]


def test_a_time_of_two_numbers_is_one_fact(open_page):
    """``5 min 30 s`` is two pieces that are not parted, and no dot belongs between them."""
    report = a_timed_report()
    report = replace(report, window=replace(report.window, seconds=330.0))

    with open_page(rendered(report)) as opened:
        pieces = opened.page.locator(".facts .bound").evaluate_all(
            "all => all.map(one => [one.innerText, getComputedStyle(one, '::before').content])"
        )

    assert ["5 min", "none"] in pieces
    assert ["30 s", "none"] in pieces
