"""What holds for all tests: Ctrl-C works in them and in what they start, whoever started pytest.

A shell starts background jobs with SIGINT ignored, and that is inherited over ``exec``.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
