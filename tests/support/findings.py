"""Compares the findings of a JSON report with what the sample says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from support.sample import Expected

__all__ = [
    "USERS_MODULES",
    "findings_at",
    "has_stack",
    "is_called",
    "leaks",
    "reported",
    "without_lines",
]

USERS_MODULES: Final = frozenset({"worker", "libwatermark.so"})
_USERS: Final = frozenset({"C", "C++", "Go"})

Frame = dict[str, Any]
Finding = dict[str, Any]


def is_called(function: str, name: str) -> bool:
    """Tell whether a frame's function is meant by a name of ``scenarios.toml``.

    The parameters of C++ functions do not count, nor the hash in ``_cgo_…_Cfunc__Cmalloc``.
    """
    if name.startswith("_Cfunc_"):
        return function.startswith("_cgo_") and function.endswith(name)
    if name.startswith("thumb::"):
        return function.partition("(")[0] == name
    return function == name


def has_stack(stack: Iterable[Frame], names: Sequence[str]) -> bool:
    """Tell whether these functions are on the stack in this order, whatever stands between."""
    frames = iter(stack)
    return all(any(is_called(frame["function"], name) for frame in frames) for name in names)


def findings_at(report: dict[str, Any], site: Expected) -> list[Finding]:
    """Give the findings with this site's whole stack."""
    return [one for one in report["findings"] if has_stack(one["stack"], site.stack)]


def leaks(report: dict[str, Any]) -> list[Finding]:
    return [one for one in report["findings"] if one["verdict"] == "native-leak"]


def without_lines(finding: Finding) -> list[str]:
    """Name the frames of the sample's own code that lack a file or a line."""
    return [
        frame["function"]
        for frame in finding["stack"]
        if frame["lang"] in _USERS
        and frame["module"] in USERS_MODULES
        and not (frame["file"] and frame["line"])
    ]


def reported(report: dict[str, Any]) -> str:
    """Say what was found, for the message of a test that fails."""
    lines = [f"{report['cause']}: {report['summary']}"]
    for one in report["findings"]:
        lines.append(
            f"{one['verdict']} {one['outstanding_blocks']} blocks, "
            f"{one['outstanding_bytes']} bytes; {'; '.join(one['evidence'])}"
        )
        lines += [
            f"    {f['lang']:8} {f['function']} {f['file']}:{f['line']}" for f in one["stack"]
        ]
    lines += [f"note {n['code']}: {n['text']}" for n in report["notices"]]
    return "\n".join(lines)
