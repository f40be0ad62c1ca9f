"""Hostile and broken payloads, each with its expected outcome."""

import json
from typing import Any, NamedTuple

from mqtt_bridge.protocol.topics import Channel

ACCEPTED = "accepted"


class Poison(NamedTuple):
    """`expected` is "accepted", or the reason why the envelope or its typed data is refused."""

    name: str
    channel: Channel
    payload: bytes
    expected: str


def _message(data: bytes, *, method: str = "airport_organization_bind", head: bytes = b"") -> bytes:
    return b'{"tid":"t-1","bid":"b-1","method":"%b",%b"data":%b}' % (method.encode(), head, data)


def _bind(**fields: Any) -> bytes:
    device = {
        "device_binding_code": "ABCDEFGHJKLM",
        "organization_id": "12345678",
        "device_callsign": "Roof",
        "sn": "DOCK1",
        "device_model_key": "3-1-0",
    }
    return _message(json.dumps({"bind_devices": [device | fields]}).encode())


def _data(value: Any, method: str = "airport_organization_bind") -> bytes:
    return _message(json.dumps(value).encode(), method=method)


R, E, S, O = Channel.REQUESTS, Channel.EVENTS, Channel.STATUS, Channel.OSD  # noqa: E741
A = Channel.SERVICES_REPLY
_LIST = "unlock_license_list"
_LOGIN = "login_dji_account"

_BYTES = [
    Poison("nothing", R, b"", "empty"),
    Poison("only white space", R, b" \r\n\t ", "empty"),
    Poison("one NUL", R, b"\0", "nul_character"),
    Poison("random bytes", R, bytes(range(1, 256)), "not_utf8"),
    Poison("truncated in a key", R, b'{"tid":"t-1","bi', "not_json"),
    Poison("truncated in an escape", R, b'{"tid":"t-1\\', "not_json"),
    Poison("truncated before the last brace", R, _bind()[:-1], "not_json"),
    Poison("two messages in one", R, _bind() + _bind(), "not_json"),
    Poison("rubbish after the message", R, _bind() + b"x", "not_json"),
    Poison("NUL after the message", R, _bind() + b"\0", "nul_character"),
    Poison("byte order mark", R, b"\xef\xbb\xbf" + _bind(), ACCEPTED),
    Poison("two byte order marks", R, b"\xef\xbb\xbf" * 2 + _bind(), "byte_order_mark"),
    Poison("byte order mark alone", R, b"\xef\xbb\xbf", "empty"),
    Poison("UTF-16", R, _bind().decode().encode("utf-16"), "nul_character"),
    Poison("UTF-16 mark alone", R, b"\xff\xfe{}", "byte_order_mark"),
    Poison("Latin-1 callsign", R, _message('{"bind_devices":[{"sn":"ä"}]}'.encode("latin-1")), "not_utf8"),
    Poison("Latin-1 key", R, _message('{"ä":1}'.encode("latin-1")), "not_utf8"),
    Poison("overlong encoding", R, _message(b'{"sn":"\xc0\x80"}'), "not_utf8"),
    Poison("surrogate encoded as UTF-8", R, _message(b'{"sn":"\xed\xa0\x80"}'), "not_utf8"),
    Poison("gzip", R, b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "nul_character"),
    Poison("XML", R, b"<?xml version='1.0'?><message/>", "not_json"),
    Poison("form data", R, b"tid=1&method=config", "not_json"),
    Poison("single quotes", R, b"{'tid':'t-1'}", "not_json"),
    Poison("no quotes", R, b"{tid:1}", "not_json"),
    Poison("line comment", R, b'{"tid":"t-1" // which\n}', "not_json"),
    Poison("block comment", R, b'{"tid":"t-1"/* which */}', "not_json"),
    Poison("control character in text", R, _message(b'{"sn":"a\x01b"}'), "not_json"),
    Poison("tab in text", R, _message(b'{"sn":"a\tb"}'), "not_json"),
    Poison("bad escape", R, _message(b'{"sn":"\\x41"}'), "not_json"),
    Poison("leading zero", R, _message(b'{"n":01}'), "not_json"),
    Poison("hexadecimal number", R, _message(b'{"n":0x10}'), "not_json"),
    Poison("Python's True", R, _message(b'{"n":True}'), "not_json"),
]

