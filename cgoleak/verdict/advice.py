"""What to do about a finding, from its verdict and from what is on its stack."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.model.frames import Language
from cgoleak.model.golibrary import go_package, is_dependency, own_go_frame
from cgoleak.model.names import brief_name
from cgoleak.model.ownership import (
    allocating_frame,
    c_callers,
    innermost_go,
    is_cpp_library,
    is_plumbing,
)
from cgoleak.model.report import Verdict
from cgoleak.units import format_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.frames import Frame

__all__ = ["advice_for"]

_GO_CALLS: Final = {
    "CString": "C.CString",
    "CBytes": "C.CBytes",
    "_CMalloc": "C.malloc",
    "_Cmalloc": "C.malloc",
    "malloc": "C.malloc",
}
"""End of cgo's stub (``main._Cfunc_CString``, ``_cgo_…_Cfunc__Cmalloc``) → what Go code wrote."""

_LIBC_GIVES: Final = {
    "strdup": ("", "free"),
    "strndup": ("", "free"),
    "vasprintf": ("*strp", "free"),
    "asprintf": ("*strp", "free"),
    "getline": ("*lineptr", "free"),
    "getdelim": ("*lineptr", "free"),
    "realpath": ("", "free"),
    "open_memstream": ("*ptr", "free"),
    "getaddrinfo": ("*res", "freeaddrinfo"),
    "fopen": ("", "fclose"),
    "fdopen": ("", "fclose"),
    "file_doallocate": ("", "fclose"),
    "fmemopen": ("", "fclose"),
    "tmpfile": ("", "fclose"),
    "popen": ("", "pclose"),
    "opendir": ("", "closedir"),
    "fdopendir": ("", "closedir"),
    "getifaddrs": ("*ifap", "freeifaddrs"),
    "if_nameindex": ("", "if_freenameindex"),
    "glob": ("*pglob", "globfree"),
    "wordexp": ("*p", "wordfree"),
    "regcomp": ("*preg", "regfree"),
    "regexec": ("*preg", "regfree"),
    "newlocale": ("", "freelocale"),
    "duplocale": ("", "freelocale"),
    "iconv_open": ("", "iconv_close"),
    "getcwd": ("", "free"),
    "get_current_dir_name": ("", "free"),
    "canonicalize_file_name": ("", "free"),
    "wcsdup": ("", "free"),
}
"""Function of libc → the argument through which it gives memory, empty where it returns it; and
what takes it back. A stream's buffer is made at its first use, and belongs to the stream; what
``regexec`` makes belongs to what ``regcomp`` compiled."""
_COPIES: Final = frozenset({"strdup", "strndup", "wcsdup"})
"""Those that allocate once and resize nothing: where some were freed, somebody did that."""
_STREAM_BUFFER: Final = "file_doallocate"
_MEMORY_STREAM: Final = {"mem_finish": "open_memstream", "wmem_finish": "open_wmemstream"}
"""What ``fclose`` calls to give the buffer of such a stream its last size → who gave it."""
_CONTAINER: Final = re.compile(
    r"\bstd::(?:__cxx11::)?"
    r"(?:vector|deque|list|map|multimap|set|multiset|unordered_\w+|_Rb_tree|_Hashtable)<"
)
_FILLS: Final = re.compile(
    r"::(?:push_\w+|emplace\w*|insert\w*|operator\[\]|resize|reserve|_M_realloc_\w+"
    r"|_M_\w*append|_M_insert\w*|_M_emplace\w*)(?:<|\()"
)
"""Members of C++ containers that make room for more."""
_LIBC_MARKS: Final = re.compile(r"^_+(?:GI_+)?(?:IO_)?(?:new_)?|_internal$")
"""What glibc puts around the names of its functions: aliases for itself, versions."""


class _Words(NamedTuple):
    """What is said of memory by where it comes from."""

    blocks: str
    makes: str
    free: str
    freed: str


_LONGER: Final = "Measure longer, under load (--duration 2m). If it goes on:"
_PAST_GC: Final = (
    "Measure until the GC has run (Go forces one every two minutes: --duration 5m). If it goes on:"
)
_BLOCKS: Final = _Words("blocks", "allocates", "free", "freed")
_MAPPINGS: Final = _Words("mappings", "maps", "munmap", "unmapped")


