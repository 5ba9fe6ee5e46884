"""Finds and reads what a team has written down: policy, suppressions, baseline.

Command line and working directory → ``Rules``. ``go test`` runs each test binary in the directory
of its package, so that the policy is looked for from there upwards.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from cgoleak.cli.outputs import check_writable, write_file
from cgoleak.cli.sourcetree import working_directory
from cgoleak.errors import OutputError, PolicyError
from cgoleak.verdict.baseline import Baseline, parse_baseline
from cgoleak.verdict.limits import Limits, parse_limits
from cgoleak.verdict.policy import Policy
from cgoleak.verdict.suppress import parse_suppressions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cgoleak.model.report import Finding
    from cgoleak.verdict.suppress import Suppression

__all__ = ["Rules", "program_name", "read_rules", "update_baseline"]

_OWN: Final = "cgoleak.toml"
_SHARED: Final = "pyproject.toml"
_TABLE: Final = ("tool", "cgoleak")
_LARGEST: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that a check is held against.

    Attributes:
        source: the policy file; None for the defaults.
        folder: what relative names in it, and names of programs, begin from.
        baseline: path of the baseline, or None; it need not exist.
        known: what is in it; None where there is no baseline.
    """

    limits: Limits
    source: Path | None
    folder: Path
    suppressions: tuple[Suppression, ...] = ()
    baseline: Path | None = None
    known: Baseline | None = None

    @property
    def policy(self) -> Policy:
        """Give the thresholds of the verdicts."""
        policy = Policy(suppressions=self.suppressions)
        if self.limits.min_age_seconds is not None:
            policy = replace(policy, min_age_seconds=self.limits.min_age_seconds)
        if self.limits.min_gc_cycles is not None:
            policy = replace(policy, gc_cycles=self.limits.min_gc_cycles)
        return policy


def read_rules(
    *,
    policy: Path | None,
    suppressions: Sequence[Path] = (),
    baseline: Path | None = None,
    suspect: str | None = None,
    min_age: float | None = None,
    per: int | None = None,
    updating: bool = False,
    start: Path | None = None,
) -> Rules:
    """Read the files; what the command line says counts more than what they say.

    Raises:
        PolicyError: a file is missing or wrong.
        OutputError: the baseline is to be written, and cannot be.
    """
    limits, source = _limits(policy, (start or working_directory()).resolve())
    folder = source.parent if source else _root((start or working_directory()).resolve())
    muted = [*(folder / name for name in limits.suppressions), *suppressions]
    lines = [line for path in muted for line in parse_suppressions(_text(path), name=str(path))]
    if suspect is not None:
        limits = replace(limits, suspect=suspect)
    if min_age is not None:
        limits = replace(limits, min_age_seconds=min_age)
    if per is not None:
        limits = replace(limits, per=per)
    if not limits.per and (limits.max_bytes_per_iteration or limits.max_blocks_per_iteration):
        raise PolicyError(
            "the policy has limits per iteration, and nobody says how many there are",
            fix="add --per N, or per = N to the policy",
        )
    path = baseline or (folder / limits.baseline if limits.baseline else None)
    known = None
    if path is not None and path.exists():
        known = parse_baseline(_text(path), name=str(path))
    elif path is not None and not updating:
        raise PolicyError(
            f"there is no baseline {path}", fix="write it: cgoleak check --update-baseline …"
        )
    if updating and path is None:
        raise PolicyError(
            "--update-baseline needs to know the file",
            fix="add --baseline FILE, or baseline = FILE to the policy",
        )
    if updating and path is not None:
        check_writable(path, force=True)
    return Rules(limits, source, folder, tuple(lines), path, known)


def program_name(exe: str, rules: Rules, *, where: Path | None = None) -> str:
    """Name a program as reports and baselines do: a test binary by its package's directory.

    ``go test`` gives them names such as ``algo.test`` in a directory that changes at each run.
    """
    name = Path(exe.removesuffix(" (deleted)")).name
    here = (where or working_directory()).resolve()
    if name.endswith(".test") and here != rules.folder and here.is_relative_to(rules.folder):
        return f"{here.relative_to(rules.folder)}/{name}"
    return name


def update_baseline(
    rules: Rules, program: str, findings: Sequence[Finding]
) -> tuple[Path, Baseline]:
    """Write the program's part of the baseline anew; the others' parts stay.

    Raises:
        OutputError: it cannot be written.
    """
    path = rules.baseline
    assert path is not None, "read_rules has seen to it"
    with _alone(path):
        # Packages of one go test may be writing at the same time.
        old = parse_baseline(_text(path), name=str(path)) if path.exists() else Baseline()
        new = old.with_program(program, findings, rules.limits.per)
        write_file(path, partial(_write, new.text()), force=True)
    return path, new


def _write(text: str, out: BinaryIO) -> None:
    out.write(text.encode())


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock on the directory: the file itself is replaced."""
    try:
        fd = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise OutputError(f"cannot write {path}", cause=exc.strerror) from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _limits(named: Path | None, start: Path) -> tuple[Limits, Path | None]:
    if named is not None:
        named = named.resolve()
        table = _TABLE if named.name == _SHARED else ()
        limits = parse_limits(_text(named), name=str(named), table=table)
        if limits is None:
            raise PolicyError(f"{named} has no table [tool.cgoleak]")
        return limits, named
    for folder in (start, *start.parents):
        for name, table in ((_OWN, ()), (_SHARED, _TABLE)):
            path = folder / name
            if path.is_file():
                limits = parse_limits(_text(path), name=str(path), table=table)
                if limits is not None:
                    return limits, path
        if (folder / ".git").exists():
            break
    return Limits(), None


def _root(start: Path) -> Path:
    """Find the directory that names of programs begin from: that of the module or repository."""
    for folder in (start, *start.parents):
        if any((folder / mark).exists() for mark in ("go.mod", ".git")):
            return folder
    return start


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as exc:
        raise PolicyError(f"cannot read {path}", cause=exc.strerror) from exc
    if len(raw) > _LARGEST:
        raise PolicyError(f"cannot read {path}", cause="it is larger than 16 MiB")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise PolicyError(f"cannot read {path}", cause=str(exc)) from exc