_COMMAS = [
    Poison("trailing comma in an object", R, b'{"tid":"t-1","method":"config","data":{},}', ACCEPTED),
    Poison("trailing commas at every level", E, b'{"tid":"t","data":{"a":[1,2 , ],},\n}', ACCEPTED),
    Poison("comma and bracket inside text", E, b'{"tid":"t","data":{"a":",}",},}', ACCEPTED),
    Poison("two trailing commas", R, b'{"tid":"t-1",,}', "not_json"),
    Poison("only a comma in a list", R, b'{"tid":"t-1","data":[,]}', "not_json"),
    Poison("only a comma in an object", R, b'{"tid":"t-1","data":{,}}', "not_json"),
    Poison("leading comma", R, b'{,"tid":"t-1"}', "not_json"),
    Poison("100,000 commas", R, b'{"tid":[1' + b"," * 100_000 + b"]}", "too_many_nodes"),
    Poison("many escaped quotation marks, unclosed", R, b'"' + b'\\"' * 100_000, "not_json"),
]

_SIZE = [
    Poison("one byte too large", R, _message(b'"' + b"x" * 262_144 + b'"'), "too_large"),
    Poison("300 kB of spaces", R, b" " * 300_000, "too_large"),
    Poison("5 MB services_reply", A, b" " * 5_000_000, "too_large"),
    Poison("300 kB services_reply", A, _message(b'{"result":0,"x":"' + b"x" * 300_000 + b'"}'), ACCEPTED),
    Poison("100,000 open brackets", R, b"[" * 100_000, "too_many_nodes"),
    Poison("15,000 open brackets", R, b"[" * 15_000, "too_deep"),
    Poison("100,000 open objects", R, b'{"a":' * 50_000, "too_many_nodes"),
    Poison("nested 100 levels", R, _message(b"[" * 100 + b"]" * 100), "too_deep"),
    Poison("objects nested 33 levels", E, _message(b'{"a":' * 32 + b"1" + b"}" * 32), "too_deep"),
    Poison("lists nested 33 levels", E, _message(b"[" * 32 + b"]" * 32), "too_deep"),
    Poison("nested 32 levels", E, _message(b"[" * 31 + b"]" * 31, method="x"), ACCEPTED),
    Poison("lists and objects nested in turn", E, _message(b'[{"a":' * 16 + b"1" + b"}]" * 16), "too_deep"),
    Poison("brackets hidden in text", E, _message(b'["]",' * 40 + b"1" + b',"["]' * 40), "too_deep"),
    Poison("brackets in text only", E, _message(b'"' + b"[" * 1000 + b'"', method="x"), ACCEPTED),
    Poison(
        "brackets after an escaped quotation mark",
        E,
        _message(b'"\\"' + b"[" * 40 + b"]" * 40 + b'\\""', method="x"),
        ACCEPTED,
    ),
    Poison(
        "nesting between escaped quotation marks",
        E,
        _message(b'["\\"",' * 40 + b"1" + b',"\\""]' * 40, method="x"),
        "too_deep",
    ),
    Poison("nested beyond any stack in osd", O, b'{"data":' + b"[" * 99_999, "too_many_nodes"),
    Poison("25,000 numbers", R, _message(b"[" + b"1," * 24_999 + b"1]"), "too_many_nodes"),
    Poison("50,000 empty entries to bind", R, _data({"bind_devices": [{}] * 50_000}), "too_many_nodes"),
    Poison("20,000 keys", R, _data({str(number): 0 for number in range(20_000)}), "too_many_nodes"),
    Poison("services_reply of a million values", A, _message(b"[" + b"1," * 10**6 + b"1]"), "too_many_nodes"),
    Poison("a key of 100 kB", E, _data({"x" * 100_000: 1}, "x"), ACCEPTED),
]

