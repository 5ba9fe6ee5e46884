"""``cgoleak doctor [PID]``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from cgoleak.cli.options import list_format_option, process_id
from cgoleak.cli.screen import print_bytes
from cgoleak.probe.entry.readiness import probe_checks
from cgoleak.render.visible import visible
from cgoleak.target.machine import machine_checks
from cgoleak.target.preflight import checks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cgoleak.target.preflight import Check

__all__ = ["command"]

_WORDS: Final = {True: "ok", False: "no", None: "?"}
_CANNOT: Final = 3


@click.command("doctor")
@click.argument("pid", type=process_id, required=False)
@list_format_option
def command(pid: int | None, *, format: str) -> int:  # noqa: A002 - the option's name
    """Check what measuring needs, each with its fix; changes nothing.

    Without PID the machine is looked at, with PID the process too. Exit status 3 if something
    stands in the way.

    \b
    Examples:
      cgoleak doctor
      cgoleak doctor 4242
      cgoleak doctor --format json
    """
    machine = (*machine_checks(), *probe_checks())
    process = () if pid is None else checks(pid)
    found = (*machine, *process)
    if format == "json":
        document = {"schema": "cgoleak.doctor/1", "pid": pid, "checks": [asdict(c) for c in found]}
        print_bytes(json.dumps(document, indent=2).encode() + b"\n", sys.stdout)
    else:
        lines = ["this machine", *_lines(machine)]
        if pid is not None:
            lines += ["", f"process {pid}", *_lines(process)]
        text = "".join(f"{line}\n" for line in lines)
        print_bytes(text.encode("utf-8", "replace"), sys.stdout)
    return _CANNOT if any(check.ok is False for check in found) else 0


def _lines(found: Sequence[Check]) -> Iterator[str]:
    for check in found:
        yield f"  {_WORDS[check.ok]:<4}{check.name:<15}{visible(check.text)}"
        if check.fix:
            yield f"{'':<21}fix: {visible(check.fix)}"
