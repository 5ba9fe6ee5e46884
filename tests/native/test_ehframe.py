"""The unwind rules of probes/ehframe.c: against readelf, on hand-made tables, on hostile ones."""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.native

HERE = Path(__file__).parent
PROBES = HERE.parents[1] / "probes"
X86_64 = platform.machine() == "x86_64"
HDR_AT = 0x10000000
FRAME_AT = 0x20000000
FREESTANDING = (
    "-std=c11",
    "-fPIC",
    "-ffreestanding",
    "-nostdlib",
    "-fno-stack-protector",
    "-fno-jump-tables",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wpedantic",
)


def run(*command: object, text: str = "", env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "LC_ALL": "C", **(env or {})},
    )
    assert done.returncode == 0, f"{command}: {(done.stderr or done.stdout)[-2000:]}"
    return done.stdout


def tool(*names: str) -> str:
    """Return the first of these programs that is installed; skip the test where none is."""
    for name in names:
        if shutil.which(name):
            return name
    pytest.skip(f"not installed: {' or '.join(names)}")


Command = tuple[object, ...]


def build_driver(where: Path, *flags: str, cc: str = "cc") -> Command:
    driver = where / f"driver-{cc}"
    strict = ("-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", f"-I{PROBES}")
    sources = (HERE / "ehframe_driver.c", PROBES / "ehframe.c")
    run(tool(cc), *strict, *(flags or ("-O2",)), *sources, "-o", driver)
    return (driver,)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return build_driver(tmp_path_factory.mktemp("ehframe"))


@pytest.fixture(scope="module")
def emulator() -> Command:
    """What runs AArch64 programs here, with the cross compiler's libc."""
    root = run(tool("aarch64-linux-gnu-gcc"), "-print-sysroot").strip()
    libc = Path(run("aarch64-linux-gnu-gcc", "-print-file-name=libc.so.6").strip()).resolve()
    if not libc.exists():
        pytest.skip("not installed: a libc for aarch64")
    return (
        tool("qemu-aarch64", "qemu-aarch64-static"),
        "-L",
        libc.parents[1] if root in {"", "/"} else root,
    )


@pytest.fixture(scope="module")
def aarch64_driver(emulator: Command, tmp_path_factory: pytest.TempPathFactory) -> Command:
    where = tmp_path_factory.mktemp("aarch64")
    return (*emulator, *build_driver(where, cc="aarch64-linux-gnu-gcc"))


# ---- readelf as the oracle ----


@dataclass(slots=True)
class Function:
    """One FDE as readelf shows it; rows are (first address, {column: text})."""

    start: int
    end: int
    cie: str
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)


def dump_of(file: Path, what: str) -> str:
    return run(tool("readelf"), f"--debug-dump={what},no-follow-links", file)


def entries(dump: str) -> list[tuple[str, str, list[str]]]:
    """Split a readelf dump of .eh_frame into (offset, header line, following lines)."""
    section = dump.split("Contents of the .eh_frame section", 1)[1]
    section = re.split(r"\n+Contents of the ", section, maxsplit=1)[0]
    found: list[tuple[str, str, list[str]]] = []
    for line in section.splitlines()[1:]:
        if re.match(r"[0-9a-f]{8} [0-9a-f]{16} [0-9a-f]{8} (CIE|FDE)", line):
            found.append((line[:8], line, []))
        elif found and line.strip() and "ZERO terminator" not in line:
            found[-1][2].append(line)
    return found


def rows_of(lines: list[str]) -> list[tuple[int, dict[str, str]]]:
    if not lines:
        return []
    columns = lines[0].split()[1:]
    table = [line.replace(" (", "(").split() for line in lines[1:]]  # "r9 (r9)" is one cell
    return [(int(row[0], 16), dict(zip(columns, row[1:], strict=True))) for row in table]


def functions_of(file: Path) -> tuple[list[Function], dict[int, list[str]]]:
    """Return the functions of a file, and per start address the expressions and undefined columns.

    readelf's table only says "exp" for an expression and "u" for both undefined and unmentioned;
    what they are stands in its dump of the programs.
    """
    initial: dict[str, list[tuple[int, dict[str, str]]]] = {}
    functions = []
    for offset, head, lines in entries(dump_of(file, "frames-interp")):
        if " CIE " in head:
            initial[offset] = rows_of(lines)
            continue
        match = re.search(r"cie=([0-9a-f]+) pc=([0-9a-f]+)\.\.([0-9a-f]+)", head)
        assert match
        one = Function(int(match[2], 16), int(match[3], 16), match[1], rows_of(lines))
        if not one.rows:  # readelf leaves out a program of nothing but nops
            one.rows = [(one.start, row) for _, row in initial[one.cie][:1]]
        functions.append(one)
    notes: dict[str, list[str]] = {}
    special: dict[int, list[str]] = {}
    for offset, head, lines in entries(dump_of(file, "frames")):
        notes[offset] = [
            line.strip() for line in lines if "expression" in line or "undefined" in line
        ]
        if found := re.search(r"FDE cie=(\S+) pc=([0-9a-f]+)", head):
            special.setdefault(int(found[2], 16), []).extend(notes[found[1]] + notes[offset])
    return functions, special