def advice_for(
    verdict: Verdict,
    frames: Sequence[Frame],
    *,
    infrastructure: str | None,
    freed: float | None = None,
    maps: bool = False,
    larger: bool = False,
    passing: bool = False,
    threads: bool = False,
    cleaned: bool = False,
    unheld: bool = False,
    owned: bool = False,
) -> str:
    """Give one or two sentences.

    ``frames`` are leaf first, ``freed`` is the share of blocks, if known; ``maps``: the blocks are
    mappings, which ``free`` must not be given; ``larger``: they are few, and made ever larger;
    ``passing``: each is freed in the end, and ever more are in use at a time; ``threads``: the
    process has gained as many threads; ``cleaned``: those that were freed, finalizers or cleanups
    freed; ``unheld``: and Go holds no more objects that have one; ``owned``: none was freed, and
    such objects seem to own them.
    """
    if owned and verdict in (Verdict.NATIVE_LEAK, Verdict.SUSPECT) and not infrastructure:
        return _held_in_go(verdict, frames)
    if cleaned and verdict in (Verdict.NATIVE_LEAK, Verdict.SUSPECT) and not infrastructure:
        return _unblock(frames) if unheld else _let_go(frames)
    match verdict:
        case Verdict.NATIVE_LEAK:
            return _end_threads(frames) if threads else _fix(frames, freed, maps=maps)
        case Verdict.SUSPECT if infrastructure:
            return (
                f"This memory comes with {infrastructure}: look at whether threads or library "
                "handles are made and never given up."
            )
        case Verdict.SUSPECT if larger or passing:
            return f"{_LONGER} {_limit(frames) if larger else _queue(frames)}"
        case Verdict.SUSPECT:
            fix = _end_threads(frames) if threads else _fix(frames, freed, maps=maps)
            return f"{_LONGER} {fix}"
        case Verdict.GO_HELD:
            return (
                f"Free explicitly (Close, Free) what {_go(frames)} makes when it is done with"
                f"{_whoever_asked(frames)}; finalizer or cleanup stay as a backstop, since the GC "
                "does not see C memory."
            )
        case Verdict.BOUNDED:
            return "Nothing to do."
        case Verdict.SUPPRESSED:
            return "Muted by a suppression; remove that line to see it judged."


def _held_in_go(verdict: Verdict, frames: Sequence[Frame]) -> str:
    return f"{_PAST_GC} {_let_go(frames)}" if verdict is Verdict.SUSPECT else _let_go(frames)


def _let_go(frames: Sequence[Frame]) -> str:
    return (
        f"{_close(frames)} when it is done with, and "
        "look for what in Go still holds it (a map, a list, a goroutine)."
    )


def _unblock(frames: Sequence[Frame]) -> str:
    return (
        f"{_close(frames)} when it is done with. Go holds hardly more owners than before: see "
        "in a goroutine profile whether a finalizer or cleanup blocks, and whether each object has "
        "one."
    )


def _close(frames: Sequence[Frame]) -> str:
    taken = _from_module(frames)
    return f"Close {taken}" if taken else f"Free explicitly (Close, Free) what {_go(frames)} makes"


def _whoever_asked(frames: Sequence[Frame]) -> str:
    """Name who called the Go function that allocates: it often makes the object for others."""
    maker = innermost_go(frames)
    asked = None
    if maker is not None:
        package = maker.function
        outer = [one for one in frames[frames.index(maker) + 1 :] if one.function != package]
        asked = own_go_frame(outer)
    return "" if asked is None else f", in {_place(asked)} for one"


