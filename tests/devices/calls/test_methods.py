"""What the data of each service may be, for programs."""

import json

import msgspec
import pytest

from devices.calls.methods import LOGIN, METHODS, UPDATE
from tests.stack import ROOT

SAMPLES = ROOT / "tests/samples"


@pytest.mark.parametrize("method", METHODS)
def test_the_schema_of_a_service_names_what_it_takes_and_nothing_else(method):
    told = msgspec.json.decode(msgspec.json.encode(METHODS[method].schema()))
    assert (told["type"], told["additionalProperties"]) == ("object", False)
    assert set(told["properties"]) == set(METHODS[method].input.__struct_fields__)
    assert "$ref" not in str(told)


def test_secrets_are_only_written():
    fields = METHODS[LOGIN].schema()["properties"]
    assert {name for name, field in fields.items() if field.get("writeOnly")} == set(METHODS[LOGIN].secrets)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {UPDATE}))
def test_the_example_of_a_service_is_what_dji_shows(method):
    [sample, *_] = sorted(SAMPLES.glob(f"*_{method}_services.json"))
    assert METHODS[method].example == json.loads(sample.read_text())["data"]


def test_the_example_of_an_update_takes_the_newest_for_our_files_have_numbers():
    assert METHODS[UPDATE].read(METHODS[UPDATE].example) == {}