PLT = "DW_OP_breg16 (rip): 0; DW_OP_lit15; DW_OP_and; DW_OP_lit11; DW_OP_ge; DW_OP_lit3; DW_OP_shl"


@dataclass(frozen=True, slots=True)
class Registers:
    """readelf's names for what a rule speaks of."""

    fp: str
    sp: str
    ra: str

    @classmethod
    def of(cls, file: Path) -> Registers:
        with file.open("rb") as elf:
            (machine,) = struct.unpack_from("<H", elf.read(20), 18)
        return {62: cls("rbp", "rsp", "rip"), 183: cls("x29", "sp", "x30")}[machine]

    def cfa(self, text: str, special: list[str], pc: int) -> set[str]:
        """Say what the driver may print for a CFA column; "" where no rule can say it."""
        if found := re.fullmatch(r"(\w+)([+-]\d+)", text):
            name = {self.fp: "fp", self.sp: "sp"}.get(found[1])
            return {f"{name}{found[2]}" if name else ""}
        choices = set()
        for line in (line for line in special if "def_cfa_expression" in line):
            if found := re.search(rf"\(DW_OP_breg\d+ \({self.fp}\): (-?\d+); DW_OP_deref\)", line):
                choices.add(f"*fp{int(found[1]):+d}")
            elif found := re.search(
                rf"\(DW_OP_breg7 \(rsp\): (\d+); {re.escape(PLT)}; DW_OP_plus\)", line
            ):
                choices.add(f"sp{int(found[1]) + 8 * ((pc & 15) >= 11):+d}")
            else:
                choices.add("")
        assert choices, text
        return choices

    def caller_fp(self, text: str, special: list[str]) -> set[str]:
        """Say what the driver may print for where the caller's frame pointer is."""
        if text in {"u", "s"}:
            return {"same"}
        if re.fullmatch(r"c[+-]\d+", text):
            return {text}
        pattern = rf"DW_CFA_expression: r\d+ \({self.fp}\) \(DW_OP_breg\d+ \({self.fp}\): (-?\d+)\)"
        found = [re.search(pattern, line) for line in special if text == "exp"]
        return {f"fp{int(one[1]):+d}" for one in found if one} or {""}

    def answers(self, row: dict[str, str], special: list[str], pc: int) -> set[str]:
        """Say which answers of the driver agree with a row of readelf's table."""
        ra = row.get("ra", "u")
        if ra == "u":
            ended = any("undefined" in line and self.ra in line for line in special)
            if not ended:
                return {"none"}
            # On AArch64 "u" may also be the row before the instruction that says undefined.
            return {"end"} if self.ra == "rip" else {"end", "none"}
        if not ra.startswith("c"):
            return {"none"}
        cfas = self.cfa(row["CFA"], special, pc)
        fps = self.caller_fp(row.get(self.fp, "u"), special)
        return {f"{cfa} {fp} {ra}" if cfa and fp else "none" for cfa in cfas for fp in fps}


@dataclass(slots=True)
class Comparison:
    """Addresses asked, by kind of answer, and the first few where readelf disagrees."""

    kinds: Counter[str] = field(default_factory=Counter)
    unsupported: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def compare(driver: Command, file: Path, *mode: str) -> Comparison:
    functions, special = functions_of(file)
    registers = Registers.of(file)
    questions: dict[int, set[str]] = {}
    forms: dict[int, str] = {}
    for one in functions:
        ends = [first for first, _ in one.rows[1:]] + [one.end]
        notes = special.get(one.start, [])
        for (first, row), end in zip(one.rows, ends, strict=True):
            # A row ends where the next begins: its last byte finds an advance that comes too early.
            for pc in {first, end - 1} if end > first else set():
                questions.setdefault(pc, set()).update(registers.answers(row, notes, pc))
                forms[pc] = re.sub(r"\d+", "N", f"cfa {row['CFA']}, ra {row.get('ra')}")
    covered = 0
    for one in sorted(functions, key=lambda one: one.start):
        if 0 < covered < one.start:  # a gap between two functions
            questions.setdefault(covered, {"none"})
        covered = max(covered, one.end)

    result = Comparison()
    text = "\n".join(f"{pc:x}" for pc in questions)
    lines = run(*driver, "rules", file, *mode, text=text).splitlines()
    assert len(lines) == len(questions)
    for line in lines:
        address, answer = line.removesuffix(" signal").split(" ", 1)
        where = int(address, 16)
        result.kinds[re.sub(r"[+-]\d+", "", answer) if where in forms else "gap"] += 1
        if answer == "none" and where in forms:
            result.unsupported[forms[where]] += 1
        if answer not in questions[where] and len(result.wrong) < 10:
            result.wrong.append(f"{line}, readelf: {sorted(questions[where])}")
    return result


