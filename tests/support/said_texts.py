"""Every text that code marks for translation, found by reading the code."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import cgoleak
from cgoleak.model.catalog import CAUSES, NOTICES, TERMS, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(cgoleak.__file__).parent
_IN_TEMPLATE = re.compile(r"""\bt\((?:"([^"]+)"|'([^']+)')""")
_IN_SCRIPT = re.compile(r'\bT\("([^"\\]+)"')


def texts_in_code() -> frozenset[str]:
    """Texts given to ``words(…)`` and ``words.count(…)``, to ``t(…)`` and to ``T(…)``."""
    found: set[str] = set()
    for path in ROOT.rglob("*.py"):
        found.update(_in_python(path.read_text("utf-8")))
    assets = ROOT / "render" / "html" / "assets"
    for path in assets.glob("*.j2"):
        found.update(one or other for one, other in _IN_TEMPLATE.findall(path.read_text("utf-8")))
    for path in assets.glob("*.js"):
        found.update(_IN_SCRIPT.findall(path.read_text("utf-8")))
    return frozenset(found)


def texts_in_catalog() -> frozenset[str]:
    """Label, meaning and the like of every entry, as far as they are words."""
    found: set[str] = set()
    for table in (VERDICTS, CAUSES, NOTICES, TERMS):
        for key, entry in table.items():
            values = {field.name: getattr(entry, field.name) for field in fields(entry)}
            if table is NOTICES:
                assert values.pop("label") == key  # a code is no word
            found.update(filter(None, values.values()))
    return frozenset(found)


def texts_of_notices() -> frozenset[str]:
    """Texts and fixes of every ``Notice(…)`` in the code, with something in their holes."""
    found: set[str] = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Notice":
                for said in node.args[1:]:
                    arms = (said.body, said.orelse) if isinstance(said, ast.IfExp) else (said,)
                    found.update(filter(None, map(_sample, arms)))
    return frozenset(found)


def _sample(node: ast.expr) -> str:
    """Give a text as it may read; empty where it is put together elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr():
            return "".join(
                part.value
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
                else _filled(part.value)
                if isinstance(part, ast.FormattedValue)
                else ""
                for part in node.values
            )
        case _:
            return ""


def _filled(node: ast.expr) -> str:
    match node:
        case ast.Call(func=ast.Name(id="plural"), args=[_, ast.Constant(value=str(noun))]):
            return f"3 {noun}s"
        case ast.Call(func=ast.Name(id=name)) if name in _FILLINGS:
            return _FILLINGS[name]
        case _:
            return "3"


_FILLINGS = {"format_bytes": "3.0 MiB", "format_seconds": "30 s", "format_percent": "40 %"}


def english_left(text: str) -> list[str]:
    """Find what stayed English: words in a row that are no name, no path and no code."""
    return [run for run in _ENGLISH.findall(text) if run not in _SAID_SO]


_ENGLISH = re.compile(r"(?<![\w./:(*-])[A-Za-z][a-z']+(?: [a-z][a-z']+)+(?![\w./(:])")
_SAID_SO = frozenset(
    {"cgoleak attach", "cgoleak check", "cgoleak watch", "go test", "go tool pprof"}
    | {"cleanup goroutine", "malloc arena"}
)
"""Commands, and words of the trade that Chinese texts leave as they are."""


def _in_python(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        owner = getattr(function, "value", None)
        if name == "words" and node.args:
            yield from _constants(node.args[0])
        elif name == "count" and isinstance(owner, ast.Name) and owner.id == "words":
            yield from (f"{{count}} {noun}s" for noun in _constants(node.args[1]))


def _constants(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if node.value:
            yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _constants(node.body)
        yield from _constants(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _constants(value)
