"""``--pair``, ``--pair-set``, ``--pair-config``: what is read, and what is refused with a line."""

from __future__ import annotations

import pytest

from cgoleak.cli.pairs import PairOptions, known_sets, parse_families, parse_pair, read_families
from cgoleak.errors import PairError
from cgoleak.model.handles import Family, PairFunction, Role, Success
from cgoleak.probe.calls.slots import FUNCTION_NAMES
from cgoleak.probe.wire.layout import FAMILIES, PAIR_FUNCTIONS


def refused(text):
    with pytest.raises(PairError) as caught:
        parse_families(text, name="handles.toml")
    return caught.value


def test_a_pair_makes_its_result_and_takes_its_first_argument():
    assert parse_pair("session_open:session_close") == Family(
        "session_open",
        (
            PairFunction("session_open", Role.CREATE, 0),
            PairFunction("session_close", Role.DESTROY, 1),
        ),
    )


def test_a_third_function_resizes_and_the_arguments_say_the_sizes():
    made, _, resized = parse_pair("rd_malloc:rd_free:rd_realloc").functions

    assert made.size_argument == 1
    assert resized == PairFunction("rd_realloc", Role.RESIZE, 1, size_argument=2)


@pytest.mark.parametrize("word", ["", "a", "a:", ":b", "a:b:c:d", "a b:c", "a:b;c", "9a:b"])
def test_what_is_no_pair_is_refused(word):
    with pytest.raises(PairError, match="cannot read the pair"):
        parse_pair(word)


@pytest.mark.parametrize("name", sorted(FUNCTION_NAMES))
def test_what_is_followed_anyway_cannot_be_named(name):
    with pytest.raises(PairError, match="cannot count by"):
        parse_pair(f"my_open:{name}")


def test_every_key_of_a_file_has_its_meaning():
    (family,) = parse_families(
        """
        [sqlite3_stmt]
        create = [
          { function = "sqlite3_prepare_v2", handle = "*arg4", success = "zero" },
          { function = "my_calloc", size = "arg1*arg2" },
        ]
        destroy = { function = "my_close", handle = "arg2", success = "not-negative" }
        resize = { function = "my_grow", size = "4 KiB" }
        """,
        name="handles.toml",
    )

    assert family == Family(
        "sqlite3_stmt",
        (
            PairFunction("sqlite3_prepare_v2", Role.CREATE, 4, indirect=True, success=Success.ZERO),
            PairFunction("my_calloc", Role.CREATE, 0, size_argument=1, count_argument=2),
            PairFunction("my_close", Role.DESTROY, 2, success=Success.NOT_NEGATIVE),
            PairFunction("my_grow", Role.RESIZE, 1, size=4096),
        ),
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('[a]\ncreate = "f"\ndestory = "g"', 3, "did you mean 'destroy'"),
        ('[a]\ncreate = { funktion = "f" }\ndestroy = "g"', 2, "did you mean 'function'"),
        ('\n[a]\ncreate = { function = "f", handle = "4" }\ndestroy = "g"', 3, '"arg1"'),
        ('[a]\ncreate = { function = "f", handle = "*arg23" }\ndestroy = "g"', 2, "up to 22"),
        ('[a]\ncreate = "f"\ndestroy = { function = "g", handle = "result" }', 3, '"arg1"'),
        ('[a]\ncreate = { function = "f", success = "zeor" }\ndestroy = "g"', 2, "'zero'"),
        ('[a]\ncreate = { function = "f", size = "many" }\ndestroy = "g"', 2, '"4 KiB"'),
        ('[a]\ncreate = { function = "f", size = -1 }\ndestroy = "g"', 2, '"4 KiB"'),
        ('[a]\ncreate = { function = "cv::Mat()" }\ndestroy = "g"', 2, "mangled"),
        ('[b]\ncreate = "x"\ndestroy = "y"\n[a]\ncreate = "f"', 4, "both are needed"),
        ('[a]\ndestroy = "g"', 1, "both are needed"),
        ('[a]\ncreate = ["f", "f"]\ndestroy = "g"', 2, "one thing"),
        ('[a]\ncreate = "_ZN2cv3MatC1Ev"\ndestroy = "g"', 2, "exception"),
        ("[a]\ncreate = 5\ndestroy = 'g'", 2, "name or a table"),
        ('[a]\ncreate = { function = "f", within = 1 }\ndestroy = "g"', 2, "true or false"),
        ('[a]\ncreate = { function = "f", within = true }\ndestroy = "g"', 2, "each of them"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_a_fix(text, line, said):
    error = refused(text)

    assert error.what.startswith(f"handles.toml:{line}: [")
    assert said in f"{error.cause} {error.fix}"


def test_a_family_that_is_no_table_and_a_file_that_is_no_toml_are_refused():
    assert "is no table" in refused("a = 5").what
    assert "cannot read handles.toml" in refused("[a\n").what


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(PairError, match=r"cannot read .*none\.toml"):
        read_families(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(PairError, match=r"cannot read .*bad\.toml"):
        read_families(tmp_path / "bad.toml")


def test_calls_within_a_library_count_where_each_function_says_so():
    (family,) = parse_families(
        """
        [object]
        create = { function = "instance_make", within = true }
        destroy = { function = "instance_end", within = true }
        """,
        name="handles.toml",
    )

    assert [one.within for one in family.functions] == [True, True]


def test_every_ready_set_can_be_read_and_all_together_have_room():
    for name in known_sets():
        families = PairOptions(pair_set=(name,)).families()
        functions = [one.name for family in families for one in family.functions]
        assert 0 < len(families) <= FAMILIES
        assert len(functions) == len(set(functions)) <= PAIR_FUNCTIONS


def test_known_libraries_have_a_set():
    assert set(known_sets()) == {
        "librdkafka",
        "libvips",
        "libxml2",
        "opencv",
        "openssl",
        "rocksdb",
        "sqlite3",
        "threads",
    }


def test_a_set_that_is_not_known_has_a_near_one():
    with pytest.raises(PairError) as caught:
        PairOptions(pair_set=("sqlite",)).families()

    assert caught.value.fix == "did you mean 'sqlite3'?"


def test_one_name_for_two_kinds_is_refused_and_the_same_twice_is_not():
    twice = PairOptions(pair=("a_new:a_free", "a_new:a_free"))
    other = PairOptions(pair=("a_new:a_free", "a_new:a_close"))

    assert len(twice.families()) == 1
    with pytest.raises(PairError, match="said twice"):
        other.families()