def agrees(driver: Command, file: Path, *mode: str) -> Comparison:
    result = compare(driver, file, *mode)
    print(f"{file.name}: {result.kinds.total()} addresses {dict(result.kinds)}", end=" ")  # noqa: T201 - seen with -s
    print(f"unsupported {dict(result.unsupported)}")  # noqa: T201
    assert result.wrong == []
    return result


def library(name: str, cc: str = "cc") -> Path:
    """Return a library of the system as the compiler finds it; skip the test where it is not."""
    path = Path(run(tool(cc), f"-print-file-name={name}").strip())
    if not path.is_absolute():
        pytest.skip(f"not installed: {name}")
    return path


@pytest.mark.parametrize(
    "name", ["libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libcrypto.so.3"]
)
def test_every_row_of_a_system_library_agrees_with_readelf(driver: Command, name: str) -> None:
    result = agrees(driver, library(name))

    usable = sum(n for kind, n in result.kinds.items() if kind not in {"none", "gap", "end"})
    assert usable > 0.95 * (result.kinds.total() - result.kinds["gap"])


C_SOURCE = """
#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct wide { _Alignas(64) double part[16]; };
int use(void *p, int n);
int sink(struct wide w, int n, ...) { return use(&w, n); }
int realigned(int n)
{
    _Alignas(64) char a[100];
    char *v = alloca((unsigned)n);
    return use(a, n) + use(v, n);
}
int many(int a, int b, int c, int d, int e, int f, int g, int h, int i)
{
    struct wide w; memset(&w, a, sizeof w);
    if (b > c) return sink(w, a, b, c, d, e, f, g, h, i) + realigned(d);
    for (int k = 0; k < a; k++) { char v[k + 1]; e += use(v, k) * use(&k, i); }
    return e ? use(&e, f) : realigned(g) + use(0, h);
}
int use(void *p, int n)
{
    void *q = malloc((unsigned)n + 1);
    if (p && n > 3) puts("x");
    free(q);
    return n;
}
int main(int argc, char **argv) { return argv && many(argc, 2, 3, 4, 5, 6, 7, 8, 9) == -1; }
"""
CPP_SOURCE = """
#include <map>
#include <stdexcept>
#include <string>
#include <vector>
struct Guard { std::string s; ~Guard(); };
Guard::~Guard() { if (s.size() > 9) s.clear(); }
int deep(int n, std::map<int, std::string> &m) {
    Guard g{std::to_string(n)};
    if (n == 0) throw std::runtime_error(g.s);
    alignas(64) char over[64]; over[n & 63] = 1;
    m[n] = g.s; std::vector<std::string> v(n, g.s);
    try { return deep(n - 1, m) + over[n & 63]; }
    catch (const std::logic_error &) { return int(v.size()); }
}
int main() {
    std::map<int, std::string> m;
    try { return deep(9, m); }
    catch (const std::exception &e) { return int(m.size()) - 9; }
}
"""
GO_SOURCE = """package main

/*
#include <stdlib.h>
#include <string.h>
static __attribute__((noinline)) void *grow(size_t n)
{
    _Alignas(64) char a[64];
    memset(a, 1, 64);
    void *p = malloc(n);
    memcpy(p, a, n < 64 ? n : 64);
    return p;
}
*/
import "C"

func main() { C.free(C.grow(99)) }
"""
REALIGN = ["-mstackrealign"] if X86_64 else []
BUILDS = {
    "gcc -O2": ("gcc", "c", ["-O2", "-fomit-frame-pointer"]),
    "gcc -O2, realigned": ("gcc", "c", ["-O2", *REALIGN]),
    "gcc -Os, frame pointers": ("gcc", "c", ["-Os", "-fno-omit-frame-pointer"]),
    "gcc -O0": ("gcc", "c", ["-O0"]),
    "g++ -O2 with exceptions": ("g++", "cpp", ["-O2"]),
    "clang -O2": ("clang", "c", ["-O2"]),
    "clang -O2, realigned": ("clang", "c", ["-O2", *REALIGN]),
    "clang++ -O2 with exceptions": ("clang++", "cpp", ["-O2"]),
    "aarch64 gcc -O2": ("aarch64-linux-gnu-gcc", "c", ["-O2"]),
    "aarch64 gcc -O2, signed returns": (
        "aarch64-linux-gnu-gcc",
        "c",
        ["-O2", "-mbranch-protection=standard"],
    ),
}


