"""A capture as values: what was measured, with or without names for its addresses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgoleak.model.frames import Frame
    from cgoleak.model.goprofile import GoProfile
    from cgoleak.model.handles import HandleFamily
    from cgoleak.model.holding import Holding
    from cgoleak.model.ids import Address, StackId
    from cgoleak.model.notice import Notice
    from cgoleak.model.snapshot import Snapshot

__all__ = [
    "Capture",
    "Cost",
    "Module",
    "RawStack",
    "Sampling",
    "Span",
    "Target",
    "WatchedProcess",
    "Window",
]


@dataclass(frozen=True, slots=True)
class Target:
    """The watched process; field names are those of the JSON report.

    ``godebug`` has the settings of Go's runtime as GODEBUG spells them: those that were built in,
    then those of the environment.
    """

    pid: int
    exe: str
    go_version: str | None
    libc: str | None
    allocator: str | None
    arch: str
    stripped: bool
    godebug: str = ""


@dataclass(frozen=True, slots=True)
class Module:
    """One ELF file mapped in the target.

    Attributes:
        path: as ``/proc/PID/maps`` has it.
        build_id: lower-case hex of the GNU build id, or the empty string.
        bias: added to a file's virtual address to give the address in the target.
        start: lowest mapped address.
        end: one past the highest mapped address.
    """

    path: str
    build_id: str
    bias: int
    start: Address
    end: Address


class RawStack(NamedTuple):
    """Return addresses, leaf first: the call site is one byte before each.

    A tuple, because a capture has ten thousand of them, and those take a third of the time to make.

    The address 0 marks a place where unwinding failed and the rest was found another way.
    ``complete`` is false if the outer end (goexit, thread start) was not reached. ``family`` is 0,
    or the number of the family of handles, from 1 on, that were made here: then its counts are not
    of blocks.
    """

    id: StackId
    addresses: tuple[Address, ...]
    complete: bool = True
    family: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """The time that was measured; ``started_unix_ns`` is the wall clock at attach."""

    started_unix_ns: int
    seconds: float
    mode: str
    """``exact``, ``sampled`` or ``watch``."""
    ended: str
    """``detached``, ``target-exited``, ``interrupted`` or ``lost``: why measuring stopped."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the measurement cost the target.

    Attributes:
        pause_seconds: how long it stood still.
        target_bytes: memory that the probe took in it.
        ns_per_event: mean of what an allocation or free took longer; None if not measured.
        cpu_share: share of the target's CPU time, 0 to 1, that went into that; None if not known.
    """

    pause_seconds: float
    target_bytes: int
    ns_per_event: float | None = None
    cpu_share: float | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """From here on one block per ``rate`` bytes was followed, in the mean, instead of every one.

    Attributes:
        since_ns: in the window.
        rate: bytes per sample.
        share: of the target's CPU time, 0 to 1, that hooks had taken, which was more than was
            allowed; None if sampling was asked for.
    """

    since_ns: int
    rate: int
    share: float | None = None


@dataclass(frozen=True, slots=True)
class WatchedProcess:
    """One of the processes that a watch has followed; times are those of snapshots.

    A snapshot belongs to the last process that was seen before it: nobody is watched between two.

    Attributes:
        start_ticks: start time in clock ticks since boot; with the pid, its identity.
        exe: path of the executable in the process's own root.
        since_ns: when it was first seen.
        ended_ns: when it ended; None if it had not.
        reason: why it ended, in words; None if it had not.
    """

    pid: int
    start_ticks: int
    exe: str
    since_ns: int
    ended_ns: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the window, both ends included; times are those of snapshots."""

    since_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Capture:
    """Everything that was measured.

    Attributes:
        frames: per address of ``stacks`` the frames there, innermost first (inlined ones before
            the function that holds them); empty mapping until symbols were sealed in.
        processes: of a watch, the processes one after the other; otherwise empty: there is one.
        hooked: of a watch, the part that was measured with hooks: stacks count from its start.
        go_profiles: Go's own heap profile, at the begin and at the end, in order of time.
        holdings: of a command that was held at its exit, who still knew its blocks; else None.
        sampling: since when blocks were sampled, and at which rate, in order of time; empty where
            every block was followed.
        families: kinds of handles that were counted beside the blocks; number 1 is the first.
        mappings: stacks whose memory came from mmap itself, not from malloc.
    """

    target: Target
    window: Window
    modules: tuple[Module, ...]
    stacks: Mapping[StackId, RawStack]
    snapshots: tuple[Snapshot, ...]
    cost: Cost
    frames: Mapping[Address, tuple[Frame, ...]] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    processes: tuple[WatchedProcess, ...] = ()
    hooked: Span | None = None
    go_profiles: tuple[GoProfile, ...] = ()
    holdings: Mapping[StackId, Holding] | None = None
    sampling: tuple[Sampling, ...] = ()
    families: tuple[HandleFamily, ...] = ()
    mappings: frozenset[StackId] = frozenset()
