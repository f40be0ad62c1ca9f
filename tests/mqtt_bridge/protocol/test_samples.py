"""DJI's own examples: each is read, and written again from its typed message."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from mqtt_bridge.protocol.envelope import decode, encode
from mqtt_bridge.protocol.messages import (
    AccountEvent,
    AccountReply,
    AreaUnlock,
    BindReply,
    BindRequest,
    BindStatusReply,
    BindStatusRequest,
    CircleUnlock,
    CountryUnlock,
    HeightUnlock,
    LicenseListReply,
    LicenseListRequest,
    LicenseSwitchReply,
    LicenseSwitchRequest,
    LicenseUpdateReply,
    LicenseUpdateRequest,
    LoginRequest,
    LogoutRequest,
    OrganizationGetReply,
    OrganizationGetRequest,
    Point,
    PolygonUnlock,
    PowerUnlock,
    RidUnlock,
    decode_data,
)
from mqtt_bridge.protocol.topics import Channel

FOLDER = Path(__file__).parents[2] / "samples"
ACCOUNT = {"services_reply": AccountReply, "events": AccountEvent}
SAMPLES = {
    ("000", "login_dji_account"): ACCOUNT | {"services": LoginRequest},
    ("000", "logout_dji_account"): ACCOUNT | {"services": LogoutRequest},
    **{
        (page, method): {"services": request, "services_reply": reply}
        for page in ("001", "002")
        for method, request, reply in (
            ("unlock_license_switch", LicenseSwitchRequest, LicenseSwitchReply),
            ("unlock_license_update", LicenseUpdateRequest, LicenseUpdateReply),
            ("unlock_license_list", LicenseListRequest, LicenseListReply),
        )
    },
    ("003", "airport_bind_status"): {"requests": BindStatusRequest, "requests_reply": BindStatusReply},
    ("003", "airport_organization_get"): {
        "requests": OrganizationGetRequest,
        "requests_reply": OrganizationGetReply,
    },
    ("003", "airport_organization_bind"): {"requests": BindRequest, "requests_reply": BindReply},
}
TABLE = [
    (page, method, Channel(channel), type_)
    for (page, method), types in SAMPLES.items()
    for channel, type_ in types.items()
]


def sample(page, method, channel):
    return (FOLDER / f"{page}_{method}_{channel}.json").read_bytes()


def as_json(payload):
    """Parse an example the plain way: without its trailing commas, odd key and empty gateway."""
    message = json.loads(re.sub(r",(\s*})", r"\1", payload.decode()))
    message["timestamp"] = message.pop("timestamp:", message.get("timestamp"))
    return {key: value for key, value in message.items() if (key, value) != ("gateway", "")}


def test_every_example_is_in_the_table():
    assert {path.name for path in FOLDER.glob("*.json")} == {
        f"{page}_{method}_{channel}.json" for page, method, channel, _ in TABLE
    }
    assert len(TABLE) == 24


@pytest.mark.parametrize(("page", "method", "channel", "type_"), TABLE)
def test_example_is_read_and_written_again(page, method, channel, type_):
    payload = sample(page, method, channel)
    envelope = decode(payload, channel=channel)
    assert envelope.method == ("" if page == "002" else method)
    written = encode(
        tid=envelope.tid,
        bid=envelope.bid,
        method=envelope.method,
        timestamp=envelope.timestamp,
        gateway=envelope.gateway,
        data=decode_data(type_, envelope.data),
    )
    assert json.loads(written) == as_json(payload)


@pytest.mark.parametrize("name", ["login", "logout"])
def test_progress_examples_are_not_json_and_are_read_all_the_same(name):
    payload = sample("000", f"{name}_dji_account", "events")
    with pytest.raises(json.JSONDecodeError):
        json.loads(payload)
    assert decode(payload, channel=Channel.EVENTS).method == f"{name}_dji_account"


def test_organization_examples_have_the_colon_key():
    payload = sample("003", "airport_bind_status", "requests")
    assert b'"timestamp:"' in payload
    assert decode(payload, channel=Channel.REQUESTS).timestamp == 1654070968655


def test_english_examples_are_the_chinese_ones_without_method():
    for method in ("unlock_license_switch", "unlock_license_update", "unlock_license_list"):
        english = as_json(sample("002", method, "services"))
        assert english | {"method": method} == as_json(sample("001", method, "services"))


@pytest.mark.parametrize("page", ["001", "002"])
def test_license_list_example_has_one_license_of_each_type(page):
    envelope = decode(sample(page, "unlock_license_list", "services_reply"), channel=Channel.SERVICES_REPLY)
    reply = decode_data(LicenseListReply, envelope.data)
    assert [license_.unlock for license_ in reply.licenses] == [
        AreaUnlock([115001769, 8724]),
        CircleUnlock(1581, 22.60309, 113.947815, 500),
        CountryUnlock(156, 500),
        HeightUnlock(500),
        PolygonUnlock(
            [
                Point(22.55403932, 113.90488828),
                Point(22.55520018, 113.92180215),
                Point(22.54656858, 113.92051272),
            ]
        ),
        PowerUnlock(),
        RidUnlock(1),
    ]
    assert (reply.result, reply.device_model_domain, reply.consistence, reply.dropped) == (0, 0, False, 0)


def test_typed_licenses_lose_nothing_of_the_example():
    payload = sample("001", "unlock_license_list", "services_reply")
    data = decode(payload, channel=Channel.SERVICES_REPLY).data
    licenses = decode_data(LicenseListReply, data).licenses
    typed = [msgspec.to_builtins(msgspec.structs.replace(license_, raw={})) for license_ in licenses]
    assert typed == data["licenses"]
