"""A tree of files that looks like /proc, for readers that take ``root``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LIBC_LINE = (
    "7f5bb37e8000-7f5bb393e000 r-xp 00026000 fe:00 1201                       "
    "/usr/lib/x86_64-linux-gnu/libc.so.6"
)


def a_process(
    root: Path,
    pid: int,
    *,
    name: str = "worker",
    state: str = "S (sleeping)",
    tgid: int | None = None,
    uid: int = 0,
    tracer: int = 0,
    threads: int = 5,
    seccomp: int = 0,
    capabilities: int = 0,
    kernel_thread: bool = False,
    exe: Path | str | None = None,
    maps: str = "",
    readable_memory: bool = True,
) -> Path:
    """Make the directory of one process and return it."""
    folder = root / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True)
    memory = "" if kernel_thread or state[0] == "Z" else "VmSize:\t  2000 kB\nVmRSS:\t  1000 kB\n"
    (folder / "status").write_text(
        f"Name:\t{name}\nState:\t{state}\nTgid:\t{tgid or pid}\nPPid:\t1\nTracerPid:\t{tracer}\n"
        f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nNSpid:\t{pid}\t7\n{memory}"
        f"RssAnon:\t   600 kB\nRssFile:\t   300 kB\nRssShmem:\t   100 kB\nVmSwap:\t     8 kB\n"
        f"Threads:\t{threads}\nCapEff:\t{capabilities:016x}\nSeccomp:\t{seccomp}\n"
        f"Kthread:\t{int(kernel_thread)}\n"
    )
    letters = f"{pid} ({name}) {state[0]} 1 " + " ".join(str(n) for n in range(5, 22))
    (folder / "stat").write_text(f"{letters} 95739 0 0\n")
    (folder / "maps").write_text(maps)
    (folder / "cmdline").write_bytes(b"" if kernel_thread else b"./worker\0--port\x008080\0")
    if exe is not None:
        (folder / "exe").symlink_to(exe)
        (folder / "root").symlink_to("/")
    if readable_memory:
        (folder / "mem").touch()
    return folder
