"""The long form: ``PYTHONPATH=tests python -m stress.run [--rounds N] [--kills N] [ONLY …]``.

Prints a table at the end; status 1 if anything failed.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from functools import partial
from typing import TYPE_CHECKING

from stress.kills import run_kills
from stress.limits import no_memory_group, run_full, run_limited, run_narrow
from stress.rounds import run_rounds
from stress.target import hammer, missing
from stress.tortures import ENDINGS, MODES, run_asked, run_ending, run_mode
from stress.ways import run_way_kills
from support.containers import can_make_namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def main() -> int:
    """Run what was asked for and print what came out."""
    parser = argparse.ArgumentParser(prog="python -m stress.run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000, help="attach/detach rounds (1000)")
    parser.add_argument("--kills", type=int, default=200, help="SIGKILLs of cgoleak (200)")
    parser.add_argument("--endings", type=int, default=10, help="targets ended in mid-attach (10)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of all random delays")
    parser.add_argument("only", nargs="*", help="rows of the table to run, by how they begin")
    options = parser.parse_args()
    if reason := missing():
        _say(reason)
        return 3
    _say(f"seed {options.seed}")
    table = []
    for name, work in _rows(options):
        if options.only and not name.startswith(tuple(options.only)):
            continue
        _say(f"{name} …")
        try:
            table.append((name, "ok", work()))
        except Exception as exc:  # noqa: BLE001  (a failure is a row, and the others still run)
            traceback.print_exc()
            cause = getattr(exc, "cause", None) or ""
            table.append((name, "FAILED", f"{type(exc).__name__}: {str(exc)[:200]} {cause}"))
    for name, result, text in table:
        _say(f"{name:<28}{result:<8}{text}")
    return int(any(result != "ok" for _, result, _ in table))


def _rows(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], str]]]:
    few = max(1, options.kills // 4)
    yield "rounds hammer", partial(_rounds, options.rounds)
    yield "rounds main-in-c", partial(_rounds, options.rounds, "-threads", "3", "-main-in-c")
    yield "rounds own-malloc", partial(_own_rounds, max(1, options.rounds // 10))
    if can_make_namespaces():
        yield "rounds namespaced", partial(_rounds, options.rounds // 4, namespaced=True)
        yield "kills namespaced", partial(_kills, few, options.seed, namespaced=True)
    else:
        _say("namespaced: skipped, unshare is refused here")
    yield "kills hammer", partial(_kills, options.kills, options.seed)
    yield "kills own-malloc", partial(_kills, few, options.seed, own_malloc=True)
    yield "static rounds", partial(_rounds, options.rounds, "-threads", "4", static=True)
    yield "static kills", partial(_kills, few, options.seed, static=True)
    yield "static way", partial(_way_kills, options.kills, options.seed)
    yield "static exact", partial(run_asked, 100_000, static=True)
    yield "exact", partial(run_asked, 100_000)
    yield "limited files", run_limited
    yield "full tables", run_full
    if (why := no_memory_group()) is None:
        yield "memory limit", run_narrow
    else:
        _say(f"memory limit: skipped, {why}")
    for mode in MODES:
        yield f"mode {mode}", partial(run_mode, mode, 3, 2.0)
        if mode != "dlopen":  # a static program has its own libraries, and no others
            yield f"static mode {mode}", partial(run_mode, mode, 3, 2.0, static=True)
    for mode in ENDINGS:
        yield f"ending hooked {mode}", partial(run_ending, mode, options.seed, hooked=True)
        yield f"ending entered {mode}", partial(_endings, mode, options.seed, options.endings)
        static = partial(_endings, mode, options.seed, options.endings, static=True)
        yield f"static ending {mode}", static


def _rounds(count: int, *arguments: str, static: bool = False, namespaced: bool = False) -> str:
    options = arguments or ("-threads", "4")
    with hammer(*options, static=static, namespaced=namespaced) as running:
        # A static program's threads have just been stopped: on a busy machine, none may have had
        # its turn again in a short round.
        return run_rounds(running, count, seconds_each=0.1 if static else 0.02, tell=_say).row


def _own_rounds(count: int) -> str:
    with hammer("-threads", "4", own_malloc=True) as running:
        # Its threads wait for one lock: on a busy machine, none may come to it in a short round.
        return run_rounds(running, count, seconds_each=0.1, tell=_say).row


def _kills(
    count: int,
    seed: int,
    *,
    own_malloc: bool = False,
    static: bool = False,
    namespaced: bool = False,
) -> str:
    target = hammer("-threads", "4", own_malloc=own_malloc, static=static, namespaced=namespaced)
    with target as running:
        return run_kills(running, count, seed, tell=_say).row


def _way_kills(count: int, seed: int) -> str:
    with hammer("-threads", "4", static=True) as running:
        return run_way_kills(running, count, seed, tell=_say)


def _endings(mode: str, seed: int, count: int, *, static: bool = False) -> str:
    found = [
        run_ending(mode, seed + i, hooked=False, static=static, tell=_say) for i in range(count)
    ]
    return ", ".join(f"{name} {found.count(name)}" for name in sorted(set(found)))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
