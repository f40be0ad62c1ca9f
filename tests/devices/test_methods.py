"""What the data of each service may be, for programs."""

import msgspec
import pytest

from devices.methods import LOGIN, METHODS, schema


@pytest.mark.parametrize("method", METHODS)
def test_the_schema_of_a_service_names_what_it_takes_and_nothing_else(method):
    told = msgspec.json.decode(msgspec.json.encode(schema(method)))
    assert (told["type"], told["additionalProperties"]) == ("object", False)
    assert set(told["properties"]) == set(METHODS[method].input.__struct_fields__)
    assert "$ref" not in str(told)


def test_secrets_are_only_written():
    fields = schema(LOGIN)["properties"]
    assert {name for name, field in fields.items() if field.get("writeOnly")} == set(METHODS[LOGIN].secrets)
