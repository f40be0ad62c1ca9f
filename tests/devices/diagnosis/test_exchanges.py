"""Reading journal rows for people."""

import pytest

from devices.diagnosis.exchanges import MAX_CODES, codes, pretty, shown


def test_every_code_of_a_reply_is_found_with_its_device_and_in_words():
    text = '{"result": 0, "output": {"err_infos": [{"sn": "A", "err_code": 210232}, {"sn": "B", "err_code": 7}]}}'
    assert codes(text) == [
        ("", 0, "success"),
        ("A", 210232, "the device belongs to another organization"),
        ("B", 7, "not documented by DJI"),
    ]


def test_what_is_no_code_is_none():
    assert codes('{"result": true, "err_code": "x", "results": 4}') == []


def test_a_payload_that_was_cut_off_is_shown_as_it_is():
    text = '{"devices": [{"sn": "A"'
    assert pretty(text) == text
    assert codes(text) == []


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", r'"\ud800"', r'{"\ud800": 1}'])
def test_what_no_encoder_would_take_is_shown_as_it_is(value):
    text = f'{{"sn": {value}, "result": 5}}'
    assert pretty(text) == shown(text) == text
    assert codes(text) == []


def test_json_is_indented_in_its_own_script():
    assert pretty('{"name":"港口"}') == '{\n  "name": "港口"\n}'


def test_a_hostile_list_gives_no_endless_page():
    assert len(codes("[" + ",".join(['{"result": 1}'] * 500) + "]")) == MAX_CODES
    assert codes("[" * 100_000) == []
