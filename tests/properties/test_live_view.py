"""The live view: whatever is pressed, and whatever is measured, there is something to look at."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cgoleak.cli.keys import keys_in
from cgoleak.model.report import Verdict
from cgoleak.render.live import Moment, Order, Pane, Seen, View, frame, press
from support.reports import a_finding, a_report

NAMED = ["up", "down", "page up", "page down", "home", "end", "enter", "escape", "unheard of"]
KEYS = st.lists(st.one_of(st.sampled_from(NAMED), st.characters()), max_size=40)
SITES = st.lists(st.integers(0, 9).map("{:06x}".format), unique=True, max_size=6).map(tuple)
SEEN = st.builds(Seen, SITES, st.integers(0, 40), st.integers(0, 200))


@given(st.lists(st.tuples(st.one_of(st.sampled_from(NAMED), st.characters()), SEEN), max_size=40))
def test_any_keys_give_a_view_that_is_one(pressed):
    """Between two keys the sites may be others: they come and go while it is measured."""
    view = View()
    for key, seen in pressed:
        before, view = view, press(view, key, seen)

        assert view.pane in Pane
        assert view.order in Order
        assert view.offset >= 0
        assert view.offset <= max(before.offset, seen.last_offset)
        if view.selected != before.selected:
            assert view.selected in seen.sites
        assert view.finished or not before.finished


@given(SEEN, st.sampled_from(list(Order)), st.booleans())
def test_moving_up_and_down_comes_back(seen, order, full):
    view = View(order=order, full_stacks=full)
    if len(seen.sites) > 1:
        down = press(press(view, "home", seen), "j", seen)

        assert down.selected == seen.sites[1]
        assert press(down, "k", seen).selected == seen.sites[0]
    assert press(press(view, "end", seen), "down", seen) == press(view, "G", seen)


@given(SEEN)
def test_pause_stack_and_keys_are_undone_by_the_same_or_by_escape(seen):
    view = View()

    assert press(press(view, "p", seen), " ", seen) == view
    assert press(press(view, "?", seen), "?", seen) == view
    assert press(press(view, "w", seen), "escape", seen) == view
    opened = press(view, "enter", seen)
    assert opened.pane is (Pane.STACK if seen.sites else Pane.SITES)
    assert press(opened, "escape", seen).pane is Pane.SITES


@given(st.sampled_from(list(Order)))
def test_pressing_s_goes_through_all_orders(order):
    view = View(order=order)
    met = []
    for _ in Order:
        view = press(view, "s", Seen())
        met.append(view.order)

    assert set(met) == set(Order)
    assert view.order is order


FINDINGS = st.lists(
    st.builds(
        a_finding,
        st.sampled_from(list(Verdict)),
        site=st.integers(0, 30).map("{:06x}".format),
        outstanding_bytes=st.integers(0, 1 << 50),
        outstanding_blocks=st.integers(0, 1 << 40),
        growth=st.floats(-1e12, 1e12),
        oldest_seconds=st.floats(0, 1e7),
    ),
    max_size=12,
    unique_by=lambda one: one.site,
).map(tuple)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(KEYS, FINDINGS), max_size=4),
    st.integers(1, 140),
    st.integers(1, 50),
    st.sampled_from(["en", "zh"]),
)
def test_every_view_that_keys_lead_to_can_be_drawn(turns, width, height, lang):
    view, seen = View(), Seen()
    for keys, findings in turns:
        for key in keys:
            view = press(view, key, seen)
        drawn = frame(
            a_report(findings=findings),
            view,
            Moment("pid 1", "measuring", 3.0),
            width=width,
            height=height,
            lang=lang,
        )
        seen = drawn.seen

        assert len(drawn.lines) == height
        assert max(line.cell_len for line in drawn.lines) <= width
        assert sorted(seen.sites) == sorted(one.site for one in findings)


@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=5))
@example(b"\x1b[A\x1bOB", [1, 2, 4])
def test_keys_are_the_same_however_their_bytes_arrive(sent, cuts):
    whole, left = keys_in(sent)
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    got, rest = [], b""
    for begin, end in pairwise(edges):
        keys, rest = keys_in(rest + sent[begin:end])
        got += keys

    assert (tuple(got), rest) == (whole, left)
