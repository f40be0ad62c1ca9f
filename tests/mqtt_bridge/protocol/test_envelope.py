"""The envelope: tolerances, limits, and what goes out."""

import contextlib
import json
import time

import msgspec
import pytest

from mqtt_bridge.protocol.envelope import (
    MAX_PAYLOAD,
    MAX_SERVICES_REPLY,
    decode,
    encode,
    unix_milliseconds,
)
from mqtt_bridge.protocol.errors import LocalProtocolError, RemoteProtocolError
from mqtt_bridge.protocol.messages import LicenseUpdateRequest, ResultReply
from mqtt_bridge.protocol.topics import Channel

NOW = 1654070968655


def read(channel=Channel.REQUESTS, **message):
    return decode(json.dumps({"tid": "t-1"} | message).encode(), channel=channel)


def write(**changes):
    message = {
        "tid": "t-1",
        "bid": "b-1",
        "method": "config",
        "timestamp": NOW,
        "gateway": "DOCK1",
        "data": {},
    }
    return encode(**(message | changes))


def test_complete_message_is_read():
    data = {"config_type": "json"}
    envelope = read(bid="b-1", method="config", timestamp=NOW, gateway="DOCK1", need_reply=1, data=data)
    assert (envelope.tid, envelope.bid, envelope.method) == ("t-1", "b-1", "config")
    assert (envelope.timestamp, envelope.gateway, envelope.need_reply) == (NOW, "DOCK1", True)
    assert envelope.data == data


def test_envelope_cannot_be_changed():
    envelope = read()
    with pytest.raises(AttributeError):
        envelope.tid = "t-2"


def test_repr_shows_no_binding_code():
    envelope = read(data={"device_binding_code": "ABCD-EFGH", "organization_id": "12345678"})
    assert "ABCD-EFGH" not in repr(envelope) + str(envelope.__rich_repr__())
    assert "12345678" in repr(envelope)


@pytest.mark.parametrize("data", [{}, {"data": None}])
def test_data_absent_or_null_is_an_empty_object(data):
    assert read(**data).data == {}


@pytest.mark.parametrize("data", [[], [1], "x", 0, False])
def test_data_of_any_type_is_kept(data):
    assert read(Channel.EVENTS, data=data).data == data


@pytest.mark.parametrize(
    ("sent", "milliseconds"),
    [
        (NOW, NOW),
        (str(NOW), NOW),
        (float(NOW), NOW),
        (1654070968, 1654070968000),
        (1654070968655123, NOW),
        (1654070968655123456, NOW),
        (100_000_000, 100_000_000_000),
        (99_999_999, 99_999_999),
        (35_000, 35_000),
        (0, None),
        (-NOW, None),
        (10**20, None),
        (True, None),
        ("", None),
        ("soon", None),
        ("²" * 13, None),
        ([NOW], None),
        (None, None),
    ],
)
def test_timestamp_is_brought_to_milliseconds(sent, milliseconds):
    assert read(timestamp=sent).timestamp == milliseconds


@pytest.mark.parametrize("channel", Channel)
def test_byte_order_mark_is_skipped_on_every_channel(channel):
    payload = b'{"tid":"t","data":{"a":1}}'
    assert decode(b"\xef\xbb\xbf" + payload, channel=channel) == decode(payload, channel=channel)


NOT_NUMBERS = [
    *("NaN", "nan", "-nan", "+nan", "nan(ind)", "-nan(0x8000000000000)", "-nan(snan)"),
    *("Infinity", "-Infinity", "inf", "-inf", "INF", "1.#QNAN", "-1.#IND", "1.#INF00"),
    *("1e400", "-1E+999", "0.1e310", "1e99999999999", "9" * 400 + ".0", "9" * 5000),
]


def read_text(text, channel=Channel.OSD):
    return decode(text.encode(), channel=channel)


