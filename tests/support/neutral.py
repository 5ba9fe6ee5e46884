"""Re-seals captures for ``tests/data``: small, and without the directories of their machine.

``python -m support.neutral FOLDER``, in ``tests/``, takes what ``make scenarios`` and ``make
handback`` have left in it. Without a folder it brings the captures that are there to the tables of
today.
"""

from __future__ import annotations

import gzip
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from cgoleak.capture import CaptureWriter, open_capture
from support.earlier import write_earlier
from support.sample import ROOT

if TYPE_CHECKING:
    from cgoleak.model.capture import Capture

__all__ = ["CAPTURES", "LARGEST_BYTES", "machine_paths", "neutral", "reseal", "unpacked"]

CAPTURES: Final = ROOT.parent / "tests" / "data" / "captures"
LARGEST_BYTES: Final = 60_000
_SUFFIX: Final = ".cgoleak.gz"
_KEPT: Final = ("/src/", "/go/", "/lib", "/usr/lib", "/usr/include/", "/_/", "/build/")
"""Directories that are the same everywhere, and those that stand for others here."""


def neutral(path: str) -> str:
    """Give a path that could be from any machine: the repository's, Go's, or only the name."""
    if path.startswith(f"{ROOT.parent}/"):
        return "/src/" + path.removeprefix(f"{ROOT.parent}/")
    in_go = re.match(r"/.*?/go(?:[-\d.]+[^/]*)?/(src/.+)", path)
    if in_go and not path.startswith("/src/"):
        return f"/go/{in_go[1]}"
    if not path.startswith("/") or path.startswith(_KEPT):
        return path
    return "/build/" + path.rpartition("/")[2]


def unpacked(name: str, folder: Path, captures: Path = CAPTURES) -> Path:
    """Unpack the capture of this name into a folder; give the file that cgoleak reads."""
    to = folder / f"{name}.cgoleak"
    to.write_bytes(gzip.decompress((captures / f"{name}{_SUFFIX}").read_bytes()))
    return to


def reseal(source: Path, to: Path) -> int:
    """Write a capture anew with neutral paths, packed; give its size in bytes."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        whole, written = Path(folder) / "whole.cgoleak", Path(folder) / "capture.cgoleak"
        # Recorded in the beginnings of version 1, some lack columns that it was to have.
        _write(open_capture(write_earlier(source, whole)), written)
        with closing(sqlite3.connect(written, isolation_level=None)) as db:
            db.execute("VACUUM")
        # Without a time, so that the same capture gives the same bytes.
        to.write_bytes(gzip.compress(written.read_bytes(), 9, mtime=0))
    return to.stat().st_size


def machine_paths(capture: Capture) -> set[str]:
    """Give the paths in a capture that ``neutral`` would change."""
    files = {frame.file for found in capture.frames.values() for frame in found if frame.file}
    paths = files | {one.path for one in capture.modules} | {capture.target.exe}
    paths |= {one.exe for one in capture.processes}
    for notice in capture.notices:
        paths |= set(re.findall(r"(?<![\w.])/[\w.+/-]+", f"{notice.text} {notice.fix}"))
    return {path for path in paths if neutral(path) != path}


def _write(capture: Capture, to: Path) -> None:
    used = {address for stack in capture.stacks.values() for address in stack.addresses}
    used |= {at for profile in capture.go_profiles for use in profile.uses for at in use.addresses}
    with CaptureWriter(to) as sink:
        sink.write_target(
            replace(capture.target, exe=neutral(capture.target.exe)),
            mode=capture.window.mode,
            started_unix_ns=capture.window.started_unix_ns,
        )
        for module in capture.modules:
            sink.add_module(replace(module, path=neutral(module.path)))
        for stack in capture.stacks.values():
            sink.add_stack(stack)
        sink.put_mappings(capture.mappings)
        for snapshot in capture.snapshots:
            sink.add_snapshot(snapshot, commit=False)
        for number, process in enumerate(capture.processes, start=1):
            sink.put_process(number, replace(process, exe=neutral(process.exe)))
        if capture.hooked is not None:
            sink.put_hooked(capture.hooked)
        for profile in capture.go_profiles:
            sink.add_go_profile(profile)
        if capture.holdings is not None:
            sink.put_holdings(capture.holdings)
        for notice in capture.notices:
            sink.add_notice(notice)
        sink.seal_frames(
            {
                address: tuple(
                    frame._replace(file=neutral(frame.file)) if frame.file else frame
                    for frame in found
                )
                for address, found in capture.frames.items()
                if address in used
            }
        )
        sink.finish(capture.window, capture.cost)


def main(folder: Path | None = None) -> None:
    """Re-seal what is small enough, and say what is not."""
    found = sorted(
        CAPTURES.glob(f"*{_SUFFIX}") if folder is None else folder.glob("*/capture.cgoleak")
    )
    for source in found:
        with TemporaryDirectory() as scratch:
            name = source.parent.name if folder else source.name.removesuffix(_SUFFIX)
            capture = source if folder else unpacked(name, Path(scratch))
            to = CAPTURES / f"{name}{_SUFFIX}"
            size = reseal(capture, to)
        if size > LARGEST_BYTES:
            to.unlink()
        sys.stdout.write(f"{name}: {size:,}{' too large' * (size > LARGEST_BYTES)}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
