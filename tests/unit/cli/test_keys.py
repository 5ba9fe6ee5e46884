"""What terminals send for keys."""

from __future__ import annotations

import pytest

from cgoleak.cli.keys import keys_in


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        (b"jk?", ("j", "k", "?")),
        (b"\x1b[A\x1b[B", ("up", "down")),
        (b"\x1bOA\x1bOB", ("up", "down")),
        (b"\x1b[5~\x1b[6~", ("page up", "page down")),
        (b"\x1b[H\x1b[F\x1b[1~\x1b[4~", ("home", "end", "home", "end")),
        (b"\r\n", ("enter", "enter")),
        (b"\x1bOM", ("enter",)),
        (b"\x1b[1;5D\x1b[200~q", ("q",)),
        ("é\x00\x7f".encode(), ()),
    ],
)
def test_keys_have_names_and_what_is_none_is_skipped(sent, keys):
    assert keys_in(sent) == (keys, b"")


def test_an_escape_is_the_key_when_nothing_follows():
    assert keys_in(b"\x1b") == ((), b"\x1b")
    assert keys_in(b"\x1b", waited=True) == (("escape",), b"")
    assert keys_in(b"\x1bj") == (("escape", "j"), b"")
