"""Builds the probe: one freestanding shared object per architecture, with the system's C compiler.

Used three ways: as hatchling's build hook (the wheel carries the binary), by ``python
probes/build_hook.py OUT [CC]``, and by the native tests.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

FLAGS = (
    "-std=c11",
    "-O2",
    "-fPIC",
    "-ffreestanding",
    "-fvisibility=hidden",
    "-fno-stack-protector",
    # The hook reads its caller's frame pointer at its own.
    "-fno-omit-frame-pointer",
    "-fno-asynchronous-unwind-tables",
    "-fno-jump-tables",
    "-Wall",
    "-Wextra",
    "-Werror",
)
# Our memcpy must not become a call of itself; clang leaves such loops alone in freestanding code.
GCC_FLAGS = ("-fno-tree-loop-distribute-patterns",)
LINK = (
    "-shared",
    "-nostdlib",
    "-Wl,-z,now",
    "-Wl,-z,separate-code",
    "-Wl,-z,noexecstack",
    "-Wl,-z,norelro",
    "-Wl,--build-id=none",
    "-Wl,--hash-style=sysv",
)
# GCC's outlined atomics for AArch64 are functions of libgcc, which the probe must not need.
MACHINE_FLAGS = {"x86_64": (), "aarch64": ("-mno-outline-atomics",)}
PAGE = {"x86_64": 4096, "aarch64": 65536}


def build_number() -> int:
    """Sixty-four bits that differ whenever the source or the flags do."""
    digest = hashlib.sha256(repr((FLAGS, GCC_FLAGS, MACHINE_FLAGS, LINK)).encode())
    for source in sorted(HERE.glob("*.[ch]")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return int.from_bytes(digest.digest()[:8], "little")


def flags_for(cc: str, machine: str) -> tuple[str, ...]:
    """Choose the flags that this compiler understands, for this machine."""
    says = subprocess.run([*cc.split(), "--version"], check=True, capture_output=True, text=True)
    gcc = () if "clang" in says.stdout else GCC_FLAGS
    return FLAGS + gcc + MACHINE_FLAGS[machine]


def build(out: Path, cc: str | None = None, machine: str | None = None) -> Path:
    """Compile the probe to *out*.

    Raises:
        subprocess.CalledProcessError: the compiler failed; it has said why.
    """
    machine = machine or platform.machine()
    cc = cc or os.environ.get("CC") or "cc"
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_suffix(f".{os.getpid()}.tmp")
    command = [
        *cc.split(),
        *flags_for(cc, machine),
        f"-DCG_BUILD={build_number():#x}ull",
        *LINK,
        f"-Wl,-z,max-page-size={PAGE[machine]}",
        str(HERE / "probe.c"),
        "-o",
        str(scratch),
    ]
    subprocess.run(command, check=True)
    scratch.chmod(0o644)
    scratch.replace(out)  # whoever has the old one mapped keeps it
    return out


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # called as a program
    pass
else:

    class ProbeBuildHook(BuildHookInterface[Any]):
        """Puts ``cgoleak/_probes/MACHINE.so`` into the wheel, or beside an editable install."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Build before the files are gathered."""
            del version
            machine = platform.machine()
            if shutil.which(os.environ.get("CC") or "cc") is None:
                raise RuntimeError("cgoleak builds its probe from C: install a C compiler (cc)")
            out = build(Path(self.root) / "cgoleak" / "_probes" / f"{machine}.so", machine=machine)
            build_data["pure_python"] = False
            build_data["infer_tag"] = False
            build_data["tag"] = f"py3-none-linux_{machine}"
            build_data["artifacts"].append(f"cgoleak/_probes/{out.name}")


if __name__ == "__main__":
    build(Path(sys.argv[1]), *sys.argv[2:3])
