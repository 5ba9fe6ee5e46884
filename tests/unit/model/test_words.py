"""The Chinese words: nothing that people read stays English, and nothing is lost in between."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.model.frames import Frame, Language
from cgoleak.model.report import Verdict
from cgoleak.model.sheetwords import PLAIN_WORDS
from cgoleak.model.words import ENGLISH, LANGUAGES, words_in
from cgoleak.render.answers import blame, isleak
from cgoleak.render.answers import five as answers
from cgoleak.verdict.advice import advice_for
from cgoleak.verdict.compare import compare
from support.builders import frames
from support.said_texts import english_left, texts_in_catalog, texts_in_code, texts_of_notices
from support.scenario_reports import SCENARIOS, scenario_report

CHINESE = words_in("zh")
IDEOGRAPH = re.compile("[\u4e00-\u9fff]")
SAME_IN_BOTH = {"GC", "RSS", "VSZ", "arena", "debug.FreeOSMemory()"}


def holes(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def has_translation(text):
    return text in SAME_IN_BOTH or IDEOGRAPH.search(CHINESE(text)) is not None


@pytest.mark.parametrize("text", sorted(texts_in_code()))
def test_every_text_that_the_code_marks_has_a_translation(text):
    assert text in CHINESE.texts or text.removesuffix(".") in CHINESE.texts


@pytest.mark.parametrize("text", sorted(texts_in_catalog()))
def test_every_text_of_the_catalog_has_a_translation(text):
    assert has_translation(text)


SAID = [
    *(*isleak._NO_LEAK.values(), *isleak._MOSTLY.values(), *PLAIN_WORDS.values()),
    *(answers._GIVEN_UP, answers._PROFILE_IT, *answers._LOOK_AT.values(), blame._UNPROFILED),
]


@pytest.mark.parametrize("text", SAID)
def test_every_answer_has_a_translation(text):
    assert has_translation(text)


@pytest.mark.parametrize("english", sorted(CHINESE.texts))
def test_a_translation_has_the_same_holes_as_its_english(english):
    assert holes(re.sub(r"\[\w+\|\w+\]", "", english)) == holes(CHINESE.texts[english])


def said_in(report):
    yield report.summary
    for line in report.balance:
        yield line.part
        if not line.source.startswith(("/proc", "gcController.heapFree")):
            yield line.source
    for one in report.findings:
        yield from one.evidence
        yield one.advice
    if report.go_return is not None:
        yield report.go_return.why
    for notice in report.notices:
        yield notice.text
        if notice.fix:
            yield notice.fix
    for restart in report.restarts:
        yield restart.reason


@pytest.mark.parametrize("name", SCENARIOS)
def test_everything_that_a_report_says_is_said_in_chinese(name):
    texts = [text for text in said_in(scenario_report(name)) if text != "RSS"]

    assert [text for text in texts if not IDEOGRAPH.search(CHINESE(text))] == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_part_of_what_a_report_says_stays_english(name):
    """One Chinese word in it does not make a sentence Chinese."""
    texts = [CHINESE(text) for text in said_in(scenario_report(name))]

    assert {text: left for text in texts if (left := english_left(text))} == {}


@pytest.mark.parametrize("text", sorted(texts_of_notices()))
def test_every_notice_that_the_code_gives_has_a_translation(text):
    assert has_translation(text)
    assert english_left(CHINESE(text)) == []


def test_english_that_is_left_is_found():
    assert english_left("3 个位置，all of it for main.f (a.go:1)") == ["all of it for"]  # noqa: RUF001
    assert english_left("运行 cgoleak attach PID；histogram_new (a.c:1)，net/http") == []  # noqa: RUF001


ADVISED = [
    frames("C strdup s.c:1 @libc.so.6", "C f a.c:2", "Go main.g b.go:3"),
    frames("C realloc_more a.c:2", "Go main.g b.go:3"),
    frames("C f a.c:2", "runtime crosscall2", "C h c.c:9", "Go main.g b.go:3"),
    frames("C f a.c:2"),
    frames("bridge _cgo_1_Cfunc_CString", "bridge main._Cfunc_CString", "Go main.g b.go:3"),
    (
        Frame(Language.CPP, "operator new[](unsigned long)"),
        *frames("C++ f a.cc:2", "Go main.g b.go:3"),
    ),
    (
        Frame(Language.CPP, "operator new(unsigned long)"),
        *frames("C++ f a.cc:2", "Go main.g b.go:3"),
    ),
    (Frame(Language.CPP, "std::vector<int>::f()"), *frames("C++ f a.cc:2", "Go main.g b.go:3")),
    frames(
        "C f a.c:2",
        "runtime runtime.cgocall",
        "Go example.org/png.Decode /mod/example.org/png@v1.2.3/d.go:4",
        "Go main.g /src/b.go:3",
    ),
]


@pytest.mark.parametrize("stack", ADVISED)
@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("infrastructure", [None, "starting a thread"])
@pytest.mark.parametrize("freed", [None, 0.0, 0.75])
@pytest.mark.parametrize("maps", [False, True])
def test_all_advice_has_a_translation(verdict, stack, infrastructure, freed, maps):
    advice = advice_for(verdict, stack, infrastructure=infrastructure, freed=freed, maps=maps)

    assert has_translation(advice)
    assert english_left(CHINESE(advice)) == []


@pytest.mark.parametrize("stack", ADVISED)
@pytest.mark.parametrize("unheld", [False, True])
def test_advice_on_what_cleanups_free_has_a_translation(stack, unheld):
    advice = advice_for(
        Verdict.NATIVE_LEAK, stack, infrastructure=None, freed=0.1, cleaned=True, unheld=unheld
    )

    assert has_translation(advice)
    assert english_left(CHINESE(advice)) == []


def test_what_nearly_all_leaks_are_for_is_said_in_chinese():
    for share in ("all", "nearly all"):
        said = CHINESE(f"3 sites are losing C memory at 257 KiB/s, {share} of it for a.F (a.go:4).")

        assert english_left(said) == []
        assert "a.F (a.go:4)" in said


def test_a_number_of_a_number_is_not_found_in_prose():
    """``{count} of {all}`` once swallowed four sentences that had an "of" in them."""
    said = CHINESE("On top comes what of the 3 MiB in use is garbage: the next collection tells. "
                   "Whatever stays is reused by the Go heap: not a native leak.")  # fmt: skip

    assert english_left(said) == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_numbers_of_a_sentence_are_in_its_translation(name):
    for text in said_in(scenario_report(name)):
        numbers = re.findall(r"\d[\d.]*(?: [KMG]?i?B)?", text)
        translated = CHINESE(text)
        assert [one for one in numbers if one not in translated] == [], (text, translated)


def test_a_sentence_is_found_by_its_pattern():
    said = CHINESE("2 sites are losing C memory at 1.5 MiB/s; 3 more are suspect.")

    assert said == "2 个位置正以 1.5 MiB/s 的速度泄漏 C 内存；另有 3 个可疑。"  # noqa: RUF001 - meant
    assert CHINESE("RSS grew by 37.0 MiB in 30 s; the live Go heap grew by 32.0 MiB: look at it "
                   "with pprof.").startswith("RSS 在 30 s内增长 37.0 MiB")  # fmt: skip


def test_the_summary_of_a_difference_is_translated():
    difference = compare(scenario_report("finalizer-held"), scenario_report("held-and-leak"))

    assert IDEOGRAPH.search(CHINESE(difference.summary))


def test_names_are_not_translated():
    assert CHINESE("histogram_new (histogram.c:15)") == "histogram_new (histogram.c:15)"
    advice = CHINESE("Find who should free what now (all.c:1) allocates, and have it freed there.")
    assert "now (all.c:1)" in advice


def test_numbers_with_their_noun_take_the_plural_of_the_language():
    assert ENGLISH.count(1, "site") == "1 site"
    assert ENGLISH.count(18640, "site") == "18 640 sites"
    assert CHINESE.count(1, "site") == "1 个位置"


def test_a_language_that_is_not_known_is_english():
    assert words_in("xx") is ENGLISH
    assert set(LANGUAGES) == {"en", "zh"}


@given(st.text(max_size=200))
def test_any_text_can_be_looked_up(text):
    assert isinstance(CHINESE(text), str)
    assert ENGLISH(text) == text


@pytest.mark.parametrize("text", ["only " * 5000, "; " * 1900, ". " * 1900, "a; b. " * 600])
def test_looking_up_a_hostile_text_ends_soon(text):
    assert CHINESE(text)


def test_the_larger_part_stands_before_what_it_is():
    said = CHINESE(
        "The larger part: 16.0 MiB of C memory from 1 site waits for Go's finalizers or cleanups."
    )

    assert said.startswith("较大的部分")
    assert "1 个位置分配的 16.0 MiB C 内存在等待 Go" in said
