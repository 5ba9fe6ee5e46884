from __future__ import annotations

import pytest

from cgoleak.units import (
    format_bytes,
    format_bytes_change,
    format_count,
    format_percent,
    format_rate,
    format_seconds,
    plural,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (0.5, "0.5 B"),
        (96, "96 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (319_488, "312 KiB"),
        (1_048_575, "1.0 MiB"),
        (19_293_798, "18.4 MiB"),
        (-2048, "-2.0 KiB"),
        (1 << 62, "4.0 EiB"),
        (-0.01, "0 B"),
    ],
)
def test_sizes_are_iec_with_three_digits(number: float, text: str) -> None:
    assert format_bytes(number) == text


def test_changes_carry_their_sign_and_rates_their_second() -> None:
    assert [format_bytes_change(n) for n in (2048, 0, -96)] == ["+2.0 KiB", "0 B", "-96 B"]
    assert format_rate(319_488) == "312 KiB/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.000_02, "20 µs"),
        (0.014, "14 ms"),
        (0.9996, "1 s"),
        (59.84, "59.8 s"),
        (60, "60 s"),
        (119.97, "2 min"),
        (125, "2 min 5 s"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
        (-5, "-5 s"),
    ],
)
def test_times_have_the_unit_that_fits(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_counts_and_shares() -> None:
    assert format_count(18_640) == "18 640"
    assert [plural(1, "block"), plural(0, "block")] == ["1 block", "0 blocks"]
    assert [format_percent(share) for share in (0, 0.001, 0.5, 0.999, 1)] == [
        "0 %",
        "less than 1 %",
        "50 %",
        "more than 99 %",
        "100 %",
    ]
