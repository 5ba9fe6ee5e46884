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
