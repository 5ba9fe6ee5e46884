"""A scenario's report beside its ground truth: what was found, missed, or found too much."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgoleak.capture import open_capture
from cgoleak.pipeline import analyse
from cgoleak.render.contract.document import report_document
from support.findings import findings_at, leaks

if TYPE_CHECKING:
    from pathlib import Path

    from support.sample import Expected, Scenario

__all__ = ["Compared", "compared", "judged"]

_UNEXPLAINED_SHARE: Final = 0.05
_UNEXPLAINED_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Compared:
    """One scenario.

    Attributes:
        verdicts: of each expected site those that its findings have, joined; "-" where it has
            nothing outstanding. Empty where sites were not measured.
        strays: sites that were called leaks and are none.
        unexplained, rss: bytes, at the end of the window; None where RSS is not divided.
    """

    scenario: Scenario
    cause: str
    summary: str
    verdicts: tuple[tuple[Expected, str], ...]
    strays: tuple[str, ...]
    unexplained: int | None
    rss: int

    @property
    def hits(self) -> int:
        """Leaks that were found."""
        return sum(_is_leak(site) and found == "native-leak" for site, found in self.verdicts)

    @property
    def missed(self) -> int:
        """Leaks that were not."""
        return sum(_is_leak(site) for site, _ in self.verdicts) - self.hits

    @property
    def differences(self) -> tuple[str, ...]:
        """What is not as it ought to be, in words."""
        wrong = []
        if self.cause != self.scenario.cause:
            wrong.append(f"cause {self.cause}, not {self.scenario.cause}")
        wrong += [
            f"{site.counter} is {found}, not {site.verdict}"
            for site, found in self.verdicts
            if found != site.verdict and not (site.verdict == "bounded" and found == "-")
        ]
        wrong += [f"{stray} is called a leak" for stray in self.strays]
        if self.unexplained is None:
            wrong.append("RSS is not divided")
        elif self.unexplained > max(_UNEXPLAINED_BYTES, _UNEXPLAINED_SHARE * self.rss):
            wrong.append(f"{self.unexplained:,} bytes unexplained of {self.rss:,}")
        return tuple(wrong)


def judged(path: Path) -> dict[str, Any]:
    """Give the JSON report of a capture."""
    report: dict[str, Any] = json.loads(json.dumps(report_document(analyse(open_capture(path)))))
    return report


def compared(scenario: Scenario, report: dict[str, Any]) -> Compared:
    """Compare a JSON report; of a watch without hooks, only the cause and the sheet."""
    hooked = report["window"]["mode"] != "watch"
    verdicts = []
    true_leaks: set[str] = set()
    for site in scenario.sites if hooked else ():
        found = findings_at(report, site)
        verdicts.append((site, "+".join(sorted({one["verdict"] for one in found})) or "-"))
        if _is_leak(site):
            true_leaks.update(one["site"] for one in found)
    parts = {line["part"]: line["now_bytes"] for line in report["balance"]}
    return Compared(
        scenario=scenario,
        cause=report["cause"],
        summary=report["summary"],
        verdicts=tuple(verdicts),
        strays=tuple(
            one["stack"][0]["function"] if one["stack"] else one["site"]
            for one in leaks(report)
            if one["site"] not in true_leaks
        ),
        unexplained=parts.get("unexplained"),
        rss=parts.get("RSS", 0),
    )


def _is_leak(site: Expected) -> bool:
    return site.verdict == "native-leak"
