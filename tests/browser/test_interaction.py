"""What somebody does with the report: sort, filter, zoom, search, link, copy, by mouse and keys."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from importlib.resources import files
from io import BytesIO

import pytest

from cgoleak import units
from cgoleak.render.base import DIFFERENCES, format_by_name
from cgoleak.verdict.compare import compare
from support.builders import frames
from support.scenario_reports import many_sites, rendered, scenario_report

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect


def listed(page):
    return [one.get_attribute("data-site") for one in page.locator("#site-list > .site").all()]


def open_all(page):
    closed = page.locator("#site-list > .site:not([open]) > summary")
    closed.evaluate_all("all => all.forEach(one => one.click())")
    expect(closed).to_have_count(0)


def by(report, name):
    order = sorted(report.findings, key=lambda one: -getattr(one, name))
    return [one.site for one in order]


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ("bytes", "outstanding_bytes"),
        ("blocks", "outstanding_blocks"),
        ("growth", "growth_bytes_per_second"),
        ("oldest", "oldest_seconds"),
    ],
)
def test_sites_are_put_in_order(open_page, order, field):
    report = many_sites(120)

    with open_page(rendered(report)) as opened:
        opened.page.select_option("#order", order)

        assert listed(opened.page) == by(report, field)[:50]
        opened.page.select_option("#order", "worst")
        assert listed(opened.page) == [one.site for one in report.findings][:50]


def test_sites_are_filtered_by_verdict_and_by_what_is_on_their_stack(open_page):
    report = many_sites(300)
    name = report.findings[5].stack[0].function
    suspects = [one.site for one in report.findings if one.verdict == "suspect"]

    with open_page(rendered(report)) as opened:
        page = opened.page
        page.select_option("#pick-verdict", "suspect")
        assert listed(page) == suspects
        page.select_option("#pick-verdict", "")
        page.fill("#find", name.upper())
        wanted = [
            one.site
            for one in report.findings
            if any(name in frame.function for frame in one.stack)
        ]
        expect(page.locator("#site-list > .site")).to_have_count(len(wanted))
        assert listed(page) == wanted
        assert page.locator("#found").inner_text().startswith(f"{len(wanted)} of 300")


def test_more_sites_come_when_they_are_asked_for(open_page):
    with open_page(rendered(many_sites(120))) as opened:
        page = opened.page
        assert page.locator("#more").inner_text() == "Show 70 more"
        page.click("#more")

        assert len(listed(page)) == 120
        assert page.locator("#more").is_hidden()


def test_a_site_made_by_the_script_looks_like_one_that_the_page_came_with(open_page):
    report = many_sites(8)
    estimated = replace(report.findings[1], samples=9, interval_bytes=(1 << 20, 5 << 20))
    report = replace(report, findings=(report.findings[0], estimated, *report.findings[2:]))

    def texts(top):
        with open_page(rendered(report, top=top)) as opened:
            page = opened.page
            open_all(page)
            expect(page.locator(".site[data-equipped]")).to_have_count(len(report.findings))
            return (
                page.locator("#site-list > .site").evaluate_all(
                    "all => all.map(one => one.innerText)"
                ),
                page.locator("#site-list .trend path").evaluate_all(
                    "all => all.map(one => one.getAttribute('d'))"
                ),
                page.locator("#site-list :is(.frames, .why, .do)").evaluate_all(
                    "all => all.map(one => one.innerHTML)"
                ),
            )

    assert texts(8) == texts(1)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_script_folds_stacks_as_python_does(open_page, lang):
    """Which the page came with without scripts, and which are made by one: the same lines."""
    report = many_sites(40)
    dice = random.Random(3)
    stacks = [*FOLDED, *(dice.choices(ALL_FRAMES, k=dice.randrange(1, 40)) for _ in range(31))]
    findings = [
        replace(one, stack=tuple(stack)) for one, stack in zip(report.findings, stacks, strict=True)
    ]
    report = replace(report, findings=tuple(findings))

    def lines(top):
        with open_page(rendered(report, top=top, lang=lang)) as opened:
            open_all(opened.page)
            expect(opened.page.locator(".site[data-equipped]")).to_have_count(40)
            return opened.page.locator("#site-list .frames").evaluate_all(
                "all => all.map(one => one.innerText)"
            )

    by_python, by_script = lines(40), lines(0)
    assert len(by_python) == 40
    assert by_script == by_python


BRIDGE = frames(
    "bridge _cgo_3f1b_Cfunc_call", "runtime runtime.cgocall cgocall.go:185",
    "bridge main._Cfunc_call _cgo_gotypes.go:77",
)  # fmt: skip
STRDUP = frames("runtime runtime.cgocall cgocall.go:185", "bridge main._Cfunc_CString _g.go:5")
MALLOC = frames("bridge main._Cfunc__CMalloc _g.go:6", "bridge main._Cfunc_call _g.go:7")
BACK = frames("bridge _cgoexp_1_cb", "runtime runtime.cgocallbackg c.go:3", "bridge crosscall2")
END = frames("runtime runtime.goexit asm_amd64.s:1700")
IN_C = frames(
    "C row_dup src/png/png_row.c:41 @libpng.so", "C++ Tag::Tag(int) tag.cc:3 @libtag.so",
    "inl C grow png_row.c:9 @libpng.so", "C nowhere @libz.so", "unknown libz.so+0x12 @libz.so",
)  # fmt: skip
IN_GO = frames("Go main.work /src/main.go:5", "inl Go example.org/a/b.(*T).Do /src/a/b/t.go:7")
IN_LIBRARY = tuple(
    frame
    for package in ("net/http", "io", "bufio", "os", "fmt")
    for frame in frames(f"Go {package}.Do /go/src/{package}/do.go:{len(package)}")
)
ALL_FRAMES = (*BRIDGE, *STRDUP, *MALLOC, *BACK, *END, *IN_C, *IN_GO, *IN_LIBRARY)
FOLDED = (
    (),
    BRIDGE,
    (*STRDUP, *IN_GO, *END),
    (*STRDUP, *MALLOC, *IN_GO, *IN_LIBRARY, *END),
    (*IN_C, *BRIDGE, *IN_GO, *IN_LIBRARY[:3], *IN_GO, *END),
    (*IN_C, *BRIDGE, *IN_LIBRARY[:2], *IN_GO, *BACK, *IN_C[:2], *BRIDGE, *IN_GO, *END),
    (*IN_C[:1] * 20, *IN_C[2:3] * 3, *BRIDGE, *IN_GO, *END),
    IN_C * 8,
    (*IN_GO, *END, *IN_GO),
)


def test_an_address_with_a_site_opens_it(open_page):
    report = many_sites(400)
    site = report.findings[333].site

    with open_page(rendered(report), address=f"#site={site}&metric=blocks") as opened:
        node = opened.page.locator(f'[data-site="{site}"]')
        assert node.locator(".frames").is_visible()
        assert node.evaluate("one => document.activeElement === one.firstElementChild")
        assert opened.page.locator("#flame-metric").input_value() == "blocks"
        assert 0 <= node.bounding_box()["y"] < 300


def test_the_answer_leads_to_its_site(open_page):
    with open_page(rendered(scenario_report("held-and-leak"))) as opened:
        page = opened.page
        page.click(".answer-line dd > a")

        assert page.locator(".site.target").get_attribute("data-site") in page.url


def test_a_leak_that_is_named_beside_the_first_leads_to_its_site(open_page):
    report = many_sites(200)

    with open_page(rendered(report)) as opened:
        page = opened.page
        page.locator(".answer-line small a").nth(1).click()

        assert page.locator(".site.target").get_attribute("data-site") == report.findings[2].site


def test_the_suppression_is_copied(open_page):
    report = scenario_report("c-leak")

    with open_page(rendered(report), permissions=["clipboard-read", "clipboard-write"]) as opened:
        page = opened.page
        page.get_by_role("button", name="Copy suppression").click()
        page.get_by_role("button", name="Copied").wait_for()

        assert page.evaluate("navigator.clipboard.readText()") == report.findings[0].suppression


def test_all_frames_are_shown_on_request(open_page):
    report = scenario_report("c-leak")

    with open_page(rendered(report)) as opened:
        page = opened.page
        page.get_by_role("button", name="All frames").click()

        assert page.locator(".site .frames li").count() == len(report.findings[0].stack)
        page.get_by_role("button", name="All frames").click()
        assert page.locator(".site .frames li").count() < len(report.findings[0].stack)


def test_the_chart_is_zoomed_by_dragging_and_comes_back(open_page):
    with open_page(rendered(scenario_report("c-leak"))) as opened:
        page = opened.page
        before = page.locator("#chart-view").get_attribute("viewBox")
        page.locator(".plot").scroll_into_view_if_needed()
        box = page.locator(".plot").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 100)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 120, steps=4)
        page.mouse.up()
        left, _, width, _ = map(float, page.locator("#chart-view").get_attribute("viewBox").split())

        assert left == pytest.approx(250, abs=5)
        assert width == pytest.approx(500, abs=5)
        page.click("#chart-all")
        assert page.locator("#chart-view").get_attribute("viewBox").split()[2] == "1000"
        assert before.split()[2] == "1000"


def test_the_chart_is_read_by_keys(open_page):
    report = scenario_report("c-leak")

    with open_page(rendered(report)) as opened:
        page = opened.page
        page.focus("#chart-instant")
        page.keyboard.press("Home")

        first = units.format_bytes(report.timeline.rss_bytes[0])
        assert f"RSS {first}" in page.locator("#chart-reading").inner_text()
        page.keyboard.press("End")
        last = units.format_bytes(report.timeline.rss_bytes[-1])
        assert f"RSS {last}" in page.locator("#chart-reading").inner_text()


def test_a_curve_is_switched_off_and_the_scale_follows(open_page):
    with open_page(rendered(scenario_report("c-leak"))) as opened:
        page = opened.page
        tall = float(page.locator("#chart-view").get_attribute("viewBox").split()[3])
        page.click('#chart-legend [data-curve="rss_bytes"]')

        assert float(page.locator("#chart-view").get_attribute("viewBox").split()[3]) < tall
        assert page.locator("#chart-view .line-rss_bytes").is_hidden()
        page.click('#chart-legend [data-curve="rss_bytes"]')
        assert float(page.locator("#chart-view").get_attribute("viewBox").split()[3]) == tall


def test_the_flame_view_adds_up_to_what_the_sites_have(open_page):
    report = many_sites(50)
    bytes_ = sum(one.outstanding_bytes for one in report.findings)
    blocks = sum(one.outstanding_blocks for one in report.findings)

    with open_page(rendered(report)) as opened:
        page = opened.page
        assert units.format_bytes(bytes_) in page.locator(".box.root").inner_text()
        page.select_option("#flame-metric", "blocks")
        assert units.format_count(blocks) in page.locator(".box.root").inner_text()
        assert "metric=blocks" in page.url


def test_the_flame_view_is_searched_zoomed_and_walked_by_keys(open_page):
    report = scenario_report("cache-and-leak")
    leak = report.findings[0]

    with open_page(rendered(report)) as opened:
        page = opened.page
        page.fill("#flame-find", "histogram_new")
        page.wait_for_selector(".box.hit")
        found = page.locator("#flame-found").inner_text()
        assert found.startswith(units.format_bytes(leak.outstanding_bytes))
        page.locator(".box.hit").click()
        assert page.locator(".box.hit").bounding_box()["width"] > 1000
        page.keyboard.press("Escape")
        assert page.locator(".box.hit").bounding_box()["width"] < 800
        page.locator(".box.root").focus()
        page.keyboard.press("ArrowDown")
        name = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert "Go" in name
        page.keyboard.press("ArrowUp")
        assert page.evaluate("document.activeElement.classList.contains('root')")


def test_a_narrow_box_of_the_flame_view_leaves_out_the_path_of_the_package(open_page):
    with open_page(rendered(scenario_report("held-and-leak"))) as opened:
        box = opened.page.locator('.box[aria-label^="example.org/thumbworker/algo.Process,"]')

        assert box.bounding_box()["width"] < 300
        assert box.inner_text() == "G algo.Process"


def test_plumbing_is_hidden_until_it_is_asked_for(open_page):
    with open_page(rendered(scenario_report("c-leak"))) as opened:
        page = opened.page
        assert page.locator('.box[aria-label^="runtime.cgocall"]').count() == 0
        page.check("#flame-plumbing")

        assert page.locator('.box[aria-label^="runtime.cgocall"]').count() == 1


def test_a_site_is_found_in_the_flame_view(open_page):
    with open_page(rendered(scenario_report("cache-and-leak"))) as opened:
        page = opened.page
        page.get_by_role("button", name="Show in flame view").first.click()

        assert "histogram_new" in page.locator("#flame-info").inner_text()
        page.locator("#flame-info a").click()
        assert page.locator(".site.target").count() == 1


def test_the_theme_is_chosen_by_hand(open_page):
    with open_page(rendered(scenario_report("clean")), theme="dark") as opened:
        page = opened.page
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#theme")

        assert page.locator("html").get_attribute("data-theme") == "light"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark


def test_the_script_writes_numbers_as_python_does(open_page):
    code = files("cgoleak.render.html").joinpath("assets", "units.js").read_text("utf-8")
    sizes = [0, 1, 9.94, 9.96, 10.5, 96, 1023, 1023.5, 1024, 1536, 102348.8, 102400, 1 << 20]
    sizes += [(1 << 30) + 12345, -96, -5.5, 1 << 62, 0.04, 104806.4, 1047552, 1048063]
    times = [0, 1e-7, 0.0005, 0.0143, 0.9994, 0.9995, 1, 59.8, 119.9, 119.96, 120, 125.5, 3599.5]
    times += [3600, 12000, 86399, 86400, 187200, 1e9, -3]
    counts = [0, 7, 999, 1000, 18640, 1234567]

    with open_page(rendered(scenario_report("clean"))) as opened:
        got = opened.page.evaluate(
            f"""([sizes, times, counts]) => {{
              const T = (text) => text;
              {code}
              return [sizes.map(formatBytes), times.map(formatSeconds), counts.map(formatCount)];
            }}""",
            json.loads(json.dumps([sizes, times, counts])),
        )

    assert got[0] == [units.format_bytes(size) for size in sizes]
    assert got[1] == [units.format_seconds(time) for time in times]
    assert got[2] == [units.format_count(count) for count in counts]


def a_difference(base="held-and-leak", new="c-leak"):
    known, out = format_by_name("html", DIFFERENCES), BytesIO()
    difference = compare(scenario_report(base), scenario_report(new))
    known.make().render(difference, out)
    return difference, out.getvalue()


def test_the_flame_view_of_a_difference_tells_direction_by_sign_and_hatching(open_page):
    difference, page_bytes = a_difference("finalizer-held", "c-leak")
    net = sum(one.change_bytes for one in difference.sites)
    gone, gained = "texture_new", "histogram_new"

    with open_page(page_bytes) as opened:
        page = opened.page
        shrunk = page.locator(f'.box[aria-label^="{gone}"]').first
        grown = page.locator(f'.box[aria-label^="{gained}"]').first
        assert units.format_bytes_change(net) in page.locator(".box.root").inner_text()
        assert shrunk.inner_text().startswith("- ")
        assert ", -" in shrunk.get_attribute("aria-label")
        assert grown.inner_text().startswith("+ ")
        assert ", +" in grown.get_attribute("aria-label")
        hatched = "one => getComputedStyle(one).backgroundImage !== 'none'"
        assert shrunk.evaluate(hatched)
        assert not grown.evaluate(hatched)


def test_the_flame_view_of_a_difference_leads_to_the_site(open_page):
    difference, page_bytes = a_difference("clean", "c-leak")
    gained = next(one for one in difference.sites if one.change_bytes > 1 << 20)

    with open_page(page_bytes) as opened:
        page = opened.page
        page.locator('.box[aria-label^="histogram_new"]').first.click()
        page.locator("#flame-info a").click()
        node = page.locator(f'[data-site="{gained.site}"]')
        assert gained.site in page.url
        expect(node).to_have_attribute("open", "")


def test_a_difference_of_unequal_windows_shows_what_sites_gain_in_a_second(open_page):
    base = scenario_report("c-leak")
    longer = replace(base, window=replace(base.window, seconds=10 * base.window.seconds))
    known, out = format_by_name("html", DIFFERENCES), BytesIO()
    difference = compare(scenario_report("clean"), longer)
    known.make().render(difference, out)

    with open_page(out.getvalue()) as opened:
        assert difference.rates
        assert opened.page.locator("#flame-metric").input_value() == "growth"
        assert "/s" in opened.page.locator(".box.root").inner_text()
