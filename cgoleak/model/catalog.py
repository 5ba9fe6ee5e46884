"""The words for every verdict, cause and notice, said once.

Terminal, JSON readers, CI formats and ``cgoleak explain`` all take their words from here, so that
they say the same. A test reads the package for notice codes: each has its entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from cgoleak.model.report import Cause, Verdict
from cgoleak.model.sheetwords import PLAIN_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CAUSES", "NOTICES", "TERMS", "VERDICTS", "Entry", "explain", "similar_words"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one word means.

    Attributes:
        label: how reports print it.
        meaning: what it says.
        decided: what it is decided from, or None for a plain term.
        action: what to do about it, or None if nothing is to be done.
    """

    label: str
    meaning: str
    decided: str | None = None
    action: str | None = None


VERDICTS: Final[Mapping[Verdict, Entry]] = MappingProxyType(
    {
        Verdict.NATIVE_LEAK: Entry(
            label="NATIVE LEAK",
            meaning="Blocks that this site allocates are not freed, and they accumulate.",
            decided="Outstanding bytes grow over the whole window and over several GC cycles, old "
            "blocks survive, and what this site freed does not keep pace.",
            action="Follow the stack to the function that owns the block and free it there.",
        ),
        Verdict.SUSPECT: Entry(
            label="SUSPECT",
            meaning="It looks like a leak, but the evidence is thin.",
            decided="Growth is there, but the window is short, the blocks are few, GC cycles are "
            "missing, or parts of the measurement were lost.",
            action="Measure longer and under load: --duration 5m.",
        ),
        Verdict.GO_HELD: Entry(
            label="go-held",
            meaning="Go objects own these blocks: a finalizer or cleanup frees them after a GC.",
            decided="Of the blocks that nobody freed explicitly, the finalizer or cleanup "
            "goroutine freed a good part.",
            action="Not a leak. If it is too much, free explicitly (Close) or run the GC oftener: "
            "Go does not see the size of C memory.",
        ),
        Verdict.BOUNDED: Entry(
            label="bounded",
            meaning="Memory is outstanding but does not grow: a cache, a pool, work in progress.",
            decided="Outstanding bytes are level at the end of the window, or blocks are freed at "
            "the rate at which they are allocated.",
        ),
        Verdict.SUPPRESSED: Entry(
            label="suppressed",
            meaning="A suppression names this site.",
            decided="A line of a suppression file matches a frame of its stack.",
        ),
    }
)

CAUSES: Final[Mapping[Cause, Entry]] = MappingProxyType(
    {
        Cause.NATIVE_LEAK: Entry(
            label="NATIVE LEAK",
            meaning="C allocations accumulate at named sites; the GC cannot free them.",
            decided="At least one site has the verdict native-leak.",
            action="Fix the sites that the report lists, the fastest growing first.",
        ),
        Cause.GO_HELD: Entry(
            label="GO-HELD C MEMORY",
            meaning="C memory owned by Go objects that wait for a finalizer or cleanup.",
            decided="Growth is at sites whose blocks the finalizer or cleanup goroutine frees.",
            action="Free explicitly, or make the GC run oftener (GOGC, GOMEMLIMIT).",
        ),
        Cause.GO_HEAP: Entry(
            label="GO HEAP GROWTH",
            meaning="The live Go heap grows.",
            decided="Go heap in use grows over GC cycles, and C memory does not.",
            action="See who keeps these objects. Where the program serves net/http/pprof: go tool "
            "pprof http://HOST/debug/pprof/heap; else pprof.WriteHeapProfile.",
        ),
        Cause.GO_RETAINED: Entry(
            label="GO-RETAINED",
            meaning="Go's heap is free or garbage, and still resident; it will be handed back.",
            decided="The Go heap holds free spans that its scavenger has not returned yet, or Go "
            "stopped allocating and has not collected since: then what is in use may be garbage "
            "or alive, which the next GC tells.",
            action="Nothing to fix. If the peak is too high: GOMEMLIMIT at 80 to 90 % of the "
            "container's limit, set at the start.",
        ),
        Cause.ALLOCATOR_RETAINED: Entry(
            label="ALLOCATOR-RETAINED",
            meaning="C freed this memory; malloc keeps it (arenas, fragmentation, caches).",
            decided="The heap of malloc is resident, and few of its blocks are outstanding.",
            action="To have glibc keep less: start with MALLOC_ARENA_MAX=2, or call "
            "C.malloc_trim(0) from Go after a peak.",
        ),
        Cause.RESTART: Entry(
            label="RESTART",
            meaning="The process ended and another took its place: no memory was freed.",
            decided="Pid or start time changed while the executable stayed.",
            action="Find out who ended it, and measure from the beginning: cgoleak watch --exe "
            "PATH --attach-on-growth 1MiB/s, or cgoleak run -- COMMAND.",
        ),
        Cause.OTHER: Entry(
            label="OTHER MEMORY",
            meaning="Stacks, mappings or files grow, rather than the Go heap or malloc.",
            decided="The balance sheet leaves the growth to parts other than heap and malloc.",
            action="See which line of the balance sheet grew, and which mappings: pmap -x PID",
        ),
        Cause.STABLE: Entry(
            label="STABLE",
            meaning="No growth worth the name in this window.",
            decided="Neither RSS nor outstanding C memory grew.",
            action="Nothing now. If it grows at other times, measure then: cgoleak attach PID "
            "--duration 10m",
        ),
        Cause.UNKNOWN: Entry(
            label="NOT ENOUGH EVIDENCE",
            meaning="What was measured does not allow an answer; a notice says what is missing.",
            decided="Too few snapshots, too few GC cycles, or too many losses.",
            action="Measure longer, and while the memory grows.",
        ),
    }
)

