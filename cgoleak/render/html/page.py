"""The shell of a page: template, styles and scripts of this package in one file.

The policy in its head lets run only what was written here, by hash, and forbids every request, so
that a report from somebody else is as harmless as a picture.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import jinja2
import markupsafe

from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from cgoleak.model.words import Words

__all__ = ["Page"]

_HEAD_SCRIPT: Final = "theme.js"
_TOGETHER: Final = re.compile(
    r"[+-]?(?<![\d.])\d[\d.]* (?:(?:[KMGTPE]i)?B(?:/s)?|[µm]?s|min|h|d|%)(?![\w/])|--[a-z]\S*"
)
"""A number with its unit, and an option: neither is parted at the end of a line."""
_PARTS: Final = re.compile(r"(?<=/)|(?<=::)(?<!std::)")
_SCRIPT_WORDS: Final = re.compile(r'\bT\("([^"\\]+)"')


@dataclass(frozen=True, slots=True)
class Page:
    """A template with its styles and scripts, all of them names of assets."""

    template: str
    styles: tuple[str, ...]
    scripts: tuple[str, ...]

    @property
    def script_words(self) -> tuple[str, ...]:
        """Find the texts that scripts show; they are marked there by ``T("…")``."""
        return tuple(dict.fromkeys(_SCRIPT_WORDS.findall(_text(self.scripts))))

    def render(self, words: Words, **values: object) -> bytes:
        """Fill the template in; what is put in is escaped unless the template says it is safe."""
        style, head_script = _text(self.styles), _text((_HEAD_SCRIPT,))
        # One scope, which the page's own names stay in.
        script = f'(() => {{\n"use strict";\n{_text(self.scripts)}}})();\n'
        page = _template(self.template).render(
            t=words,
            lang=words.lang,
            style=style,
            script=script,
            head_script=head_script,
            policy=_policy(style, script, head_script),
            **values,
        )
        return page.encode("utf-8", "replace")


@lru_cache(maxsize=4)
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=jinja2.FunctionLoader(_asset),
    )
    environment.filters["visible"] = visible
    environment.filters["bound"] = _bound
    environment.filters["parted"] = _parted
    return environment.get_template(name)


def _bound(text: str) -> markupsafe.Markup:
    """Escape a text such that lines do not end between a number and its unit."""
    pieces, at = [], 0
    for found in _TOGETHER.finditer(text):
        kept = markupsafe.Markup('<span class="bound">{}</span>').format(found[0])
        pieces += [markupsafe.escape(text[at : found.start()]), kept]
        at = found.end()
    return markupsafe.Markup("").join([*pieces, markupsafe.escape(text[at:])])


def _parted(name: str) -> markupsafe.Markup:
    """Escape a name such that its lines end behind a slash or a scope rather than amid a word."""
    return markupsafe.Markup("<wbr>").join(map(markupsafe.escape, _PARTS.split(name)))


@lru_cache(maxsize=32)
def _asset(name: str) -> str:
    return files("cgoleak.render.html").joinpath("assets", name).read_text("utf-8")


@lru_cache(maxsize=8)
def _text(names: tuple[str, ...]) -> str:
    return "\n".join(_asset(name).strip() for name in names) + "\n"


def _policy(style: str, *scripts: str) -> str:
    """Allow these styles and scripts, and nothing else (CSP 3, hash sources)."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
