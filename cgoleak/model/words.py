"""Which words a report is told in: English as it stands in the code, or what a catalog has for it.

English text → the same in another language. The English text is the key, so that a reader of the
code sees what users see; texts with numbers in them are found by their pattern, so that whoever
writes a sentence need not know of languages. What has no translation stays English.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from cgoleak.units import format_count, plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ENGLISH", "LANGUAGES", "Words", "words_in"]

LANGUAGES: Final[Mapping[str, str]] = MappingProxyType({"en": "English", "zh": "简体中文"})
"""Code → name in its own language."""

_HOLE: Final = re.compile(r"\{(\w+)\}|\[(\w+\|\w+)\]")
_NUMBERED: Final = re.compile(r"(\d[\d ]*) ([a-zA-Z][a-zA-Z ]*?)s?")
_JOINTS: Final = ((". ", ""), ("; ", "；"), (", ", "，"))  # noqa: RUF001 - Chinese punctuation
_SENTENCE_HOLES: Final = frozenset({"first", "second", "advice"})
"""Holes that hold sentences; all others end at a semicolon."""
_NAME_HOLES: Final = frozenset(
    {"call", "caller", "function", "given", "go", "module", "package", "place"}
    | {"program", "rule", "where"}
)
"""Holes that hold names of code, which are the same in every language."""
_NUMBER_HOLES: Final = frozenset({"all", "count"})
"""Holes that hold nothing but digits, so that ``{count} of {all}`` is not found in prose."""
_SHORT_HOLES: Final = frozenset({"amount", "one", "other", "sites"})
"""Holes of texts that are little but holes: a pair of times; ``{sites} gone`` in a list of such."""
_LONGEST: Final = 1000
"""Characters of a text that is looked up; foreign names may be of any length."""
_SENTENCES: Final = 8
"""Of one text; more are not ours."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A text with holes: the longest piece of its English, how it is known, what it becomes."""

    piece: str
    shape: str
    text: str


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language.

    Attributes:
        lang: a key of ``LANGUAGES``; HTML's ``lang`` attribute takes it as it is.
        texts: English without a full stop at the end → the text.
    """

    lang: str
    texts: Mapping[str, str] = field(default_factory=dict)
    patterns: Sequence[_Pattern] = ()

    def __call__(self, english: str, **values: object) -> str:
        """Give a text with its values put in; braces of the values are left alone."""
        if values:
            return self._exact(english, english).format_map(values)
        if not self.texts or len(english) > _LONGEST:
            return english
        return self._found(english) or english

    def count(self, number: int, noun: str) -> str:
        """Give ``1 site`` or ``18 640 sites``; other languages have the plural as a text."""
        if not self.texts:
            return plural(number, noun)
        return self(f"{{count}} {noun}s", count=format_count(number))

    def _exact(self, english: str, otherwise: str) -> str:
        return self.texts.get(english) or self.texts.get(english.removesuffix("."), otherwise)

    def _found(self, english: str) -> str | None:
        """Look for the whole, for its pattern, then for its sentences."""
        if exact := self._exact(english, ""):
            return exact
        if (counted := _NUMBERED.fullmatch(english)) is not None:
            text = self.texts.get(f"{{count}} {counted[2]}s")
            if text is not None:
                return text.format_map({"count": counted[1]})
        bare = english.removesuffix(".")
        for pattern in self.patterns:
            if pattern.piece not in bare:
                continue
            if found := _compiled(pattern.shape).fullmatch(bare):
                parts = {
                    name: self._exact(part, part) if name in _NAME_HOLES else self(part)
                    for name, part in found.groupdict().items()
                }
                text = pattern.text.format_map(parts)
                ends = english.endswith(".") and not text.endswith("。")
                return f"{text}。" if ends else text
        return self._joined(english)

    def _joined(self, english: str) -> str | None:
        """Translate sentence by sentence, if each is known."""
        for joint, glue in _JOINTS:
            if english.count(joint) > _SENTENCES:
                return None
            head, found, tail = english.partition(joint)
            while found:
                first = self._found(f"{head}." if joint == ". " else head)
                rest = self._found(tail) if first else None
                if first and rest:
                    return f"{first}{glue}{rest}"
                more, found, tail = tail.partition(joint)
                head = f"{head}{joint}{more}"
        return None


ENGLISH: Final = Words("en")


@lru_cache(maxsize=len(LANGUAGES))
def words_in(lang: str) -> Words:
    """Give the words of a language; English for one that is not known."""
    if lang == "en" or lang not in LANGUAGES:
        return ENGLISH
    import tomllib  # noqa: PLC0415 - not for English
    from importlib.resources import files  # noqa: PLC0415

    source = files("cgoleak.model").joinpath(f"words.{lang}.toml").read_text("utf-8")
    texts: dict[str, str] = tomllib.loads(source)
    holed = [(english, text) for english, text in texts.items() if _HOLE.search(english)]
    # The longest first: what says most fits best.
    holed.sort(key=lambda one: -len(_HOLE.sub("", one[0])))
    return Words(lang, MappingProxyType(texts), tuple(_pattern(*one) for one in holed))


def _pattern(english: str, text: str) -> _Pattern:
    shape, at = "", 0
    pieces = []
    for hole in _HOLE.finditer(english):
        pieces.append(english[at : hole.start()])
        shape += re.escape(pieces[-1])
        shape += f"(?P<{hole[1]}>{_inside(hole[1])}+?)" if hole[1] else f"(?:{hole[2]})"
        at = hole.end()
    pieces.append(english[at:])
    shape += re.escape(pieces[-1])
    return _Pattern(max(pieces, key=len), shape, text)


@cache
def _compiled(shape: str) -> re.Pattern[str]:
    """Compile what is asked for: a report has few of all texts."""
    return re.compile(shape)


def _inside(hole: str) -> str:
    """Give the signs that a hole may hold; only sentences reach beyond the end of one."""
    if hole in _NUMBER_HOLES:
        return r"[\d ]"
    if hole in _SHORT_HOLES:
        return "[^;,()]"
    return "." if hole in _SENTENCE_HOLES else r"(?:[^;.]|\.(?! ))"