def a_program(where: Path, cc: str, suffix: str, flags: list[str]) -> Path:
    source = where / f"program.{suffix}"
    source.write_text(CPP_SOURCE if suffix == "cpp" else C_SOURCE)
    run(tool(cc), *flags, "-w", source, "-o", where / "program")
    return where / "program"


@pytest.mark.parametrize("build", BUILDS)
def test_every_row_of_a_compiled_program_agrees_with_readelf(
    request: pytest.FixtureRequest, tmp_path: Path, build: str
) -> None:
    program = a_program(tmp_path, *BUILDS[build])
    driver = request.getfixturevalue("aarch64_driver" if build.startswith("aarch64") else "driver")

    result = agrees(driver, program)

    if build == "gcc -O2, realigned" and X86_64:
        assert result.kinds["*fp fp c"] > 0


def test_without_a_search_table_the_section_is_scanned(driver: Command, tmp_path: Path) -> None:
    program = a_program(tmp_path, "cc", "c", ["-O2"])

    scanned = agrees(driver, program, "scan")

    assert scanned.kinds == agrees(driver, program).kinds


def test_every_row_of_a_cgo_program_agrees_with_readelf(driver: Command, tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text(GO_SOURCE)
    (tmp_path / "go.mod").write_text("module sample\n\ngo 1.21\n")
    run(tool("go"), "build", "-C", tmp_path, "-o", "sample", ".", env={"CGO_ENABLED": "1"})

    agrees(driver, tmp_path / "sample")


def test_every_row_of_an_aarch64_libc_agrees_with_readelf(aarch64_driver: Command) -> None:
    agrees(aarch64_driver, library("libc.so.6", "aarch64-linux-gnu-gcc"))


# ---- real stacks ----


@pytest.mark.parametrize("flag", ["-fomit-frame-pointer", "-fno-omit-frame-pointer"])
@pytest.mark.parametrize("cc", ["gcc", "clang", "aarch64-linux-gnu-gcc"])
def test_a_walk_through_realigned_frames_and_qsort_agrees_with_libgcc(
    request: pytest.FixtureRequest, tmp_path: Path, cc: str, flag: str
) -> None:
    emulator = request.getfixturevalue("emulator") if cc.startswith("aarch64") else ()

    out = run(*emulator, *build_driver(tmp_path, "-O2", flag, cc=cc), "self")

    found = re.fullmatch(r"(\d+) modules, (\d+) frames, 0 mismatches\n", out)
    assert found
    assert int(found[2]) >= 15


def test_a_look_up_is_fast_enough_for_a_cache_miss(driver: Command) -> None:
    libc = library("libc.so.6")
    functions, _ = functions_of(libc)
    pcs = [row[0] for one in functions for row in one.rows]

    mean_ns = float(run(*driver, "bench", libc, text="\n".join(f"{pc:x}" for pc in pcs)))

    print(f"{mean_ns:.0f} ns per look-up, {len(pcs)} addresses")  # noqa: T201
    assert mean_ns < 3000


# ---- hand-made tables ----

FP, SP, RA, WORD = (6, 7, 16, 8) if X86_64 else (29, 31, 30, 8)
BX = 3  # a register that no rule is about
CODE = FRAME_AT + 0x10000


def uleb(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def entry(body: bytes) -> bytes:
    body += bytes(-(len(body) + 4) % 8)
    return struct.pack("<I", len(body)) + body


INITIAL = bytes([0x0C, SP, 8, 0x80 | RA if RA < 64 else 0, 1])  # CFA = SP + 8, ra at CFA - 8


def a_cie(
    augmentation: bytes = b"zR",
    data: bytes = b"\x1b",
    *,
    version: int = 1,
    code_alignment: int = 1,
    program: bytes = INITIAL,
) -> bytes:
    sized = uleb(len(data)) + data if augmentation.startswith(b"z") else data
    addresses = b"\x08\x00" if version == 4 else b""
    head = struct.pack("<IB", 0, version) + augmentation + b"\0" + addresses
    return entry(head + uleb(code_alignment) + b"\x78" + bytes([RA]) + sized + program)


def an_fde(
    before: bytes,
    program: bytes = b"",
    *,
    encoding: int = 0x1B,
    augmented: bool = True,
    start: int = CODE,
    length: int = 64,
) -> bytes:
    """Return one FDE to stand behind `before`, which begins with its CIE."""
    field = FRAME_AT + len(before) + 8
    base = {0x00: 0, 0x10: field, 0x30: HDR_AT}[encoding & 0x70]
    code = {0: "Q", 2: "H", 3: "I", 4: "Q", 9: "", 0xA: "h", 0xB: "i", 0xC: "q"}[encoding & 15]
    if code:
        pointers = struct.pack(f"<{code}{code}", start - base, length)
    else:  # a padded sleb128 for the address
        pointers = bytes((start - base) >> shift & 0x7F | 0x80 for shift in range(0, 35, 7)) + b"\0"
        pointers += b"\xc0\x00" if length == 64 else uleb(length)
    head = struct.pack("<I", len(before) + 4)
    return entry(head + pointers + (b"\0" if augmented else b"") + program)


def ask(
    driver: Command, where: Path, frame: bytes, *pcs: int, hdr: bytes | None = None
) -> list[str]:
    """Return the answers for the pcs, and last the time they took."""
    files = [where / "frame"]
    files[0].write_bytes(frame)
    if hdr is not None:
        files.append(where / "hdr")
        files[1].write_bytes(hdr)
    lines = run(*driver, "tables", *files, text="\n".join(f"{pc:x}" for pc in pcs)).splitlines()
    assert len(lines) == len(pcs) + 1
    return [line.split(" ", 1)[1] for line in lines]


def block(*code: int) -> bytes:
    return uleb(len(code)) + bytes(code)


PLAIN = "sp+8 same c-8"
BREG_FP, BREG_SP = 0x70 + FP, 0x70 + SP
PROGRAMS: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 0, PLAIN),
    "an advance up to pc": (b"\x44\x0e\x10", 4, "sp+16 same c-8"),
    "an advance past pc": (b"\x45\x0e\x10", 4, PLAIN),
    "advance_loc1": (b"\x02\x04\x0e\x10", 4, "sp+16 same c-8"),
    "advance_loc2": (b"\x03\x05\x00\x0e\x10", 4, PLAIN),
    "advance_loc4": (b"\x04\x04\x00\x00\x00\x0e\x10", 4, "sp+16 same c-8"),
    "def_cfa": (bytes([0x0C, FP, 32]), 0, "fp+32 same c-8"),
    "def_cfa_register": (bytes([0x0D, FP]), 0, "fp+8 same c-8"),
    "def_cfa_sf": (bytes([0x12, SP, 0x7E]), 0, "sp+16 same c-8"),
    "def_cfa_offset_sf": (bytes([0x13, 0x7D]), 0, "sp+24 same c-8"),
    "a CFA by another register": (bytes([0x0C, BX, 8]), 0, "none"),
    "offset of fp": (bytes([0x80 | FP, 2]), 0, "sp+8 c-16 c-8"),
    "offset of another register": (bytes([0x80 | BX, 2]), 0, PLAIN),
    "offset_extended": (bytes([0x05, FP, 3]), 0, "sp+8 c-24 c-8"),
    "offset_extended_sf": (bytes([0x11, FP, 0x7F]), 0, "sp+8 c+8 c-8"),
    "GNU_negative_offset_extended": (bytes([0x2F, FP, 2]), 0, "sp+8 c+16 c-8"),
    "restore": (bytes([0x80 | FP, 2, 0xC0 | FP]), 0, PLAIN),
    "restore_extended": (bytes([0x80 | FP, 2, 0x06, FP]), 0, PLAIN),
    "restore of ra": (bytes([0x07, RA, 0xC0 | RA]), 0, PLAIN),
    "undefined ra": (bytes([0x07, RA]), 0, "end"),
    "undefined fp": (bytes([0x07, FP]), 0, "none"),
    "undefined other": (bytes([0x07, BX]), 0, PLAIN),
    "same_value of fp": (bytes([0x80 | FP, 2, 0x08, FP]), 0, PLAIN),
    "same_value of ra": (bytes([0x08, RA]), 0, "none"),
    "fp in a register": (bytes([0x09, FP, BX]), 0, "none"),
    "another register in a register": (bytes([0x09, BX, FP]), 0, PLAIN),
    "val_offset of fp": (bytes([0x14, FP, 2]), 0, "none"),
    "val_offset of another register": (bytes([0x14, BX, 2]), 0, PLAIN),
    "val_offset_sf of another register": (bytes([0x15, BX, 0x7E]), 0, PLAIN),
    "val_expression of fp": (bytes([0x16, FP]) + block(BREG_FP, 0), 0, "none"),
    "val_expression of another register": (bytes([0x16, BX]) + block(0x0E, *range(8)), 0, PLAIN),
    "fp saved at fp": (bytes([0x10, FP]) + block(BREG_FP, 0x78), 0, "sp+8 fp-8 c-8"),
    "fp saved at sp": (bytes([0x10, FP]) + block(BREG_SP, 0x08), 0, "none"),
    "fp by a longer expression": (bytes([0x10, FP]) + block(BREG_FP, 0, 0x06), 0, "none"),
    "expression of another register": (bytes([0x10, BX]) + block(BREG_SP, 8, 0x06), 0, PLAIN),
    "ra by an expression": (bytes([0x10, RA]) + block(BREG_SP, 8), 0, "none"),
    "a realigned CFA": (b"\x0f" + block(BREG_FP, 0x78, 0x06), 0, "*fp-8 same c-8"),
    "a CFA expression of sp": (b"\x0f" + block(BREG_SP, 24), 0, "sp+24 same c-8"),
    "a CFA expression of fp": (b"\x0f" + block(BREG_FP, 24), 0, "fp+24 same c-8"),
    "a CFA behind sp": (b"\x0f" + block(BREG_SP, 24, 0x06), 0, "none"),
    "a CFA behind fp and more": (b"\x0f" + block(BREG_FP, 24, 0x06, 0x23, 8), 0, "none"),
    "an empty CFA expression": (b"\x0f\x00", 0, "none"),
    "def_cfa_register ends an expression": (b"\x0f\x00" + bytes([0x0D, FP]), 0, "fp+8 same c-8"),
    "an expression longer than the entry": (b"\x0f\xff\x7f" + bytes([BREG_FP, 0]), 0, "none"),
    "remember and restore": (bytes([0x0A, 0x0E, 16, 0x80 | FP, 2, 0x0B]), 0, PLAIN),
    "restore without remember": (b"\x0b", 0, "none"),
    "eight states remembered": (b"\x0a\x0e\x10" * 8 + b"\x0b" * 8, 0, PLAIN),
    "nine states remembered": (b"\x0a" * 9, 0, "none"),
    "GNU_args_size": (b"\x2e\x80\x01", 0, PLAIN),
    "negate_ra_state": (b"\x2d", 0, PLAIN),
    "an unknown instruction": (b"\x3f", 0, "none"),
    "an unknown instruction past pc": (b"\x44\x3f", 0, PLAIN),
    "an offset beyond 32 bits": (b"\x0e" + uleb(1 << 33), 0, "none"),
    "a number without end": (b"\x0e" + b"\x80" * 12 + b"\0", 0, "none"),
    "set_loc up to pc": (
        b"\x01" + struct.pack("<i", CODE + 4 - (FRAME_AT + len(a_cie()) + 18)) + b"\x0e\x10",
        4,
        "sp+16 same c-8",
    ),
}
LINKER = block(BREG_SP, 8, 0x80, 0, 0x3F, 0x1A, 0x3B, 0x2A, 0x33, 0x24, 0x22)
if X86_64:
    PROGRAMS["the linker's .plt, before the push"] = (b"\x0f" + LINKER, 10, PLAIN)
    PROGRAMS["the linker's .plt, after the push"] = (b"\x0f" + LINKER, 11, "sp+16 same c-8")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_call_frame_program_gives_its_rule(driver: Command, tmp_path: Path, name: str) -> None:
    program, offset, rule = PROGRAMS[name]
    cie = a_cie()

    answer, _ = ask(driver, tmp_path, cie + an_fde(cie, program), CODE + offset)

    assert answer == rule


