"""The poison corpus: every payload ends as its entry says, and quickly."""

import time

import msgspec
import pytest

from mqtt_bridge.protocol import messages
from mqtt_bridge.protocol.envelope import decode
from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.messages import decode_data, extract
from mqtt_bridge.protocol.topics import Channel
from tests.samples.poison import ACCEPTED, POISON, Poison

TYPES: dict[tuple[Channel, str], type[msgspec.Struct]] = {
    (Channel.REQUESTS, "config"): messages.ConfigRequest,
    (Channel.REQUESTS, "airport_bind_status"): messages.BindStatusRequest,
    (Channel.REQUESTS, "airport_organization_get"): messages.OrganizationGetRequest,
    (Channel.REQUESTS, "airport_organization_bind"): messages.BindRequest,
    (Channel.STATUS, "update_topo"): messages.UpdateTopo,
    (Channel.SERVICES_REPLY, "login_dji_account"): messages.AccountReply,
    (Channel.SERVICES_REPLY, "unlock_license_list"): messages.LicenseListReply,
    (Channel.SERVICES_REPLY, "unlock_license_update"): messages.LicenseUpdateReply,
    (Channel.EVENTS, "login_dji_account"): messages.AccountEvent,
}


def outcome(poison: Poison) -> str:
    try:
        envelope = decode(poison.payload, channel=poison.channel)
        extract(envelope.data)
        if (poison.channel, envelope.method) in TYPES:
            decode_data(TYPES[poison.channel, envelope.method], envelope.data)
    except RemoteProtocolError as error:
        return error.reason
    return ACCEPTED


@pytest.mark.parametrize("poison", POISON, ids=lambda poison: poison.name)
def test_poison_ends_as_its_entry_says(poison):
    assert outcome(poison) == poison.expected


@pytest.mark.parametrize("poison", POISON, ids=lambda poison: poison.name)
def test_poison_costs_little_time(poison):
    started = time.process_time()
    outcome(poison)
    assert time.process_time() - started < 0.5


def test_corpus_is_large_and_its_names_are_unique():
    names = [poison.name for poison in POISON]
    assert len(names) == len(set(names)) >= 70


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"tid":"t-1","bid":"b-1","method":"m","data":"\\u0000"}', "nul_character"),
        (b'{"tid":"t-1","bid":"b-1","method":"m","data":' + b"[" * 40 + b"]" * 40 + b"}", "too_deep"),
        (b'{"tid":"t-1","bid":"b-1","method":"m","data":["' + b'",0,"' * 20_000 + b'"]}', "too_many_nodes"),
        (b'{"tid":"t-1","bid":"b-1","method":"m","data":1e400}', "number_out_of_range"),
        (b'{"tid":"t-1","bid":"b-1","method":"m","data":"\xff"}', "not_utf8"),
    ],
)
def test_refused_message_can_be_answered_if_its_head_is_sound(payload, reason):
    with pytest.raises(RemoteProtocolError) as caught:
        decode(payload, channel=Channel.REQUESTS)
    assert caught.value.reason == reason
    envelope = caught.value.envelope
    assert (envelope.tid, envelope.bid, envelope.method, envelope.data) == ("t-1", "b-1", "m", {})


def test_refused_message_with_a_nul_in_its_tid_is_not_answered():
    with pytest.raises(RemoteProtocolError) as caught:
        decode(b'{"tid":"t\\u0000","method":"m","data":{}}', channel=Channel.REQUESTS)
    assert caught.value.envelope is None


def test_refused_message_keeps_an_answerable_tid_when_bid_or_method_is_too_long():
    payload = b'{"tid":"t-1","bid":"%b","method":"%b","data":{"a":1}}' % (b"b" * 129, b"m" * 129)
    with pytest.raises(RemoteProtocolError) as caught:
        decode(payload, channel=Channel.REQUESTS)
    envelope = caught.value.envelope
    assert (envelope.tid, envelope.bid, envelope.method, envelope.data) == ("t-1", "", "", {})
