"""Settings of Go's runtime."""

from __future__ import annotations

from cgoleak.target.gobinary import GoBinary, godebug_of


def given(root, environment, built_in=None):
    (root / "7").mkdir(exist_ok=True)
    (root / "7" / "environ").write_bytes(environment)
    settings = {} if built_in is None else {"DefaultGODEBUG": built_in}
    return godebug_of(7, GoBinary(path="/srv/worker", settings=settings), root)


def test_the_environment_comes_after_what_was_built_in(tmp_path):
    environment = b"HOME=/\0GODEBUG=madvdontneed=0,x=1\0GODEBUGX=no\0"

    assert given(tmp_path, environment) == "madvdontneed=0,x=1"
    assert given(tmp_path, environment, "madvdontneed=1") == "madvdontneed=1,madvdontneed=0,x=1"
    assert given(tmp_path, b"", "a=1") == "a=1"
    assert given(tmp_path, b"GODEBUG=\xff\0") == "\N{REPLACEMENT CHARACTER}"


def test_an_environment_that_is_hidden_says_nothing(tmp_path):
    assert godebug_of(8, GoBinary(path="/srv/worker"), tmp_path) == ""
