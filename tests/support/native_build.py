"""Compiles the probe's sources for this machine, so that tests can call them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = [
    "NATIVE",
    "PROBES",
    "compile_driver",
    "compile_emulated",
    "run_driver",
    "sanitizer_flags",
    "tool",
]

NATIVE = Path(__file__).resolve().parents[1] / "native"
PROBES = Path(__file__).resolve().parents[2] / "probes"

# -O1, the least that the documentation of the sanitizers asks for: -O2 compiles twice as long.
_SANITIZERS = {
    "plain": (),
    "address,undefined": (
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
        "-O1",
    ),
    "thread": ("-fsanitize=thread", "-fno-omit-frame-pointer", "-O1"),
}


def tool(name: str) -> str:
    """Return the path of a program; skip the test where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"not installed: {name}")
    return found


def sanitizer_flags(name: str, scratch: Path) -> tuple[str, ...]:
    """Return the compiler's flags for a sanitizer; skip the test where it does not work here."""
    flags = _SANITIZERS[name]
    if flags:
        source, program = scratch / "works.c", scratch / "works"
        source.write_text("int main(void) { return 0; }\n")
        built = subprocess.run(
            [tool("cc"), *flags, str(source), "-o", str(program)],
            capture_output=True,
            check=False,
            timeout=60,
        )
        if (
            built.returncode
            or subprocess.run([str(program)], check=False, capture_output=True).returncode
        ):
            pytest.skip(f"the compiler's {name} sanitizer does not work on this machine")
    return flags


def compile_driver(source: Path, program: Path, *flags: str, cc: str = "cc") -> Path:
    """Compile one C file against ``probes/``; warnings are errors."""
    done = subprocess.run(
        [
            tool(cc),
            "-std=gnu11",
            "-O2",
            "-g",
            "-Wall",
            "-Wextra",
            "-Werror",
            f"-I{PROBES}",
            *flags,
            str(source),
            "-o",
            str(program),
            "-lpthread",
            "-lm",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return program


def compile_emulated(source: Path, program: Path, *flags: str) -> Path:
    """Compile for AArch64; ``program`` runs it in qemu. Skips the test without these."""
    cc, emulator = tool("aarch64-linux-gnu-gcc"), tool("qemu-aarch64")
    asked = [cc, "-print-file-name=libc.a"]
    libc = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
    if not Path(libc.strip()).is_absolute():
        pytest.skip("not installed: a libc for aarch64 (libc6-dev-arm64-cross)")
    binary = program.with_name(program.name + ".aarch64")
    # As probes/build_hook.py has it: the atomics of ARMv8.0, no calls into libgcc.
    compile_driver(source, binary, "-static", "-mno-outline-atomics", *flags, cc=cc)
    program.write_text(f'#!/bin/sh\nexec {emulator} {binary} "$@"\n')
    program.chmod(0o755)
    return program


def run_driver(program: Path, *words: object, timeout: float = 120) -> str:
    """Run it to its end, which must be a good one; return what it said."""
    done = subprocess.run(
        [str(program), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "LC_ALL": "C"},
    )
    said = (done.stdout + done.stderr)[-4000:]
    assert done.returncode == 0, f"{program.name} {words} ended with {done.returncode}: {said}"
    return done.stdout