def _fix(frames: Sequence[Frame], freed: float | None, *, maps: bool) -> str:
    call = _go_allocation(frames)
    if call is not None and freed:
        return (
            f"{format_percent(freed)} of what {call} returns in {_go(frames)} was freed, so some "
            "path leaves it out (early return, error, an entry that is replaced): call "
            "C.free(unsafe.Pointer(p)) there."
        )
    if call is not None:
        return (
            f"The caller owns what {call} returns: call C.free(unsafe.Pointer(p)) in {_go(frames)} "
            "once C no longer needs it (defer, if it is done by the return)."
        )
    required = _by_way_of_module(frames)
    if required is not None:
        return required
    leaf = allocating_frame(frames)
    inner = [frame.function for frame in frames[: frames.index(leaf)]] if leaf else []
    where = _place(leaf) if leaf else "the allocating function"
    if leaf is not None and leaf.lang is Language.GO:
        where = _called_in_c(frames) or where
    if maps:
        return _find_owner(frames, where, _caller(frames), freed, _MAPPINGS)
    if _is_callback(frames):
        return (
            f"Free what {where} allocates; it runs in a callback from C to Go and back, by way of "
            f"{_go(frames)}: decide which side owns the memory."
        )
    caller = _caller(frames)
    fix = _fix_c(inner, where, f" from {caller}" if caller else "", freed)
    return fix or _find_owner(frames, where, caller, freed, _BLOCKS)


def _called_in_c(frames: Sequence[Frame]) -> str:
    """Name what Go called where that left no frame: its last act was to call the allocator."""
    inner = takewhile(lambda frame: frame.lang is not Language.GO, frames)
    parts = [one.function.rpartition("_Cfunc_") for one in inner if is_plumbing(one)]
    stubs = [name for _, stub, name in parts if stub]
    return f"C.{stubs[-1]}" if stubs else ""


def _limit(frames: Sequence[Frame]) -> str:
    """Say what to look for where nothing is lost, but a buffer is never emptied."""
    leaf = allocating_frame(frames)
    where = _place(leaf) if leaf else "the allocating function"
    users = " ← ".join(map(_place, c_callers(frames))) or _caller(frames)
    return (
        f"{where} makes a buffer ever larger{f' for {users}' if users else ''}: find who should "
        "empty or limit it."
    )


def _queue(frames: Sequence[Frame]) -> str:
    """Say what to look for where everything is freed, but ever more is in use at a time."""
    leaf = allocating_frame(frames)
    where = _place(leaf) if leaf else "the allocating function"
    users = " ← ".join(map(_place, c_callers(frames))) or _caller(frames)
    return (
        "Look for a queue without a limit that falls behind, or for rising load: what "
        f"{where} makes{f' for {users}' if users else ''} is freed in the end, but ever more of it "
        "is in use at a time."
    )


def _end_threads(frames: Sequence[Frame]) -> str:
    """Say what to look for where the process has as many more threads as blocks."""
    leaf = allocating_frame(frames)
    where = _place(leaf) if leaf else "the allocating function"
    return (
        "As many threads have come and not ended: find out what they wait for, who should end "
        f"them, and whether calls into C return; what {where} makes may go with them."
    )


def _caller(frames: Sequence[Frame]) -> str:
    return _go(frames) if innermost_go(frames) else ""


def _by_way_of_module(frames: Sequence[Frame]) -> str | None:
    """Say where to look if a module that the program requires made the call into C."""
    taken = _from_module(frames)
    if not taken:
        return None
    return (
        f"Close {taken} (Close, Free, Destroy; with "
        "defer) once it is done with; if that is done already, the leak is in that module."
    )


def _from_module(frames: Sequence[Frame]) -> str:
    """Name what the program's own code got from a module, if one made the call into C."""
    frame, owner = innermost_go(frames), own_go_frame(frames)
    if frame is None or owner is None or not is_dependency(frame):
        return ""
    return f"what {_place(owner)} gets from {go_package(frame)}"


