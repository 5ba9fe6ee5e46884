"""Which words a report is told in: English as it stands in the code, or what a catalog has for it.

English text → the same in another language. The English text is the key, so that a reader of the
code sees what users see, and a text without a translation is shown in English.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from cgoleak.units import format_count, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENGLISH", "LANGUAGES", "Words", "words_in"]

LANGUAGES: Final[Mapping[str, str]] = MappingProxyType({"en": "English", "zh": "简体中文"})
"""Code → name in its own language."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language.

    Attributes:
        lang: a key of ``LANGUAGES``; HTML's ``lang`` attribute takes it as it is.
    """

    lang: str
    texts: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, english: str, **values: object) -> str:
        """Give a text with its values put in; braces of the values are left alone."""
        text = self.texts.get(english, english)
        return text.format_map(values) if values else text

    def count(self, number: int, noun: str) -> str:
        """Give ``1 site`` or ``18 640 sites``; other languages have the plural as a text."""
        if self.lang == "en":
            return plural(number, noun)
        return self(f"{{count}} {noun}s", count=format_count(number))


ENGLISH: Final = Words("en")


def words_in(lang: str) -> Words:
    """Give the words of a language; English for one that is not known."""
    if lang == "en" or lang not in LANGUAGES:
        return ENGLISH
    texts: Mapping[str, str] = import_module(f"cgoleak.model.words_{lang}").TEXTS
    return Words(lang, texts)
