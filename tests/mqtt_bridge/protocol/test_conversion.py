"""Lenient conversion of data."""

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from mqtt_bridge.protocol.conversion import Callsign, Entry, Int, Sn, Text, decode_data, flatten
from mqtt_bridge.protocol.errors import RemoteProtocolError


class Part(Entry, frozen=True):
    number: Int = 7
    name: Callsign = "?"


class Whole(msgspec.Struct, frozen=True):
    number: Int
    flag: bool = False
    text: Text = "default"
    sn: Sn = ""
    part: Part | None = None
    parts: Annotated[list[Part], Meta(max_length=2)] = []


@pytest.mark.parametrize("value", [5, "5", 5.0, "5.0"])
def test_whole_number_comes_as_number_or_text(value):
    assert decode_data(Whole, {"number": value}).number == 5


@pytest.mark.parametrize("value", [True, 5.5, "five", "", None, [], {}, 2**63, -(2**63) - 1, "9" * 5000])
def test_what_is_no_whole_number_of_64_bits_is_refused(value):
    with pytest.raises(RemoteProtocolError) as caught:
        decode_data(Whole, {"number": value})
    assert caught.value.reason == "data_invalid"
    assert "number" in caught.value.detail


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        *[(True, True), (1, True), ("1", True), ("true", True), ("True", True)],
        *[(False, False), (0, False), ("0", False), ("false", False), (None, False)],
    ],
)
def test_boolean_comes_in_many_forms(value, flag):
    assert decode_data(Whole, {"number": 1, "flag": value}).flag is flag


@pytest.mark.parametrize("value", [2, "yes", [], 0.5])
def test_what_is_no_boolean_is_refused(value):
    with pytest.raises(RemoteProtocolError, match="flag"):
        decode_data(Whole, {"number": 1, "flag": value})


@pytest.mark.parametrize(("value", "text"), [("a", "a"), (12, "12"), (1.5, "1.5"), (None, "default")])
def test_text_may_come_as_a_number(value, text):
    assert decode_data(Whole, {"number": 1, "text": value}).text == text


@pytest.mark.parametrize("value", [True, [], {}, "x" * 257, 10**4000])
def test_what_is_no_text_or_too_long_is_refused(value):
    with pytest.raises(RemoteProtocolError, match="text"):
        decode_data(Whole, {"number": 1, "text": value, "flag": None})


def test_serial_number_may_not_come_as_a_number():
    with pytest.raises(RemoteProtocolError, match="sn"):
        decode_data(Whole, {"number": 1, "sn": 123456})


@pytest.mark.parametrize("data", [None, [], "x", 1, True, ["number"]])
def test_data_that_is_no_object_is_refused(data):
    with pytest.raises(RemoteProtocolError, match="data is of type"):
        decode_data(Part, data)


def test_unusable_values_of_an_entry_take_their_defaults():
    data = {"number": 1, "parts": [{"number": [], "name": {}}, {"number": "3", "name": 4}]}
    assert decode_data(Whole, data).parts == [Part(), Part(3, "4")]


@pytest.mark.parametrize("value", [None, 1, "x", [], True])
def test_entry_that_is_no_object_is_an_empty_one(value):
    assert decode_data(Whole, {"number": 1, "parts": [value]}).parts == [Part()]


def test_names_are_cut_and_not_refused():
    data = {"number": 1, "part": {"name": "机" * 200}}
    assert decode_data(Whole, data).part.name == "机" * 128


@pytest.mark.parametrize("parts", [{}, "x", 1, [{}] * 3])
def test_list_that_is_none_or_too_long_is_refused(parts):
    with pytest.raises(RemoteProtocolError, match="parts"):
        decode_data(Whole, {"number": 1, "parts": parts})


def test_errors_name_the_field_and_not_its_value():
    with pytest.raises(RemoteProtocolError) as caught:
        decode_data(Whole, {"number": "hunter2"})
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


def test_flat_values_win_over_nested_ones_unless_null():
    data = {"result": 0, "a": 1, "b": None, "output": {"a": 2, "b": 3, "c": 4}}
    assert flatten(data) | {"output": None} == {"result": 0, "a": 1, "b": 3, "c": 4, "output": None}