NOTICES: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "allocator.partial": Entry(
            label="allocator.partial",
            meaning="The C allocator holds so many free chunks that not all of them were looked "
            "at: its slack is at least what is shown, and native memory from before the attach "
            "at most.",
        ),
        "allocator.unknown": Entry(
            label="allocator.unknown",
            meaning="What the C allocator holds free could not be read; the balance sheet shows "
            "its memory as one line with other native memory. Only glibc's malloc is read.",
        ),
        "capture.cut": Entry(
            label="capture.cut",
            meaning="The disk refused the capture before the measurement was over: the file ends "
            "there, and the report has all of it.",
            action="Make room, or write the capture elsewhere.",
        ),
        "capture.unfinished": Entry(
            label="capture.unfinished",
            meaning="The recorder was killed before it could close the capture; what it had "
            "stored is shown.",
            action="End a measurement with Ctrl-C or --duration, not with SIGKILL.",
        ),
        "closing.no-go-heap": Entry(
            label="closing.no-go-heap",
            meaning="When the command ended, Go's heap could not be read object by object, so that "
            "what dead Go objects still mention counts as in use: leaks may be missed.",
            action="Keep the symbols: go test -ldflags='-s=false -w=false'. Known are Go 1.21 to "
            "1.27 on amd64.",
        ),
        "closing.not-looked": Entry(
            label="closing.not-looked",
            meaning="Who still had pointers to the outstanding blocks when the command ended could "
            "not be found out. Sites are judged by growth alone.",
            action="SIGKILL leaves no time to look; a very large process takes too long.",
        ),
        "go.assumed-profile-rate": Entry(
            label="go.assumed-profile-rate",
            meaning="How often Go samples its heap (runtime.MemProfileRate) could not be read, so "
            "that bytes of Go functions are scaled up as for the default, 512 KiB.",
            action="Nothing, unless the program sets the rate; then do not strip it.",
        ),
        "go.no-heap-profile": Entry(
            label="go.no-heap-profile",
            meaning="Go's own heap profile cannot be read, so that growth of the Go heap is not "
            "assigned to Go functions.",
            action="Import net/http/pprof or runtime/pprof in the program, which switches the "
            "profile on.",
        ),
        "go.no-memory-numbers": Entry(
            label="go.no-memory-numbers",
            meaning="The Go runtime's memory numbers could not be read or did not pass their "
            "checks; the lines of the balance sheet that need them are missing.",
            action="Report it with the Go version and how the program was linked.",
        ),
        "go.no-stacks": Entry(
            label="go.no-stacks",
            meaning="The Go part of stacks could not be followed; sites show their C part only.",
            action="Use a newer cgoleak, or report it with the Go version and how the program "
            "was linked.",
        ),
        "memory.huge-pages": Entry(
            label="memory.huge-pages",
            meaning="The kernel put huge pages where Go had handed single pages back, so that they "
            "are resident again.",
            decided="Go's arenas hold more resident memory than Go has in use and free, and huge "
            "pages.",
            action="Set /sys/kernel/mm/transparent_hugepage/enabled to madvise, or lower "
            "khugepaged/max_ptes_none.",
        ),
        "memory.lazily-freed": Entry(
            label="memory.lazily-freed",
            meaning="Part of RSS was given up with MADV_FREE; the kernel takes it only when it is "
            "short of memory, so that RSS looks higher than it needs to be.",
            action="With Go: GODEBUG=madvdontneed=1, which is the default since Go 1.16.",
        ),
        "memory.swapped": Entry(
            label="memory.swapped",
            meaning="Part of the process is in swap space and not in RSS.",
            action="Look at RSS and swap together.",
        ),
        "pairs.direct": Entry(
            label="pairs.direct",
            meaning="Functions that were named with --pair are called directly within the module "
            "that has them, which no slot carries: their handles are not counted. Their "
            "memory is.",
            action="Link the library dynamically, or name functions that other modules call.",
        ),
        "pairs.dropped": Entry(
            label="pairs.dropped",
            meaning="Handles found no room in the probe's table; the numbers of their kinds are "
            "too low by as much.",
            action="Measure a shorter time, or name fewer kinds.",
        ),
        "pairs.one-sided": Entry(
            label="pairs.one-sided",
            meaning="Handles are made through a slot and given up by direct calls, which are not "
            "seen. All of them would look lost, so that they are not counted.",
            action="Link the library dynamically in all of the program.",
        ),
        "pairs.sampled": Entry(
            label="pairs.sampled",
            meaning="While blocks are sampled it is not seen that a library has freed a handle's "
            "memory without its destroy function; such a handle counts on.",
            action="Follow every block with --exact.",
        ),
        "pairs.threads-ended": Entry(
            label="pairs.threads-ended",
            meaning="Threads have ended that nobody joined, and that were not detached. The C "
            "library keeps what such a thread returned, and its stack with it, until somebody "
            "asks. How many it is at least is told by how many threads there are.",
            action="Call pthread_join or pthread_detach once for each.",
        ),
        "pairs.too-many": Entry(
            label="pairs.too-many",
            meaning="More kinds of handles, or functions of them, were named than the probe has "
            "room for.",
            action="Name only the kinds that matter.",
        ),
        "pairs.unreadable": Entry(
            label="pairs.unreadable",
            meaning="Which handles need not be given up, such as threads that are detached from "
            "their beginning, stands in a structure of the C library. Where is told by the code "
            "of a function of its own, and here it was not understood, so that the kind is left "
            "out.",
            action="Report the C library and its version.",
        ),
        "pairs.unknown": Entry(
            label="pairs.unknown",
            meaning="No loaded module has the functions that were named with --pair. A library "
            "that is loaded later is looked at when it comes.",
            action="Look at the names: nm -D --defined-only LIBRARY.",
        ),
        "probe.code-changed": Entry(
            label="probe.code-changed",
            meaning="After the detach, code of the process differs from what it was at the "
            "attach. What cgoleak had written (probe.calls-taken) is back, so that another tool "
            "or the program itself did.",
            action="Look for other tools that patch the process.",
        ),
        "probe.dropped-blocks": Entry(
            label="probe.dropped-blocks",
            meaning="Blocks found no room in the probe's table and are not counted: the numbers "
            "of the sites are too low by as much.",
            action="Measure a shorter time.",
        ),
        "probe.overhead": Entry(
            label="probe.overhead",
            meaning="The hooks took more of the target's CPU time than --max-overhead allows, so "
            "that from some moment on only a sample of the blocks was followed; the numbers are "
            "estimates, each with its interval.",
            decided="Events per second times the nanoseconds that the probe measured on some of "
            "them, against the CPU time of the process, twice in a row.",
            action="Nothing, or allow more: --max-overhead 20; --exact follows every block.",
        ),
        "probe.above-limit": Entry(
            label="probe.above-limit",
            meaning="The hooks took more of the target's CPU time than --max-overhead allows, and "
            "fewer samples would not have helped: either they would be too few for a verdict, or "
            "most of the cost is that of passing blocks over, which is the same at every rate.",
            decided="Of a leak of 16 KiB a second, 40 samples at least are taken until the end of "
            "the window; a step to fewer must save a tenth of the cost.",
            action="Allow more: --max-overhead 20; or measure longer, which allows fewer samples.",
        ),
        "probe.memory-limit": Entry(
            label="probe.memory-limit",
            meaning="The memory cgroup of the process was nearly full, and what the probe writes "
            "counts there too. The hooks were taken out before the kernel would have killed the "
            "process; the numbers are those up to then.",
            decided="Less than 8 MiB between the limit and what is used without file pages that "
            "can be dropped, of the narrowest cgroup around the process.",
            action="Raise the limit, or watch the process without hooks: cgoleak watch.",
        ),
        "probe.sampled": Entry(
            label="probe.sampled",
            meaning="A sample of the blocks was followed, chosen by bytes, because --sample asked "
            "for it; the numbers are estimates, each with its interval.",
            action="Follow every block with --exact.",
        ),
        "probe.dropped-stacks": Entry(
            label="probe.dropped-stacks",
            meaning="Stacks found no room in the probe's table; their blocks are counted under "
            "one site without frames.",
            action="Measure a shorter time.",
        ),
        "probe.late-library": Entry(
            label="probe.late-library",
            meaning="Libraries were loaded and used before their calls could be taken over; their"
            " first blocks are not seen.",
        ),
        "probe.loader-left": Entry(
            label="probe.loader-left",
            meaning="The pages through which the probe came in stay mapped in the process, inert.",
        ),
        "probe.module-unreadable": Entry(
            label="probe.module-unreadable",
            meaning="The file of a loaded library cannot be read any more, so that its calls of "
            "malloc and free are not seen.",
            action="Keep files in place while the process runs, or restart it after an update.",
        ),
        "probe.not-gone": Entry(
            label="probe.not-gone",
            meaning="The probe did not answer when it was asked to leave, usually since the "
            "process is stopped. It gives its slots back by itself as soon as it runs "
            "again.",
            action="Let the process run: kill -CONT PID.",
        ),
        "probe.tables-left": Entry(
            label="probe.tables-left",
            meaning="When the hooks went out, a thread was still inside one and did not come out "
            "within two seconds. The probe's tables stay in the target so that it finds them.",
            action="Nothing: the next attach, or the end of the process, takes them away.",
        ),
        "run.still-running": Entry(
            label="run.still-running",
            meaning="cgoleak was asked to stop, asked the command to end (SIGTERM), and did not "
            "wait longer than half a minute.",
            action="End the command yourself.",
        ),
        "probe.calls-taken": Entry(
            label="probe.calls-taken",
            meaning="The process's malloc is linked into the program, or into a library, which "
            "calls it directly. Those calls were taken over where they are made: the distance "
            "in each call instruction was rewritten while all threads stood still, and put back "
            "at the end.",
        ),
        "probe.calls-unseen": Entry(
            label="probe.calls-unseen",
            meaning="The process's malloc is linked into the program, or into a library, and some "
            "of the direct calls there could not be taken over. What is allocated there is not "
            "seen, and what others allocate and it frees looks lost.",
            action="Keep the file of the running program in place, built with unwind tables; or "
            "link the allocator as a library.",
        ),
        "probe.calls-left": Entry(
            label="probe.calls-left",
            meaning="At the end the target's threads could not be stopped. Calls that were taken "
            "over still go through the probe, which passes them on to the allocator.",
            action="Attach again for a moment: the end of that puts them back.",
        ),
        "probe.slots-changed": Entry(
            label="probe.slots-changed",
            meaning="After the detach, call paths differ from what they were at the attach: "
            "something else changed them meanwhile.",
            action="Look for other tools that hook the process.",
        ),
        "probe.slots-foreign": Entry(
            label="probe.slots-foreign",
            meaning="Call paths were left alone since they lead neither to the known allocator "
            "nor to its lazy binding: another tool holds them. Blocks from there are not "
            "seen.",
            action="Detach the other tool, or start the program without its LD_PRELOAD.",
        ),
        "probe.truncated-stacks": Entry(
            label="probe.truncated-stacks",
            meaning="Stacks could not be followed to their outer end; they may be parted into "
            "more sites than there are, and some lack their Go part.",
            action="Build C code with unwind tables (-fasynchronous-unwind-tables, the default "
            "on x86-64).",
        ),
        "symbols.missing-file": Entry(
            label="symbols.missing-file",
            meaning="A mapped file could not be read, so that its functions have no names.",
            action="Measure on the machine, and in the container, where the file is.",
        ),
        "symbols.not-sealed": Entry(
            label="symbols.not-sealed",
            meaning="No names could be put to the addresses; all numbers are good.",
            action="Report it with the text of the notice.",
        ),
        "symbols.stripped": Entry(
            label="symbols.stripped",
            meaning="A file is stripped: functions that it does not export have no names.",
            action="Install its debug symbols, or build it without -s and strip.",
        ),
        "symbols.no-dwarf": Entry(
            label="symbols.no-dwarf",
            meaning="A file has no debug information: its C functions have names but no lines.",
            action="Install the library's debug package, or build with -g and without -s -w.",
        ),
        "target.ended": Entry(
            label="target.ended",
            meaning="The process ended while it was being measured; the report has what was "
            "counted until then.",
            action="If it was not meant to end, look at the reason that is given; cgoleak watch "
            "--exe PATH follows those that come after it.",
        ),
        "watch.ended": Entry(
            label="watch.ended",
            meaning="The process that was watched has ended, and no successor was seen.",
            action="Watch by program, so that it is found whenever it is started: "
            "cgoleak watch --exe PATH",
        ),
        "watch.not-attached": Entry(
            label="watch.not-attached",
            meaning="Native memory grew by the rate that was given, but the process could not be "
            "measured with hooks; the notice says why. Watching went on.",
            action="See what stands in the way: cgoleak doctor PID",
        ),
        "watch.restart-loop": Entry(
            label="watch.restart-loop",
            meaning="The process was restarted so often that watching it further tells nothing.",
            action="Find out why it ends: the report lists the reasons.",
        ),
        "watch.several": Entry(
            label="watch.several",
            meaning="Several processes ran the program that was to be watched; the one that was "
            "started last was taken.",
            action="Name the one that is meant by its pid: cgoleak ps",
        ),
        "watch.totals-only": Entry(
            label="watch.totals-only",
            meaning="The kernel refuses to let this user read the memory of the process; only its "
            "totals are seen, neither Go's numbers nor the balance sheet.",
            action="Run cgoleak as root, or as the user of the process: cgoleak doctor PID",
        ),
        "verdict.thin-evidence": Entry(
            label="verdict.thin-evidence",
            meaning="There is not enough evidence to name a cause; the notice says what is "
            "missing.",
            action="Measure longer, and under load: --duration 5m.",
        ),
    }
)

