"""The gate on our own sample: the leaking module fails at the right line, the fixed one passes.

Run by ``make regression``; an argument says how many times (1). It builds the sample's test binary
once and runs it under ``cgoleak check`` as a pipeline would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
LEAK: Final = ("histogram_new", "example.org/thumbworker/algo.Process")
"""The C function that allocates what is lost, and the Go function that called it."""


def main() -> int:
    """Return 0 if every run was right."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="cgoleak-regression-") as scratch:
        binary = Path(scratch) / "thumbs.test"
        build = [os.environ.get("GO", "go"), "test", "-c", "-o", str(binary), "./gate/thumbs"]
        subprocess.run(build, cwd=HERE, check=True, env=os.environ | {"GOFLAGS": "-buildvcs=false"})
        for number in range(1, runs + 1):
            for fault, expected in (("c-leak", 1), ("", 0)):
                problem = _problem(binary, fault, expected)
                if problem is not None:
                    wrong += 1
                    print(f"run {number}, {fault or 'fixed'}: {problem}", flush=True)
    print(f"regression: {runs} times leaking and fixed, {wrong} wrong")
    return int(wrong > 0)


def _problem(binary: Path, fault: str, expected: int) -> str | None:
    """Run once; say what was not as it should be."""
    report = binary.with_suffix(".json")
    done = subprocess.run(
        [sys.executable, "-m", "cgoleak", "check", "--force", "-o", report, "--", binary],
        cwd=HERE / "gate" / "thumbs",
        env=os.environ | {"SAMPLE_FAULT": fault},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode != expected:
        return f"exit status {done.returncode}, expected {expected}\n{done.stderr}"
    found = json.loads(report.read_text())
    errors = {one["site"] for one in found["gate"]["violations"] if one["level"] == "error"}
    stacks = [one["stack"] for one in found["findings"] if one["site"] in errors]
    if bool(errors) != bool(fault) or not all(map(_is_meant, stacks)):
        return f"the sites are {[[frame['function'] for frame in one] for one in stacks]}"
    return None


def _is_meant(stack: list[dict[str, Any]]) -> bool:
    functions = [frame["function"] for frame in stack]
    return functions[0] == LEAK[0] and any(name.startswith(LEAK[1]) for name in functions)


if __name__ == "__main__":
    sys.exit(main())
