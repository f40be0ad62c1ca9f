"""One JSON object from untrusted bytes."""

import pytest

from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.untrusted_json import MAX_DEPTH, has_nul, parse


def read(payload, *, max_nodes=100, skip_not_numbers=False):
    return parse(payload, max_nodes=max_nodes, skip_not_numbers=skip_not_numbers)


def test_object_is_read_and_nothing_skipped():
    assert read(b'{"a":[1,2.5,null],}') == ({"a": [1, 2.5, None]}, [])


def test_keys_of_what_is_skipped_are_counted():
    message, skipped = read(b'{"a":NaN,"b":[inf],"c":1}', skip_not_numbers=True)
    assert message == {"b": [None], "c": 1}
    assert (skipped, skipped.first_key) == ([b'"a"', b""], "a")


def test_long_key_is_cut_and_the_place_in_a_list_has_none():
    assert read(b'{"%b":NaN}' % (b"k" * 65), skip_not_numbers=True)[1].first_key == "k" * 64
    assert read(b'{"a":[NaN]}', skip_not_numbers=True)[1].first_key == ""


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        *[(b"", "empty"), (b" \n", "empty"), (b"{", "not_json"), (b'{"a":NaN}', "not_a_number")],
        *[(b"[]", "not_an_object"), (b"1", "not_an_object"), (b'{"a":"\\u0000"}', "nul_character")],
        (b"[" * MAX_DEPTH + b"[" + b"]" * MAX_DEPTH + b"]", "too_deep"),
        (b"[" + b"0," * 100 + b"0]", "too_many_nodes"),
    ],
)
def test_what_is_refused_has_a_reason(payload, reason):
    with pytest.raises(RemoteProtocolError) as caught:
        read(payload)
    assert caught.value.reason == reason


@pytest.mark.parametrize(("payload", "expected"), [(b'"\\u0000"', True), (b'"\\\\u0000"', False), (b'"u0000"', False)])
def test_nul_is_found_unless_its_backslash_is_one_of_the_text(payload, expected):
    assert has_nul(payload) is expected