TERMS: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "handle": Entry(
            label="handle",
            meaning="What a create function of a library gives and a destroy function takes: a "
            "statement, a document, a connection. With --pair it is counted beside the blocks.",
        ),
        "exact": Entry(
            label="exact",
            meaning="Every block was followed: sizes and numbers are counts.",
        ),
        "sampled": Entry(
            label="sampled",
            meaning="A random part of the blocks was followed, larger ones more often: sizes and "
            "numbers are estimates, each with its interval.",
            action="Follow every block with --exact, if the process can bear the cost.",
        ),
        "watch": Entry(
            label="watch",
            meaning="The process was looked at from outside, without hooks: its parts are known "
            "over time, the sites that allocate are not.",
            action="Name the sites with: cgoleak attach PID",
        ),
        "rss": Entry(
            label="RSS",
            meaning="Resident set size: pages of the process that are in RAM now. It is what the "
            "OOM killer and container limits count, apart from the page cache.",
        ),
        "vsz": Entry(
            label="VSZ",
            meaning="Virtual size: all addresses that the process has reserved. Go and glibc "
            "reserve far more than they use, so that it says nothing of a leak.",
        ),
        "retention": Entry(
            label="retention",
            meaning="Memory that is free to its allocator but still resident: the Go scavenger "
            "hands it back by and by, malloc often not at all. It is not a leak, since the next "
            "allocations use it.",
        ),
        "scavenger": Entry(
            label="scavenger",
            meaning="The part of Go's runtime that hands free heap memory back to the kernel. It "
            "works in the background with 1 % of a CPU, and leaves a tenth of the heap as a "
            "buffer. Since Go 1.21 densely used memory waits for one more garbage collection; an "
            "idle process has one every two minutes.",
            action="To have RSS fall at once, once: debug.FreeOSMemory(). To bound it: GOMEMLIMIT.",
        ),
        "arena": Entry(
            label="arena",
            meaning="A large piece of address space that an allocator hands out in parts. Go's "
            "heap has arenas of 64 MiB, of which only used pages are resident. glibc's malloc "
            "has up to eight per CPU, one for each thread that allocates at the same time; what "
            "is freed in one stays there for its threads.",
            action="Where glibc's arenas hold too much: MALLOC_ARENA_MAX=2.",
        ),
        "freeosmemory": Entry(
            label="debug.FreeOSMemory()",
            meaning="A call of Go's runtime/debug: it collects garbage and hands all free heap "
            "memory back to the kernel at once, the buffer too. It tells retention from a native "
            "leak: what RSS loses was held by Go, what stays was not.",
            action="Good for a test; as a habit it costs CPU time, since the memory comes back.",
        ),
        "outstanding": Entry(
            label="outstanding",
            meaning="Allocated since attach and not freed yet. What was allocated before the "
            "attach is not counted, since cgoleak did not see it.",
        ),
        "site": Entry(
            label="site",
            meaning="The code that allocates: its stack by function names, without lines and "
            "addresses, so that it stays the same over rebuilds.",
        ),
        "block": Entry(label="block", meaning="One native allocation that is not freed yet."),
        "balance": Entry(
            label="balance",
            meaning="The sheet that explains RSS part by part; what cannot be explained is "
            "printed as such.",
        ),
        "slack": Entry(
            label="allocator slack",
            meaning="What malloc holds beyond the blocks in use: free lists, arenas, headers, "
            "fragments.",
        ),
        "oldest": Entry(
            label="oldest",
            meaning="Age of the oldest outstanding block of a site, counted from its allocation.",
        ),
        "growth": Entry(
            label="growth",
            meaning="How fast the outstanding bytes of a site grow, over the whole window.",
        ),
    }
)


