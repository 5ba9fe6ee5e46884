"""Values of which some fields are found when somebody asks for them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import pytest

from cgoleak.model.later import Later


@dataclass(frozen=True, slots=True)
class Told(Later):
    name: str
    text: str
    length: int = 0


def test_what_is_not_known_is_found_once_and_only_when_it_is_asked_for():
    asked = []

    def find():
        asked.append("find")
        return {"text": "long", "length": 4}

    one = Told.later(find, name="a")

    assert (one.name, asked) == ("a", [])
    assert (one.text, one.length, one.text, asked) == ("long", 4, "long", ["find"])


def test_it_is_equal_to_one_that_was_known_at_once_and_can_be_replaced():
    def later():
        return Told.later(lambda: {"text": "long", "length": 4}, name="a")

    known = Told("a", "long", 4)

    assert later() == known
    assert hash(later()) == hash(known)
    assert repr(later()) == repr(known)
    assert replace(later(), name="b") == Told("b", "long", 4)
    assert [field.name for field in fields(later())] == ["name", "text", "length"]


def test_a_field_that_there_is_not_is_an_error_and_asks_for_nothing():
    with pytest.raises(AttributeError, match="size"):
        _ = Told.later(lambda: pytest.fail("was asked"), name="a").size
    with pytest.raises(AttributeError):
        _ = Told("a", "long").size