_CHARACTERS = [
    Poison("escaped NUL in a callsign", R, _bind(device_callsign="a\0b"), "nul_character"),
    Poison("escaped NUL in a key", E, _data({"a\0": 1}, "x"), "nul_character"),
    Poison("escaped NUL in tid", R, b'{"tid":"a\\u0000","data":{}}', "nul_character"),
    Poison("escaped NUL after a backslash", E, _message(b'"\\\\\\u0000"'), "nul_character"),
    Poison("backslash and u0000 as text", E, _message(b'"\\\\u0000"', method="x"), ACCEPTED),
    Poison("high surrogate alone", R, _message(b'{"sn":"\\ud800"}'), "lone_surrogate"),
    Poison("low surrogate alone", R, _message(b'{"sn":"\\uDC00"}'), "lone_surrogate"),
    Poison("surrogates in the wrong order", R, _message(b'{"sn":"\\udc00\\ud800"}'), "lone_surrogate"),
    Poison("lone surrogate in a key", R, _message(b'{"\\udfff":1}'), "lone_surrogate"),
    Poison("high surrogate, then a letter", R, _message(b'{"sn":"\\ud83dx"}'), "lone_surrogate"),
    Poison("surrogate pair", R, _message(b'{"bind_devices":[{"sn":"\\ud83d\\ude00"}]}'), ACCEPTED),
    Poison("right-to-left override", R, _bind(device_callsign="\u202egnp.exe"), ACCEPTED),
    Poison("serial number in Chinese", R, _bind(sn="机场一号"), ACCEPTED),
    Poison("serial number with a wildcard", R, _bind(sn="+/#"), ACCEPTED),
    Poison("serial number with a line end", R, _bind(sn="DOCK1\n"), ACCEPTED),
    Poison("serial number of 100 kB", R, _bind(sn="A" * 100_000), ACCEPTED),
    Poison("SQL in a callsign", R, _bind(device_callsign="'); DROP TABLE devices_device;--"), ACCEPTED),
    Poison("script in a callsign", R, _bind(device_callsign="<script>alert(1)</script>"), ACCEPTED),
    Poison("template in a callsign", R, _bind(device_callsign="{{ settings.SECRET_KEY }}"), ACCEPTED),
    Poison("format string in a callsign", R, _bind(device_callsign="%s%n{0.__class__}"), ACCEPTED),
    Poison("spreadsheet formula in a callsign", R, _bind(device_callsign="=HYPERLINK(1)"), ACCEPTED),
    Poison("callsign of 100 kB", R, _bind(device_callsign="x" * 100_000), ACCEPTED),
]

_NUMBERS = [
    Poison("NaN", O, b'{"tid":"t","data":{"latitude":NaN}}', ACCEPTED),
    Poison("NaN in an event", E, b'{"tid":"t","data":{"latitude":NaN}}', "not_a_number"),
    Poison("Infinity", O, b'{"tid":"t","data":{"latitude":Infinity}}', ACCEPTED),
    Poison("Infinity in an event", E, b'{"tid":"t","data":{"latitude":Infinity}}', "not_a_number"),
    Poison("-Infinity", O, b'{"tid":"t","data":{"latitude":-Infinity}}', ACCEPTED),
    Poison("NaN as timestamp", R, b'{"tid":"t","timestamp":NaN,"data":{}}', "not_a_number"),
    Poison("NaN as text", E, b'{"tid":"t","method":"x","data":{"a":"NaN"}}', ACCEPTED),
    Poison("1e400", O, b'{"tid":"t","data":{"latitude":1e400}}', ACCEPTED),
    Poison("1e400 in an event", E, b'{"tid":"t","data":{"latitude":1e400}}', "number_out_of_range"),
    Poison("integer of 5,000 digits", E, _message(b"9" * 5000), "number_out_of_range"),
    Poison("integer of 1,000 digits", E, _message(b'{"result":' + b"9" * 1000 + b"}", method="x"), ACCEPTED),
    Poison("err of 65 bits in a reply", A, _data({"result": 2**64}, "unlock_license_update"), "data_invalid"),
    Poison("list reply with a huge id", A, _data({"result": 0, "licenses": [
        {"common_fields": {"license_id": 2**70}}]}, _LIST), ACCEPTED),
    Poison("huge timestamp", R, _message(b"{}", method="config", head=b'"timestamp":1e300,'), ACCEPTED),
    Poison("negative timestamp", R, _message(b"{}", method="config", head=b'"timestamp":-1,'), ACCEPTED),
    Poison("timestamp as a list", R, _message(b"{}", method="config", head=b'"timestamp":[1],'), ACCEPTED),
    Poison("timestamp in Arabic digits", R,
           _message(b"{}", method="config", head='"timestamp":"١٦٥٤٠٧٠٩٦٨٦٥٥",'.encode()), ACCEPTED),
    Poison("percent beyond any float", E, _message(
        b'{"result":0,"output":{"status":"ok","progress":{"percent":1' + b"0" * 999 + b"}}}",
        method=_LOGIN), ACCEPTED),
]  # fmt: skip