def explain(word: str) -> tuple[Entry, ...]:
    """Return the entries for a word, whatever its case; empty if there is none.

    There may be several: ``native-leak`` is both a verdict and a cause.
    """
    key = _key(word)
    return tuple(dict.fromkeys(table[key] for table in _tables() if key in table))


def similar_words(word: str) -> tuple[str, ...]:
    """Return known words that are spelled alike, best first."""
    known = list(dict.fromkeys(key for table in _tables() for key in table))
    return tuple(get_close_matches(word.strip().lower(), known, n=3))


def _tables() -> tuple[Mapping[str, Entry], ...]:
    return (
        {str(verdict): entry for verdict, entry in VERDICTS.items()},
        {str(cause): entry for cause, entry in CAUSES.items()},
        NOTICES,
        TERMS,
        _sheet_lines(),
    )


def _sheet_lines() -> Mapping[str, Entry]:
    """Give the lines of the balance sheet; a term of the same label says more."""
    lines = {line: Entry(line, meaning) for line, meaning in PLAIN_WORDS.items()}
    lines |= {term.label: term for term in TERMS.values() if term.label in lines}
    return {_key(line): entry for line, entry in lines.items()}


def _key(word: str) -> str:
    return word.strip().lower().replace("_", "-").replace(" ", "-")