@pytest.mark.parametrize("channel", [Channel.OSD, Channel.STATE])
@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_field_that_is_no_number_is_left_out_and_the_rest_stands(value, channel):
    for text in (
        '{"data":{"a":%s,"b":{"c":1}},"gateway":"DOCK1"}',
        '{"data":{"b":{"c":1},"a" : %s },"gateway":"DOCK1"}',
        '{"data":{"b":{"d":%s,"c":1},},"gateway":"DOCK1"}',
        '{"timestamp":%s,"data":{"b":{"c":1}},"gateway":"DOCK1"}',
    ):
        envelope = read_text(text % value, channel)
        assert (envelope.data, envelope.gateway, envelope.not_numbers) == ({"b": {"c": 1}}, "DOCK1", 1)


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_list_element_that_is_no_number_is_null_so_that_the_others_keep_their_places(value):
    envelope = read_text('{"data":{"a":[X,1.5, X\n,{"b":X}]}}'.replace("X", value))
    assert (envelope.data, envelope.not_numbers) == ({"a": [None, 1.5, None, {}]}, 3)


def test_first_key_of_what_is_no_number_is_named():
    assert read_text('{"data":{"a":1,"wind \\"speed":NaN,"b":inf}}').not_a_number == 'wind "speed'
    assert read_text('{"data":{"a":[NaN]}}').not_a_number == ""
    assert read_text('{"data":{"\\x":NaN,"a":1}}').data == {"a": 1}


def test_text_that_looks_like_no_number_is_untouched():
    envelope = read_text('{"data":{"a":"\\"b\\":NaN, ","NaN":"nan","inf":[1e2,-0.5E-3,12],"x":NaN}}')
    assert envelope.data == {"a": '"b":NaN, ', "NaN": "nan", "inf": [1e2, -0.5e-3, 12]}


@pytest.mark.parametrize(
    "text",
    ['{"data":{"a":nano}}', '{"data":{NaN:1}}', '{"data":{"a":1NaN}}', '{"data":{"a":NaN,,}}', '{"data":{"a":NaN}'],
)
def test_what_is_not_json_otherwise_is_still_refused(text):
    with pytest.raises(RemoteProtocolError):
        read_text(text)


@pytest.mark.parametrize("channel", set(Channel) - {Channel.OSD, Channel.STATE})
def test_a_message_that_is_answered_must_be_readable_as_a_whole(channel):
    with pytest.raises(RemoteProtocolError, match="not_a_number"):
        read_text('{"tid":"t","data":{"a":NaN}}', channel)


HOSTILE = {
    "list": b'{"data":[' + b"nan," * 15_000 + b"nan]}",
    "fields": b'{"data":{' + b'"k":nan,' * 15_000 + b'"k":1}}',
    "quotes": b'{"data":' + b'"\\":' * 50_000,
    "spaces": b'{"data":' + b" " * 250_000 + b"nan",
    "keys and spaces": (b'"a"' + b" " * 100) * 2_400,
    "digits": b'{"a":' + b"1" * 250_000,
    "exponents": b"1e" * 100_000,
    "brackets": b"nan(" * 60_000,
    "one bracket": b"nan(" + b"a" * 250_000,
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE)
def test_hostile_frame_costs_time_that_grows_with_its_size(payload):
    def cost(size):
        started = time.process_time()
        with contextlib.suppress(RemoteProtocolError):
            decode(payload[:size], channel=Channel.OSD)
        return time.process_time() - started

    assert min(cost(len(payload)) for _ in range(3)) < 20 * max(cost(len(payload) // 4) for _ in range(3)) + 0.05


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 10**400])
def test_no_number_breaks_the_unit_rule(value):
    assert unix_milliseconds(value) is None


def test_colon_key_serves_where_there_is_no_usable_timestamp():
    assert read(**{"timestamp:": NOW}).timestamp == NOW
    assert read(**{"timestamp:": NOW, "timestamp": 0}).timestamp == NOW
    assert read(**{"timestamp:": 1, "timestamp": NOW}).timestamp == NOW


@pytest.mark.parametrize("value", [1, True, "1", "true", "True"])
def test_need_reply_is_understood_in_all_its_forms(value):
    assert read(Channel.EVENTS, need_reply=value).need_reply is True