ENTRIES: dict[str, tuple[bytes, int, str]] = {
    "no augmentation": (a_cie(b"", b""), 0x00, PLAIN),
    "CIE version 3": (a_cie(version=3), 0x1B, PLAIN),
    "CIE version 4": (a_cie(version=4), 0x1B, PLAIN),
    "CIE version 2": (a_cie(version=2), 0x1B, "none"),
    "personality and LSDA": (a_cie(b"zPLR", b"\x9b\1\2\3\4\x1b\x1b"), 0x1B, PLAIN),
    "absolute personality": (a_cie(b"zRPL", b"\x1b\x00\1\2\3\4\5\6\7\x08\x1b"), 0x1B, PLAIN),
    "no personality": (a_cie(b"zPR", b"\xff\x1b"), 0x1B, PLAIN),
    "signal frame": (a_cie(b"zRS"), 0x1B, f"{PLAIN} signal"),
    "B key and tagging": (a_cie(b"zRBG"), 0x1B, PLAIN),
    "unknown letter": (a_cie(b"zRX"), 0x1B, "none"),
    "GCC 2": (a_cie(b"eh", bytes(8)), 0x1B, "none"),
    "augmentation data too short": (a_cie(b"zPR", b"\x00\1\2"), 0x1B, "none"),
    "absolute, 8 bytes": (a_cie(data=b"\x04"), 0x04, PLAIN),
    "absolute, 4 bytes": (a_cie(data=b"\x03"), 0x03, PLAIN),
    "absolute, signed 4 bytes": (a_cie(data=b"\x0b"), 0x0B, PLAIN),
    "relative, 8 bytes": (a_cie(data=b"\x1c"), 0x1C, PLAIN),
    "absolute, sleb128": (a_cie(data=b"\x09"), 0x09, PLAIN),
    "relative to data that nobody names": (a_cie(data=b"\x3b"), 0x3B, "none"),
    "indirect": (a_cie(data=b"\x9b"), 0x1B, "none"),
    "omitted": (a_cie(data=b"\xff"), 0x1B, "none"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_read_or_refused(driver: Command, tmp_path: Path, name: str) -> None:
    cie, encoding, rule = ENTRIES[name]
    augmented = cie[9:10] == b"z"
    frame = cie + an_fde(cie, encoding=encoding, augmented=augmented)

    first, last, before, behind, _ = ask(
        driver, tmp_path, frame, CODE, CODE + 63, CODE - 1, CODE + 64
    )

    assert (first, last, before, behind) == (rule, rule, "none", "none")


def test_advances_count_in_units_of_the_cie(driver: Command, tmp_path: Path) -> None:
    cie = a_cie(code_alignment=4)

    answers = ask(driver, tmp_path, cie + an_fde(cie, b"\x42\x0e\x10"), CODE + 7, CODE + 8)

    assert answers[:2] == [PLAIN, "sp+16 same c-8"]


def test_an_extended_length_ends_the_section(driver: Command, tmp_path: Path) -> None:
    cie = a_cie()
    frame = cie + struct.pack("<IQ", 0xFFFFFFFF, 4) + bytes(4)

    assert ask(driver, tmp_path, frame + an_fde(frame), CODE)[0] == "none"


def a_header(
    fdes: list[tuple[int, int]], *, count: int | None = None, encoding: int = 0x3B
) -> bytes:
    """Return .eh_frame_hdr for (start, address of FDE) pairs."""
    number = len(fdes) if count is None else count
    head = struct.pack("<BBBBiI", 1, 0x1B, 0x03, encoding, FRAME_AT - HDR_AT - 4, number)
    return head + b"".join(struct.pack("<ii", start - HDR_AT, at - HDR_AT) for start, at in fdes)


def test_the_search_table_finds_first_middle_and_last_function(
    driver: Command, tmp_path: Path
) -> None:
    frame, fdes = a_cie(), []
    for i in range(5):
        fdes.append((CODE + 64 * i, FRAME_AT + len(frame)))
        frame += an_fde(frame, bytes([0x0E, 8 * i + 16]), start=CODE + 64 * i, length=60)
    pcs = [CODE + 64 * i + at for i in range(5) for at in (0, 59, 60)]

    answers = ask(driver, tmp_path, frame, CODE - 1, *pcs, hdr=a_header(fdes))

    rules = [f"sp+{8 * i + 16} same c-8" for i in range(5)]
    assert answers[:-1] == ["none", *(answer for rule in rules for answer in (rule, rule, "none"))]


@pytest.mark.parametrize(
    ("hdr", "rule"),
    [
        pytest.param(b"", PLAIN, id="empty: scanned"),
        pytest.param(b"\x02" + a_header([])[1:], PLAIN, id="other version: scanned"),
        pytest.param(a_header([(CODE, 0)], encoding=0x1B), PLAIN, id="other encoding: scanned"),
        pytest.param(a_header([])[:9], PLAIN, id="cut in its head: scanned"),
        pytest.param(a_header([], count=1), "none", id="count larger than the table"),
        pytest.param(a_header([(CODE, FRAME_AT - 4)]), "none", id="entry before the section"),
        pytest.param(
            a_header([(CODE, FRAME_AT + 0x100000)]), "none", id="entry behind the section"
        ),
        pytest.param(a_header([(CODE, FRAME_AT)]), "none", id="entry is a CIE"),
    ],
)
def test_a_damaged_search_table_is_survived(
    driver: Command, tmp_path: Path, hdr: bytes, rule: str
) -> None:
    cie = a_cie()

    assert ask(driver, tmp_path, cie + an_fde(cie), CODE, hdr=hdr)[0] == rule


# ---- hostile tables ----


def test_a_scan_ends_after_a_fixed_number_of_entries(driver: Command, tmp_path: Path) -> None:
    cies = a_cie() + a_cie()
    frame = bytearray(cies + an_fde(cies[: len(cies) // 2], start=CODE))
    frame[len(cies) + 4 : len(cies) + 8] = struct.pack("<I", len(cies) + 4)
    frame[len(cies) + 8 : len(cies) + 12] = struct.pack("<i", CODE - FRAME_AT - len(cies) - 8)
    one = len(frame) - len(cies)
    for i in range(
        100_000
    ):  # each FDE names the other CIE, so that the one read last is never the right one
        at = len(frame)
        back = at + 4 - (len(cies) // 2) * (i % 2)
        frame += struct.pack("<IIiI", one - 4, back, -1, 1) + bytes(one - 16)
    last = an_fde(bytes(frame), start=CODE + 4096)

    near, far, took = ask(driver, tmp_path, bytes(frame) + last, CODE, CODE + 4096)

    assert (near, far) == (PLAIN, "none")
    assert int(took) < 200_000_000


@pytest.mark.parametrize(
    "instruction",
    [b"\0", b"\x40", b"\x0e\x08", b"\x0a\x0b", b"\x16\x03\x00"],
    ids=lambda code: code.hex(),
)
def test_a_program_ends_after_a_fixed_number_of_instructions(
    driver: Command, tmp_path: Path, instruction: bytes
) -> None:
    cie = a_cie()
    long = ask(driver, tmp_path, cie + an_fde(cie, instruction * 30_000), CODE)
    endless = ask(driver, tmp_path, cie + an_fde(cie, instruction * 2_000_000), CODE)

    assert (long[0], endless[0]) == (PLAIN, "none")
    assert int(endless[1]) < 50_000_000


@pytest.fixture(scope="module")
def checked_driver(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A driver under sanitizers, which end it at their first finding."""
    where = tmp_path_factory.mktemp("sanitized")
    probe = where / "probe.c"
    probe.write_text("int main(void) { return 0; }")
    flags = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    try:
        run(tool("cc"), *flags, probe, "-o", where / "probe")
    except AssertionError as error:
        pytest.skip(f"no sanitizers: {error}")
    return build_driver(where, *flags)


@pytest.mark.parametrize("seed", [1, 20_000, 3_000_000])
def test_hostile_tables_are_never_read_outside_their_ranges(
    checked_driver: Command, seed: int
) -> None:
    out = run(*checked_driver, "fuzz", seed, 100_000)

    print(out)  # noqa: T201 - the seed, where this fails
    found = re.search(r"asked (\d+) none \d+ ok (\d+) end (\d+) slowest_ns (\d+)", out)
    assert found
    asked, usable, ends, slowest_ns = (int(number) for number in found.groups())
    assert usable > asked // 10, "the tables must be good enough to get past the first checks"
    assert ends > 0
    assert slowest_ns < 50_000_000


# ---- the object file ----


@pytest.mark.parametrize("level", ["-O1", "-O2", "-Os", "-O3"])
@pytest.mark.parametrize("cc", ["gcc", "clang", "aarch64-linux-gnu-gcc"])
def test_the_object_needs_no_libc_no_data_and_no_dynamic_relocation(
    tmp_path: Path, cc: str, level: str
) -> None:
    out = tmp_path / "ehframe.o"
    run(tool(cc), *FREESTANDING, level, "-c", PROBES / "ehframe.c", "-o", out)
    readelf = tool("readelf")

    symbols = [line.split() for line in run(readelf, "-sW", out).splitlines()]
    undefined = [words[7:] for words in symbols if words[6:7] == ["UND"] and len(words) > 7]
    kinds = set(re.findall(r"\bR_\w+", run(readelf, "-rW", out)))
    writable = [
        line for line in run(readelf, "-SW", out).splitlines() if re.search(r" WA[LST]* ", line)
    ]

    assert undefined == []
    assert all(
        re.search(r"_(PC32|PLT32|PREL32|CALL26|JUMP26|PREL_PG_HI21|LO12_NC)$", kind)
        for kind in kinds
    ), kinds
    assert [line for line in writable if not re.search(r"\.(data|bss) .* 000000 00 ", line)] == []
