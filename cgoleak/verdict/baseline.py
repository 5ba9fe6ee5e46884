"""Sites that a team knows and lives with, in a JSON file that reads well in a review.

Sorted, one site a block, with words beside the key, so that a diff says what was added. A program
has its own part of the file: the packages of ``go test ./...`` share one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cgoleak.errors import PolicyError
from cgoleak.model.ids import SiteKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cgoleak.model.report import Finding

__all__ = ["SCHEMA", "Baseline", "Known", "parse_baseline"]

SCHEMA: Final = "cgoleak.baseline/1"
_LARGEST: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Known:
    """What a site had when the baseline was written; per iteration if ``per`` is not None."""

    function: str
    verdict: str
    outstanding_bytes: int
    outstanding_blocks: int
    per: int | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """Program → site → what is known of it."""

    programs: Mapping[str, Mapping[SiteKey, Known]] = field(default_factory=dict)

    def of(self, program: str) -> Mapping[SiteKey, Known]:
        """Give the known sites of a program."""
        return self.programs.get(program, {})

    def with_program(self, program: str, findings: Iterable[Finding], per: int | None) -> Baseline:
        """Give a baseline in which this program has these sites and no others."""
        sites = {
            one.site: Known(
                one.suppression.removeprefix("leak:"),
                one.verdict.value,
                one.outstanding_bytes,
                one.outstanding_blocks,
                per,
            )
            for one in findings
        }
        others = {name: known for name, known in self.programs.items() if name != program}
        return Baseline(others | ({program: sites} if sites else {}))

    def text(self) -> str:
        """Write the file: sorted, so that the same sites give the same bytes."""
        programs = {
            name: {
                key: {
                    "function": known.function,
                    "verdict": known.verdict,
                    "bytes": known.outstanding_bytes,
                    "blocks": known.outstanding_blocks,
                    **({} if known.per is None else {"per": known.per}),
                }
                for key, known in sorted(sites.items())
            }
            for name, sites in sorted(self.programs.items())
        }
        document = {"schema": SCHEMA, "programs": programs}
        # Names that are not UTF-8 have surrogates, which no file takes.
        return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def parse_baseline(text: str, *, name: str) -> Baseline:
    """Read a baseline.

    Raises:
        PolicyError: it is something else.
    """
    try:
        document: Any = json.loads(text)
        _check_schema(document)
        return Baseline(
            {
                str(program): {SiteKey(str(key)): _known(entry) for key, entry in sites.items()}
                for program, sites in document["programs"].items()
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise PolicyError(
            f"{name} is not a baseline",
            cause=str(exc),
            fix="write it anew: cgoleak check --update-baseline …",
        ) from exc


def _check_schema(document: Any) -> None:
    if document["schema"] != SCHEMA:
        raise ValueError(f"its schema is not {SCHEMA}")


def _known(entry: Any) -> Known:
    size, blocks, per = entry["bytes"], entry["blocks"], entry.get("per")
    for number in (size, blocks, 1 if per is None else per):
        if type(number) is not int or not 0 <= number < _LARGEST:
            raise ValueError(f"{number!r} is no count")
    if per == 0:
        raise ValueError("per is 0")
    return Known(str(entry["function"]), str(entry["verdict"]), size, blocks, per)
