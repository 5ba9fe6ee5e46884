"""Runs inside gdb: stops where the probe's hooks begin, and walks the stack by gdb's own means.

The order (JSON in ``CGOLEAK_ORACLE``) names the breakpoints and where the answer goes. A hook has
no symbols for gdb, so it is left by hand: its caller's registers are put in, as ``runtime-gdb.py``
does for a goroutine, the frames are read, and the registers are put back. Go frames begin at the
goroutine's ``sched``, found by the types in the program's DWARF and not by our offsets.
"""

import contextlib
import json
import os
import random
import time
import traceback
from pathlib import Path

import gdb

ORDER = json.loads(os.environ["CGOLEAK_ORACLE"])
# Beside the frames of C: what is no frame of the machine.
REAL = (gdb.NORMAL_FRAME, gdb.SIGTRAMP_FRAME)
MOST_FRAMES = 300


def register(name):
    return int(gdb.parse_and_eval(f"(unsigned long)${name}"))


def word(address):
    return int(gdb.parse_and_eval(f"*(unsigned long *){address}"))


def walk(pc, sp, bp, is_last):
    """Give the return addresses from these registers outwards, up to the one where ``is_last``."""
    names = ("rip", "rsp", "rbp")
    saved = [register(name) for name in names]
    found = []
    try:
        for name, value in zip(names, (pc, sp, bp), strict=True):
            gdb.execute(f"set ${name} = {value}")
        frame = gdb.newest_frame()
        while frame is not None and len(found) < MOST_FRAMES:
            if frame.type() in REAL:
                found.append((frame.pc(), frame.name() or ""))
                if is_last(*found[-1]):
                    break
            try:
                frame = frame.older()
            except gdb.error:
                break
    finally:
        for name, value in zip(names, saved, strict=True):
            gdb.execute(f"set ${name} = {value}")
    return found


def is_go(pc, _):
    return ORDER["text"][0] <= pc < ORDER["text"][1]


def c_part():
    """Walk C from the caller of the function whose first instruction comes next."""
    sp = register("rsp")
    return [pc for pc, _ in walk(word(sp), sp + 8, register("rbp"), is_go)]


def go_part():
    """Walk Go from where the goroutine left for C; nothing where no goroutine has called."""
    g = word(register("fs_base") + ORDER["tls_g"])
    if not g:
        return []
    m = gdb.Value(g).cast(gdb.lookup_type("runtime.g").pointer())["m"]
    if not int(m) or not int(m["incgo"]) or not int(m["curg"]):
        return []
    sched = m["curg"]["sched"]
    frames = walk(
        int(sched["pc"]),
        int(sched["sp"]),
        int(sched["bp"]),
        lambda _, name: name.startswith("runtime.goexit"),
    )
    # The runtime's mark for "switched away from here" stands for a frame and is none.
    return [pc for pc, name in frames if not name.startswith("runtime.systemstack_switch")]


def main():
    generator = random.Random(ORDER["seed"])
    for setting in (
        "language c",  # or it is the frame's, and the expressions here would be Go
        "pagination off",
        "confirm off",
        "backtrace past-main on",
        "backtrace past-entry on",
        "debuginfod enabled off",
        "breakpoint pending off",
    ):
        with contextlib.suppress(gdb.error):  # a gdb that does not know it does not need it
            gdb.execute("set " + setting)
    gdb.execute("handle all nostop noprint pass", to_string=True)
    gdb.execute("handle SIGTRAP SIGINT stop nopass", to_string=True)
    hooks = {at: gdb.Breakpoint(f"*{at}", internal=True) for at in ORDER["hooks"]}
    enters = {at: gdb.Breakpoint(f"*{at}", internal=True) for at in ORDER["enters_go"]}
    into_go = {}  # thread → what called Go there, outermost first
    deadline = time.monotonic() + ORDER["seconds"]
    found = []
    while len(found) < ORDER["wanted"] and time.monotonic() < deadline:
        gdb.execute("continue", to_string=True)
        thread = gdb.selected_thread()
        if thread is None or not thread.is_valid():
            break
        pc = register("rip")
        if pc in enters:
            into_go.setdefault(thread.ptid[1], []).append(c_part())
            into_go[thread.ptid[1]] = into_go[thread.ptid[1]][-8:]
        elif pc in hooks:
            found.append(
                {
                    "hook": pc,
                    "c": c_part(),
                    "go": go_part(),
                    "outer": into_go.get(thread.ptid[1], []),
                }
            )
            # Not always the next one: others have stacks too.
            hooks[pc].ignore_count = generator.randrange(ORDER["skip"])
    for one in (*hooks.values(), *enters.values()):
        one.delete()
    return found


answer = {"error": None, "stacks": []}
try:
    answer["stacks"] = main()
except Exception:  # noqa: BLE001  (told to whoever ordered; gdb must still let the process go)
    answer["error"] = traceback.format_exc()
Path(ORDER["answer"]).write_text(json.dumps(answer))
gdb.execute("detach")