@pytest.mark.parametrize("value", [0, False, "0", "false", "", "yes", None, 2, 1.0, [], [1], {}])
def test_anything_else_asks_for_no_reply(value):
    assert read(Channel.EVENTS, need_reply=value).need_reply is False


@pytest.mark.parametrize(
    ("channel", "data", "method"),
    [
        (Channel.REQUESTS, {"devices": []}, "airport_bind_status"),
        (Channel.REQUESTS, {"bind_devices": []}, "airport_organization_bind"),
        (Channel.REQUESTS, {"device_binding_code": "", "organization_id": ""}, "airport_organization_get"),
        (Channel.REQUESTS, {"config_type": "json"}, "config"),
        (Channel.REQUESTS, {"config_scope": "product"}, "config"),
        (Channel.REQUESTS, {}, ""),
        (Channel.REQUESTS, ["devices"], ""),
        (Channel.STATUS, {"sub_devices": []}, "update_topo"),
        (Channel.STATUS, {"type": 1}, "update_topo"),
        (Channel.STATUS, {}, ""),
        (Channel.SERVICES_REPLY, {"devices": []}, ""),
        (Channel.EVENTS, {"config_type": "json"}, ""),
    ],
)
@pytest.mark.parametrize("absent", [{}, {"method": None}, {"method": ""}, {"method": 5}])
def test_missing_method_is_inferred_from_the_data(channel, data, method, absent):
    assert read(channel, data=data, **absent).method == method


def test_method_that_is_there_is_not_inferred():
    assert read(method="new_thing", data={"devices": []}).method == "new_thing"


@pytest.mark.parametrize("channel", [Channel.OSD, Channel.STATE, Channel.PROPERTY_SET, Channel.PROPERTY_SET_REPLY])
def test_channels_without_method_have_none(channel):
    assert read(channel, method="config").method == ""


@pytest.mark.parametrize("tid", [None, "", 1.5, True, [], {}])
def test_message_without_tid_is_refused_and_cannot_be_answered(tid):
    with pytest.raises(RemoteProtocolError) as caught:
        read(tid=tid)
    assert caught.value.reason == "tid_missing"
    assert caught.value.envelope.tid == ""


def test_what_a_message_without_tid_says_is_kept():
    with pytest.raises(RemoteProtocolError) as caught:
        decode(b'{"method":"m","data":{"a":1}}', channel=Channel.EVENTS)
    assert (caught.value.envelope.method, caught.value.envelope.data) == ("m", {"a": 1})


def test_message_that_is_no_envelope_is_kept_whole():
    with pytest.raises(RemoteProtocolError) as caught:
        decode(b'{"hello":"world"}', channel=Channel.EVENTS)
    assert caught.value.envelope.data == {"hello": "world"}


@pytest.mark.parametrize(
    "data", [{"online": False}, {"online": 0}, {"online": "false"}, {"status": "offline"}, {"state": "OFFLINE"}]
)
def test_last_will_needs_no_tid_on_the_status_topic(data):
    for message in (data, {"data": data}, {"data": data, "method": "update_topo"}):
        envelope = decode(json.dumps(message).encode(), channel=Channel.STATUS)
        assert (envelope.tid, envelope.method, envelope.data) == ("", "update_topo", data)


@pytest.mark.parametrize("channel", [Channel.OSD, Channel.STATE])
@pytest.mark.parametrize("tid", [None, "", [], "t" * 129])
def test_telemetry_needs_no_tid(channel, tid):
    assert read(channel, tid=tid, data={"a": 1}) == read(channel, tid="", data={"a": 1})


def test_numbers_serve_as_ids():
    envelope = read(tid=17, bid=18)
    assert (envelope.tid, envelope.bid) == ("17", "18")


def test_ids_are_opaque_and_may_have_128_characters():
    envelope = read(tid="机" * 128, bid="b" * 128)
    assert (envelope.tid, envelope.bid) == ("机" * 128, "b" * 128)


@pytest.mark.parametrize("bid", [None, [], {}, 1.5])
def test_unusable_bid_is_empty(bid):
    assert read(bid=bid).bid == ""