def _fix_c(inner: Sequence[str], where: str, caller: str, freed: float | None) -> str | None:
    """Choose by the functions between the user's code and the allocator, leaf first."""
    if any(name.startswith("operator new[]") for name in inner):
        return f"Give the array made in {where} to delete[], or hold it in a std::vector."
    if any("std::shared_ptr<" in name or "_Sp_counted" in name for name in inner):
        return (
            f"What {where} makes is owned by std::shared_ptr: find who still holds one (a "
            "container; two objects that hold each other, which std::weak_ptr in one of them ends)."
        )
    fills = any(_CONTAINER.search(name) and _FILLS.search(name) for name in inner)
    if fills or any(is_cpp_library(name) and not name.startswith("operator") for name in inner):
        return _delete_owner(where, caller, freed, fills=fills)
    if freed and any(name.startswith("operator new") for name in inner):
        return (
            f"{format_percent(freed)} of these objects were deleted, so some path leaves it out "
            f"(an exception, an early return): hold what {where} makes in a std::unique_ptr."
        )
    if any(name.startswith("operator new") for name in inner):
        return (
            f"Delete the object made in {where}, or hold it in a std::unique_ptr; "
            f"the C function that deletes it has to be called{caller}."
        )
    # The outermost is what the program called: fgets goes through getline's inner part.
    plain = [_LIBC_MARKS.sub("", name) for name in reversed(inner)]
    plain = [_MEMORY_STREAM.get(name, name) for name in plain]
    given = next((name for name in plain if name in _LIBC_GIVES), None)
    if given in _COPIES and freed:
        return None  # its caller knows that already, on other paths
    if given is not None:
        return _give_back(given, where, caller)
    if "realloc" in where:
        return f"Keep what realloc returns in {where}, and free the last of it{caller}."
    return None


def _delete_owner(where: str, caller: str, freed: float | None, *, fills: bool) -> str:
    """Say how to be rid of what a C++ object holds.

    Where some of it was freed, the object is deleted on some path; of a vector that grows its
    earlier buffers were.
    """
    if freed and fills:
        return (
            f"A C++ container that {where} fills holds this memory, and {format_percent(freed)} of "
            "its like were freed: erase what is done with, and have the object that owns it "
            "deleted on every path (an exception, an early return)."
        )
    if freed:
        return (
            f"A C++ object that {where} makes holds this memory, and {format_percent(freed)} of "
            "its like were freed: have it deleted on every path (an exception, an early return), "
            "as std::unique_ptr does."
        )
    if fills:
        return (
            f"A C++ container that {where} fills holds this memory: erase what is done with, or "
            "have the object that owns it deleted (by a pointer to a base class only where the "
            "destructor is virtual)."
        )
    return (
        f"A C++ object that {where} makes holds this memory: have the C function that deletes "
        f"it called{caller}; if it is deleted, its destructor forgets this."
    )


def _give_back(given: str, where: str, caller: str) -> str:
    through, release = _LIBC_GIVES[given]
    gives = f"{given} leaves in {through}" if through else f"{given} returns"
    if given == _STREAM_BUFFER:
        gives = "fopen returns, and this buffer with it"
    does = "free it" if release == "free" else f"give it to {release}"
    return f"The caller owns what {gives}: {does} in {where}, or after its last use{caller}."


def _find_owner(
    frames: Sequence[Frame], where: str, caller: str, freed: float | None, words: _Words
) -> str:
    """Say whether these blocks are ever freed, and for whom a helper allocates them."""
    users = " ← ".join(map(_place, c_callers(frames))) or caller
    what = f"what {where} {words.makes}{f' for {users}' if users else ''}"
    free, freed_too = words.free, words.freed
    if freed is None:
        return f"Find who should {free} {what}, and have it {freed_too} there."
    if not freed:
        return (
            f"None of these {words.blocks} was {freed_too}: find who should {free} {what}, and "
            f"{free} it there."
        )
    return (
        f"{format_percent(freed)} of these {words.blocks} were {freed_too}, so some path leaves it "
        f"out (early return, error): {free} there {what}."
    )


def _go_allocation(frames: Sequence[Frame]) -> str | None:
    """Name the cgo helper if nothing of the user's C stands between it and the allocator."""
    found: str | None = None
    for frame in frames:
        if frame.lang not in (Language.BRIDGE, Language.RUNTIME):
            break
        _, stub, name = frame.function.rpartition("_Cfunc_")
        if stub and name in _GO_CALLS:
            found = _GO_CALLS[name]
    return found


def _is_callback(frames: Sequence[Frame]) -> bool:
    return any("_cgoexp_" in frame.function or frame.function == "crosscall2" for frame in frames)


def _go(frames: Sequence[Frame]) -> str:
    frame = innermost_go(frames)
    return "the Go code that called it" if frame is None else _place(frame)


def _place(frame: Frame) -> str:
    if frame.file is None:
        return brief_name(frame)
    line = "" if frame.line is None else f":{frame.line}"
    return f"{brief_name(frame)} ({frame.file.rpartition('/')[2]}{line})"
