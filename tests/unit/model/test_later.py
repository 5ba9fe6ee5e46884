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

    def find(field):
        asked.append(field)
        return {"text": "long", "length": 4}

    one = Told.later(find, name="a")

    assert (one.name, asked) == ("a", [])
    assert (one.text, one.length, one.text, asked) == ("long", 4, "long", ["text"])


def test_what_was_not_found_on_the_way_is_asked_for_by_its_name():
    values = {"text": "long", "length": 4}
    one = Told.later(lambda field: {field: values[field]}, name="a")

    assert (one.length, one.text) == (4, "long")


def test_many_are_made_of_columns_and_each_finds_its_own():
    finds = [lambda _, text=text: {"text": text, "length": len(text)} for text in ("long", "no")]

    made = Told.many_later(finds, name=["a", "b"])

    assert made == [Told("a", "long", 4), Told("b", "no", 2)]


def test_it_is_equal_to_one_that_was_known_at_once_and_can_be_replaced():
    def later():
        return Told.later(lambda _: {"text": "long", "length": 4}, name="a")

    known = Told("a", "long", 4)

    assert later() == known
    assert hash(later()) == hash(known)
    assert repr(later()) == repr(known)
    assert replace(later(), name="b") == Told("b", "long", 4)
    assert [field.name for field in fields(later())] == ["name", "text", "length"]


def test_a_field_that_there_is_not_is_an_error_and_asks_for_nothing():
    with pytest.raises(AttributeError, match="size"):
        _ = Told.later(lambda _: pytest.fail("was asked"), name="a").size
    with pytest.raises(AttributeError):
        _ = Told("a", "long").size
