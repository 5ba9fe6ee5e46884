"""Whether cgoleak can hand its probe over to any process at all: what of it runs here."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from cgoleak.errors import AttachFailed
from cgoleak.probe.wire.artifact import load_artifact
from cgoleak.target.preflight import Check, checked

__all__ = ["probe_checks", "see_memory_files"]

_MEMFD_NOEXEC: Final = Path("/proc/sys/vm/memfd_noexec")


def probe_checks() -> tuple[Check, ...]:
    """Look for what goes into a target and at the way it takes; nothing is touched."""
    return (
        _frida(),
        checked("probe", f"built for {platform.machine()}", load_artifact),
        checked("memory files", "cgoleak may make files in memory", see_memory_files),
    )


def see_memory_files() -> None:
    """See that we may make files in memory, in which Frida hands the probe over.

    It aborts where it may not (frida-core, lib/base/linux.vala). It asks for no seal: Linux 6.3 to
    6.5 refuse that where ``vm.memfd_noexec`` is 2 (mm/memfd.c).

    Raises:
        AttachFailed: we may not.
    """
    try:
        os.close(os.memfd_create("cgoleak", 0))
    except OSError as exc:
        cause = f"memfd_create: {exc.strerror}; a seccomp filter refuses it, as a rule"
        fix = "allow memfd_create in the seccomp profile of cgoleak's own container"
        with contextlib.suppress(OSError):
            if _MEMFD_NOEXEC.read_text().strip() == "2":
                cause = f"memfd_create: {exc.strerror}; vm.memfd_noexec is 2 in its PID namespace"
                fix = "measure from the host, or there: sysctl vm.memfd_noexec=1"
        raise AttachFailed(
            "cgoleak itself may not make files in memory",
            cause=cause,
            fix=f"{fix}; or use: cgoleak watch",
        ) from exc


def _frida() -> Check:
    try:
        return Check("frida", ok=True, text=f"frida {version('frida')}")
    except PackageNotFoundError:
        return Check("frida", ok=False, text="frida is not installed", fix="pip install frida")