@pytest.mark.parametrize("gateway", [None, "", 5, [], "a/b", "+", "A" * 65])
def test_unusable_gateway_is_empty(gateway):
    assert read(Channel.OSD, gateway=gateway).gateway == ""


def test_last_of_duplicate_keys_wins():
    envelope = decode(b'{"tid":"a","tid":"b","data":{"k":1,"k":2}}', channel=Channel.EVENTS)
    assert (envelope.tid, envelope.data) == ("b", {"k": 2})


def test_trailing_commas_are_forgiven_outside_text():
    envelope = decode(b'{"tid":"t","data":{"a":[1,\n],"b":",]\\",}",\t},}', channel=Channel.EVENTS)
    assert envelope.data == {"a": [1], "b": ',]",}'}


def test_whole_numbers_of_any_size_are_read():
    assert read(data={"a": 2**200}).data == {"a": 2**200}


@pytest.mark.parametrize(
    ("channel", "limit"), [(Channel.EVENTS, MAX_PAYLOAD), (Channel.SERVICES_REPLY, MAX_SERVICES_REPLY)]
)
def test_size_cap_is_exact(channel, limit):
    frame = b'{"tid":"t","data":"%b"}'
    fits = frame % (b"x" * (limit - len(frame) + 2))
    assert len(fits) == limit
    assert decode(fits, channel=channel).tid == "t"
    with pytest.raises(RemoteProtocolError, match="too_large"):
        decode(fits + b" ", channel=channel)


def test_list_of_10000_licenses_is_within_all_caps():
    fields = {f"field_{number}": number for number in range(10)}
    entry = {
        "common_fields": fields,
        "circle_unlock": {"height": 1, "latitude": 2, "longitude": 3, "radius": 4},
    }
    envelope = read(Channel.SERVICES_REPLY, data={"result": 0, "licenses": [entry] * 10_000})
    assert len(envelope.data["licenses"]) == 10_000


def test_error_detail_holds_nothing_of_the_payload():
    with pytest.raises(RemoteProtocolError) as caught:
        decode(b'{"tid":"t","data":{"password":"hunter2",,}}', channel=Channel.SERVICES)
    assert "hunter2" not in str(caught.value) + caught.value.detail


def test_message_is_written_compactly_and_without_a_colon_in_the_key():
    assert write() == (
        b'{"tid":"t-1","bid":"b-1","method":"config","timestamp":1654070968655,"gateway":"DOCK1","data":{}}'
    )


def test_empty_method_and_gateway_are_left_out_and_bid_is_not():
    assert json.loads(write(method=None, gateway="", bid="")) == {
        "tid": "t-1",
        "bid": "",
        "timestamp": NOW,
        "data": {},
    }


def test_need_reply_goes_out_as_a_number():
    assert json.loads(write(need_reply=True))["need_reply"] == 1


def test_typed_data_is_written():
    assert json.loads(write(data=ResultReply(210230)))["data"] == {"result": 210230, "output": {}}
    assert json.loads(write(data=LicenseUpdateRequest()))["data"] == {}


class Height(msgspec.Struct):
    metres: float
    note: str | None = None


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("wrap", [lambda n: {"a": [{"b": n}]}, lambda n: {"a": (None, n)}, Height])
def test_what_is_not_a_number_is_not_sent(number, wrap):
    with pytest.raises(LocalProtocolError, match="not a number"):
        write(data=wrap(number))


def test_null_is_sent():
    assert json.loads(write(data=Height(1.5)))["data"] == {"metres": 1.5, "note": None}


@pytest.mark.parametrize(
    "changes",
    [
        {"tid": ""},
        {"tid": "t" * 129},
        {"bid": "b" * 129},
        {"method": "m" * 129},
        {"data": {"a": "\0"}},
        {"data": {"a": "\ud800"}},
        {"data": {"a": object()}},
        {"data": {(1, 2): 3}},
    ],
)
def test_what_may_not_be_said_is_not_sent(changes):
    with pytest.raises(LocalProtocolError):
        write(**changes)
