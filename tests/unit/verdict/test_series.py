"""Each file in ``series/`` draws the life of one site; below the line stands what is said of it.

``UPDATE_GOLDEN=1 pytest`` writes the lower half anew; read the difference before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cgoleak.verdict import Policy, analyse
from support.drawings import draw

FOLDER = Path(__file__).parent / "series"
LINE = "----\n"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_a_site_is_judged_as_its_drawing_says(path: Path) -> None:
    drawing, _, expected = path.read_text().partition(LINE)

    report = analyse(draw(drawing), Policy())
    found = [one for one in report.findings if "subject" in one.stack[0].function]
    said = f"{found[0].verdict}\n" if found else "nothing outstanding\n"
    said += "".join(f"  {line}\n" for line in (found[0].evidence if found else ()))

    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(f"{drawing}{LINE}{said}")
    assert said == expected
