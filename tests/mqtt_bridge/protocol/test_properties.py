"""Whatever the bytes are: an envelope or a RemoteProtocolError, and never another exception."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqtt_bridge.protocol import messages
from mqtt_bridge.protocol.envelope import decode, encode
from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.messages import decode_data, extract
from mqtt_bridge.protocol.redaction import redact
from mqtt_bridge.protocol.topics import Channel, parse
from mqtt_bridge.protocol.untrusted_json import MAX_DEPTH

pytestmark = pytest.mark.turns(2)

SAMPLES = [path.read_bytes() for path in sorted(Path(__file__).parents[2].glob("samples/*.json"))]
TYPES = [
    messages.ConfigRequest,
    messages.ConfigReply,
    messages.BindStatusRequest,
    messages.BindStatusReply,
    messages.OrganizationGetRequest,
    messages.OrganizationGetReply,
    messages.BindRequest,
    messages.BindReply,
    messages.UpdateTopo,
    messages.TopoReply,
    messages.LoginRequest,
    messages.LogoutRequest,
    messages.AccountReply,
    messages.AccountEvent,
    messages.LicenseSwitchRequest,
    messages.LicenseSwitchReply,
    messages.LicenseUpdateRequest,
    messages.LicenseUpdateReply,
    messages.LicenseListRequest,
    messages.LicenseListReply,
    messages.ResultReply,
    messages.EventAck,
]
# The keys that we look for, so that the search reaches the code behind them.
NAMED = [*TYPES, messages.License, messages.CommonFields, messages.SubDevice, messages.BindDevice]
PLAIN = {"data", "need_reply", "output", "progress", "tid", "timestamp", "timestamp:", "version"}
WORDS = sorted(PLAIN.union(*(type_.__struct_encode_fields__ for type_ in NAMED)))

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 2**63, -(2**63) - 1, 10**19, 10**400])
    | st.floats()
    | st.text()
    | st.text(st.characters())
    | st.sampled_from(["0", "1", "true", "\0", "\ud800", "1e400", "nan", "DOCK1", "x" * 300])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=6),
    max_leaves=25,
)
clean_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
clean_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | clean_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(clean_text, inner, max_size=4),
    max_leaves=20,
)
channels = st.sampled_from(Channel)

few = settings(max_examples=25)


def walk(value, depth=0):
    """Yield every scalar and key with its depth."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if not isinstance(value, list):
        yield value, depth
        return
    yield None, depth + 1
    for inner in value:
        yield from walk(inner, depth + 1)


def refusal(read, *arguments, **named):
    """Return why it is refused, "" if it is not; any other exception fails the test."""
    try:
        read(*arguments, **named)
    except RemoteProtocolError as error:
        return error.reason
    return ""


def check(payload, channel):
    """What is accepted must be fit for a database and for JSON."""
    if refusal(decode, payload, channel=channel):
        return
    envelope = decode(payload, channel=channel)
    text = json.dumps([envelope.tid, envelope.bid, envelope.method, envelope.data], allow_nan=False)
    assert json.loads(text)[-1] == envelope.data
    for value, depth in walk(envelope.data):
        assert depth < MAX_DEPTH
        assert not isinstance(value, str) or "\0" not in value.encode().decode()
    redact(envelope.data)
    extract(envelope.data)


@given(st.binary(max_size=200), channels)
def test_any_bytes(payload, channel):
    check(payload, channel)


@given(values, channels)
def test_any_json(value, channel):
    check(json.dumps(value).encode(), channel)


@given(st.dictionaries(st.sampled_from(WORDS), values, max_size=8), channels, st.booleans())
def test_any_object(message, channel, ascii_only):
    text = json.dumps({"tid": "t-1"} | message, ensure_ascii=ascii_only)
    check(text.encode("utf-8", "surrogatepass"), channel)


@given(st.sampled_from(SAMPLES), st.data(), channels)
def test_any_damaged_sample(sample, data, channel):
    at = data.draw(st.integers(0, len(sample)))
    until = data.draw(st.integers(at, min(at + 9, len(sample))))
    check(sample[:at] + data.draw(st.binary(max_size=9)) + sample[until:], channel)


@pytest.mark.parametrize("type_", TYPES)
@few
@given(value=values)
def test_any_data_becomes_typed_or_is_refused(type_, value):
    assert refusal(decode_data, type_, value) in ("", "data_invalid")


@pytest.mark.turns(2)
@pytest.mark.parametrize("type_", TYPES)
@few
@given(data=st.data())
def test_any_object_with_known_keys_becomes_typed_or_is_refused(type_, data):
    keys = st.sampled_from([*type_.__struct_encode_fields__, "output", "version", "progress"])
    value = data.draw(st.dictionaries(keys, values, max_size=6))
    assert refusal(decode_data, type_, value) in ("", "data_invalid")


@given(
    tid=clean_text.filter(bool).map(lambda text: text[:128]),
    bid=clean_text.map(lambda text: text[:128]),
    timestamp=st.integers(10**11, 10**14 - 1),
    need_reply=st.booleans(),
    data=st.dictionaries(clean_text, clean_values, max_size=4),
)
def test_what_is_written_is_read_again(tid, bid, timestamp, need_reply, data):
    payload = encode(
        tid=tid,
        bid=bid,
        method="new_thing",
        timestamp=timestamp,
        gateway="DOCK1",
        data=data,
        need_reply=need_reply,
    )
    envelope = decode(payload, channel=Channel.EVENTS)
    assert (envelope.tid, envelope.bid, envelope.method) == (tid, bid, "new_thing")
    assert (envelope.timestamp, envelope.gateway, envelope.need_reply) == (timestamp, "DOCK1", need_reply)
    assert envelope.data == data


@given(st.text() | st.lists(st.sampled_from(["thing", "product", "sys", "A", "osd", "/"])).map("/".join))
def test_any_topic(topic):
    assert refusal(parse, topic) in ("", "topic_unknown")
