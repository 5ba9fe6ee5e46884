"""What a renderer is, and the list of them.

Every fact of a format is said once, in its ``Format``; the module that writes it is imported only
when it is used, because rich and the like cost more time than ``cgoleak --help`` has.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath

__all__ = ["DIFFERENCES", "RENDERERS", "Format", "Renderer", "format_by_name", "format_by_suffix"]


class Renderer(Protocol):
    """Writes one report, or one difference, in one format; its options are its fields."""

    def render(self, report: Any, out: BinaryIO, /) -> None:
        """Write the whole document; the same report gives the same bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """Facts of one format.

    Attributes:
        name: for ``--format``.
        suffix: with its dot, for ``-o``; None if it is not written to files.
        help: one line.
        module: where its renderer lives, below ``cgoleak.render``.
        renderer: name of the class, a dataclass.
    """

    name: str
    suffix: str | None
    help: str
    module: str
    renderer: str

    def make(self, **options: object) -> Renderer:
        """Build the renderer with those of the options that it knows."""
        made: Any = getattr(import_module(f"cgoleak.render.{self.module}"), self.renderer)
        known = {field.name for field in fields(made)}
        renderer: Renderer = made(**{key: options[key] for key in options.keys() & known})
        return renderer


RENDERERS: Final[tuple[Format, ...]] = (
    Format(
        name="terminal",
        suffix=".txt",
        help="text for people",
        module="text.document",
        renderer="TerminalRenderer",
    ),
    Format(
        name="html",
        suffix=".html",
        help="one page for a browser, needs no network",
        module="html",
        renderer="HtmlRenderer",
    ),
    Format(
        name="json",
        suffix=".json",
        help="the whole report for scripts; a JSON Schema ships with cgoleak",
        module="contract.document",
        renderer="JsonRenderer",
    ),
    Format(
        name="pprof",
        suffix=".pb.gz",
        help="heap profile for go tool pprof",
        module="exports.pprof",
        renderer="PprofRenderer",
    ),
    Format(
        name="folded",
        suffix=".folded",
        help="folded stacks for flame graphs",
        module="exports.folded",
        renderer="FoldedRenderer",
    ),
    Format(
        name="speedscope",
        suffix=".speedscope.json",
        help="for speedscope.app",
        module="exports.speedscope",
        renderer="SpeedscopeRenderer",
    ),
    Format(
        name="openmetrics",
        suffix=".prom",
        help="metrics for Prometheus",
        module="exports.openmetrics",
        renderer="OpenMetricsRenderer",
    ),
    Format(
        name="sarif",
        suffix=".sarif",
        help="code scanning, SARIF 2.1.0",
        module="pipelines.sarif",
        renderer="SarifRenderer",
    ),
    Format(
        name="junit",
        suffix=".junit.xml",
        help="test reports, JUnit XML",
        module="pipelines.junit",
        renderer="JunitRenderer",
    ),
    Format(
        name="github",
        suffix=None,
        help="annotations of GitHub Actions",
        module="pipelines.github",
        renderer="GithubRenderer",
    ),
)


DIFFERENCES: Final[tuple[Format, ...]] = (
    Format(
        name="terminal",
        suffix=".txt",
        help="text for people",
        module="text.difference",
        renderer="DiffTextRenderer",
    ),
    Format(
        name="html",
        suffix=".html",
        help="one page for a browser, needs no network",
        module="html.diffpage",
        renderer="DiffHtmlRenderer",
    ),
    Format(
        name="json",
        suffix=".json",
        help="for scripts; a JSON Schema ships with cgoleak",
        module="contract.difference",
        renderer="DiffJsonRenderer",
    ),
)
"""What a difference can be written as; their renderers take a ``Difference``."""


def format_by_name(name: str, formats: Sequence[Format] = RENDERERS) -> Format | None:
    """Find the format that ``--format`` names."""
    return next((known for known in formats if known.name == name), None)


def format_by_suffix(path: PurePath, formats: Sequence[Format] = RENDERERS) -> Format | None:
    """Find the format of a file by its name; the longest suffix that fits counts."""
    fitting = [
        known
        for known in formats
        if known.suffix and path.name.endswith(known.suffix) and path.name != known.suffix
    ]
    return max(fitting, key=lambda known: len(known.suffix or ""), default=None)