_ENVELOPES = [
    Poison("null", R, b"null", "not_an_object"),
    Poison("a number", R, b"1", "not_an_object"),
    Poison("text", R, b'"config"', "not_an_object"),
    Poison("true", R, b"true", "not_an_object"),
    Poison("a list", R, b"[]", "not_an_object"),
    Poison("a list with a message", R, b"[" + _bind() + b"]", "not_an_object"),
    Poison("an empty object", R, b"{}", "tid_missing"),
    Poison("an empty object as osd", O, b"{}", ACCEPTED),
    Poison("tid null", R, b'{"tid":null,"method":"config","data":{}}', "tid_missing"),
    Poison("tid empty", R, b'{"tid":"","method":"config","data":{}}', "tid_missing"),
    Poison("tid a list", R, b'{"tid":["t"],"method":"config","data":{}}', "tid_missing"),
    Poison("tid an object", R, b'{"tid":{"t":1},"method":"config","data":{}}', "tid_missing"),
    Poison("tid true", R, b'{"tid":true,"method":"config","data":{}}', "tid_missing"),
    Poison("tid a fraction", R, b'{"tid":1.5,"method":"config","data":{}}', "tid_missing"),
    Poison("tid a whole number", R, b'{"tid":17,"method":"config","data":{}}', ACCEPTED),
    Poison("tid of 129 characters", R, b'{"tid":"%b","data":{}}' % (b"t" * 129), "tid_too_long"),
    Poison("tid of 129 digits", R, b'{"tid":%b,"data":{}}' % (b"1" * 129), "tid_too_long"),
    Poison("bid of 129 characters", R, b'{"tid":"t","bid":"%b"}' % (b"b" * 129), "bid_too_long"),
    Poison("bid an object", R, b'{"tid":"t","bid":{},"method":"config","data":{}}', ACCEPTED),
    Poison("method of 129 characters", R, _data({}, "m" * 129), "method_too_long"),
    Poison("method a list", R, b'{"tid":"t","method":["config"],"data":{}}', ACCEPTED),
    Poison("method a dunder", R, _data({}, "__class__"), ACCEPTED),
    Poison("method missing, data empty", R, b'{"tid":"t","data":{}}', ACCEPTED),
    Poison("gateway an object", R, _message(b"{}", method="config", head=b'"gateway":{},'), ACCEPTED),
    Poison("gateway with a wildcard", O, b'{"tid":"t","gateway":"#","data":{}}', ACCEPTED),
    Poison("need_reply an object", E, _message(b"{}", method="x", head=b'"need_reply":{},'), ACCEPTED),
    Poison("need_reply a huge number", E, _message(b"{}", method="x", head=b'"need_reply":1e99,'), ACCEPTED),
    Poison("duplicate tid", R, b'{"tid":"a","tid":"b","method":"config","data":{}}', ACCEPTED),
    Poison("duplicate data", R, b'{"tid":"a","method":"config","data":1,"data":{}}', ACCEPTED),
    Poison("data null", R, _message(b"null", method="config"), ACCEPTED),
    Poison("data null to bind", R, _message(b"null"), "data_invalid"),
    Poison("data a list", R, _message(b"[1]"), "data_invalid"),
    Poison("data text", R, _message(b'"x"'), "data_invalid"),
    Poison("data a number", R, _message(b"1"), "data_invalid"),
    Poison("data false", R, _message(b"false"), "data_invalid"),
    Poison("data JSON in text", R, _data(json.dumps({"bind_devices": [{"sn": "A"}]})), "data_invalid"),
    Poison("data a list in an event", E, _message(b"[1]", method="airsense_warning"), ACCEPTED),
    Poison("data text in osd", O, b'{"tid":"t","data":"x"}', ACCEPTED),
    Poison("polluting keys", E, _data({"__proto__": {"a": 1}, "constructor": 1}, "x"), ACCEPTED),
]

