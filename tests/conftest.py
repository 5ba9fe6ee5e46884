"""What holds for all tests.

Ctrl-C works in them and in what they start, whoever started pytest: a shell starts background jobs
with SIGINT ignored, and that is inherited over ``exec``. And no law has a deadline: how long an
example takes says how busy the machine is.
"""

from __future__ import annotations

import signal

from hypothesis import settings

signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("cgoleak", deadline=None)
settings.load_profile("cgoleak")
