"""What the data of each service may be, for programs."""

import json

import msgspec
import pytest
from django.utils.translation import override

from devices.calls.methods import LIST, LOGIN, METHODS, SWITCH, UPDATE
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


@pytest.mark.parametrize(
    ("method", "data", "english", "chinese"),
    [
        (SWITCH, {"license_id": 5}, "enable is missing", "缺少 enable"),
        (SWITCH, {"license_id": "5", "enable": True}, "license_id must be a whole number", "license_id 必须是整数"),
        (SWITCH, {"license_id": 5, "enable": 1}, "enable must be true or false", "enable 必须是 true 或 false"),
        (
            LIST,
            {"device_model_domain": 1},
            "device_model_domain must be one of these: 0, 3",
            "device_model_domain 必须是以下之一：0, 3",
        ),
        (
            UPDATE,
            {"license_file": 0},
            "license_file must be a whole number from 1 on",
            "license_file 必须是不小于 1 的整数",
        ),
        (
            LOGIN,
            {"username": "", "password": "x"},
            "username must be text of 1 to 128 characters",
            "username 必须是 1 至 128 个字符的文本",
        ),
    ],
)
def test_wrong_data_are_explained_in_the_readers_language(method, data, english, chinese):
    for language, words in (("en", english), ("zh-hans", chinese)):
        with override(language), pytest.raises(ValueError, match=f"^{words}$"):
            METHODS[method].read(data)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {UPDATE}))
def test_the_example_of_a_service_is_what_dji_shows(method):
    [sample, *_] = sorted(SAMPLES.glob(f"*_{method}_services.json"))
    assert METHODS[method].example == json.loads(sample.read_text())["data"]


def test_the_example_of_an_update_takes_the_newest_for_our_files_have_numbers():
    assert METHODS[UPDATE].read(METHODS[UPDATE].example) == {}