_TYPED = [
    Poison("bind_devices missing", R, _data({}), "data_invalid"),
    Poison("bind_devices null", R, _data({"bind_devices": None}), "data_invalid"),
    Poison("bind_devices empty", R, _data({"bind_devices": []}), "data_invalid"),
    Poison("bind_devices an object", R, _data({"bind_devices": {"sn": "A"}}), "data_invalid"),
    Poison("bind_devices text", R, _data({"bind_devices": "DOCK1"}), "data_invalid"),
    Poison("51 devices to bind", R, _data({"bind_devices": [{"sn": "A"}] * 51}), "data_invalid"),
    Poison("entries of every wrong type", R, _data({"bind_devices": [1, "a", None, [], True]}), ACCEPTED),
    Poison("sn an object", R, _bind(sn={"$ne": ""}), ACCEPTED),
    Poison("sn a number", R, _bind(sn=123456), ACCEPTED),
    Poison("organization_id a number", R, _bind(organization_id=12345678), ACCEPTED),
    Poison("organization_id an object", R, _bind(organization_id={"$gt": ""}), ACCEPTED),
    Poison("binding code true", R, _bind(device_binding_code=True), ACCEPTED),
    Poison("binding code of 100 kB", R, _bind(device_binding_code="A" * 100_000), ACCEPTED),
    Poison("devices missing", R, _data({}, "airport_bind_status"), "data_invalid"),
    Poison("devices a number", R, _data({"devices": 2}, "airport_bind_status"), "data_invalid"),
    Poison("51 devices asked for", R, _data({"devices": [{}] * 51}, "airport_bind_status"), "data_invalid"),
    Poison("no devices asked for", R, _data({"devices": []}, "airport_bind_status"), ACCEPTED),
    Poison("code and id are lists", R, _data(
        {"device_binding_code": [], "organization_id": []}, "airport_organization_get"), ACCEPTED),
    Poison("topology of numbers", S, _data({"domain": {}, "type": "x", "sub_devices": [1]}, "update_topo"),
           ACCEPTED),
    Poison("sub_devices text", S, _data({"sub_devices": "AIR1"}, "update_topo"), "data_invalid"),
    Poison("51 sub-devices", S, _data({"sub_devices": [{}] * 51}, "update_topo"), "data_invalid"),
    Poison("login reply without result and status", A, _data({"output": {}}, _LOGIN), "data_invalid"),
    Poison("login reply with an object as result", A, _data({"result": {}}, _LOGIN), "data_invalid"),
    Poison("login event without result and status", E, _data({}, _LOGIN), "data_invalid"),
    Poison("login event with a script as link", E, _data(
        {"output": {"status": "failed", "verification_code_url": "javascript:alert(1)"}}, _LOGIN), ACCEPTED),
    Poison("licenses an object", A, _data({"result": 0, "licenses": {}}, _LIST), "data_invalid"),
    Poison("10,001 licenses", A, _data({"result": 0, "licenses": [{}] * 10_001}, _LIST), "data_invalid"),
    Poison("licenses of every wrong type", A, _data(
        {"result": 0, "licenses": [1, None, "x", [], {"common_fields": 1}]}, _LIST), ACCEPTED),
]  # fmt: skip

POISON: list[Poison] = [
    *_BYTES,
    *_COMMAS,
    *_SIZE,
    *_CHARACTERS,
    *_NUMBERS,
    *_ENVELOPES,
    *_TYPED,
]
