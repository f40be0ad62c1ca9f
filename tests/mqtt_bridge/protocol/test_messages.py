"""The typed messages, method by method."""

import json

import msgspec
import pytest

from mqtt_bridge.protocol.envelope import encode
from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.messages import (
    AccountEvent,
    AccountReply,
    BindDevice,
    BindOutput,
    BindReply,
    BindRequest,
    BindStatusReply,
    BindStatusRequest,
    ConfigReply,
    ConfigRequest,
    DeviceRef,
    ErrInfo,
    EventAck,
    LicenseListReply,
    LicenseSwitchReply,
    LicenseUpdateReply,
    LoginRequest,
    LogoutRequest,
    OrganizationGetReply,
    OrganizationGetRequest,
    ResultReply,
    SubDevice,
    Telemetry,
    TopoReply,
    UpdateTopo,
    decode_data,
    extract,
)

CONFIG = {"app_id": "123", "app_key": "key-1", "app_license": "license-1", "ntp_server_host": "ntp.example"}


def wire(data):
    payload = encode(tid="t", bid="b", method="m", timestamp=1654070968655, gateway="", data=data)
    return json.loads(payload)["data"]


def licenses(*entries, **fields):
    return decode_data(LicenseListReply, {"result": 0, "licenses": list(entries)} | fields)


def test_config_reply_is_flat():
    assert wire(ConfigReply(**CONFIG)) == CONFIG | {"ntp_server_port": 123, "result": 0}


def test_config_reply_can_do_without_result():
    assert "result" not in wire(ConfigReply(**CONFIG, result=msgspec.UNSET))


def test_config_request_is_read_whatever_it_asks_for():
    assert decode_data(ConfigRequest, {"config_type": 1, "config_scope": []}) == ConfigRequest("1", "")


@pytest.mark.parametrize(
    "message",
    [
        ConfigReply(**(CONFIG | {"app_key": "hunter2", "app_license": "hunter2"})),
        LoginRequest("alice", "hunter2", "hunter2"),
        OrganizationGetRequest("hunter2", "org"),
        BindRequest([BindDevice("hunter2", "org")]),
    ],
)
def test_repr_shows_no_secret(message):
    assert "hunter2" not in repr(message)
    assert "***" in repr(message)


@pytest.mark.parametrize("entry", [{}, {"sn": None}, {"sn": 5}, {"sn": ["A"]}, {"sn": "a/b"}, 1, None, "A"])
def test_entry_without_serial_number_does_not_spoil_the_others(entry):
    data = {"devices": [entry, {"sn": "AIR1"}]}
    assert decode_data(BindStatusRequest, data).devices == [DeviceRef(""), DeviceRef("AIR1")]
    bind = decode_data(BindRequest, {"bind_devices": [entry, {"sn": "AIR1"}]})
    assert [device.sn for device in bind.bind_devices] == ["", "AIR1"]


@pytest.mark.parametrize("count", [1, 2, 50])
def test_one_to_fifty_devices_may_be_bound(count):
    entries = [{"sn": f"SN{number}"} for number in range(count)]
    assert len(decode_data(BindRequest, {"bind_devices": entries}).bind_devices) == count


@pytest.mark.parametrize("devices", [None, {}, "x", [], [{"sn": "A"}] * 51])
def test_other_lists_cannot_be_bound(devices):
    with pytest.raises(RemoteProtocolError, match="data_invalid"):
        decode_data(BindRequest, {"bind_devices": devices})


def test_bind_entry_is_read_leniently():
    entry = {
        "device_binding_code": 12345678,
        "organization_id": "x" * 257,
        "device_callsign": "c" * 129,
        "sn": "DOCK1",
        "device_model_key": "k" * 33,
    }
    (device,) = decode_data(BindRequest, {"bind_devices": [entry]}).bind_devices
    assert device == BindDevice("12345678", "", "c" * 128, "DOCK1", "")


def test_missing_credentials_are_blank():
    assert decode_data(OrganizationGetRequest, {}) == OrganizationGetRequest("", "")


def test_bind_reply_has_one_entry_per_device():
    reply = BindReply(0, BindOutput([ErrInfo("DOCK1"), ErrInfo("AIR1", 210232)]))
    assert wire(reply) == {
        "result": 0,
        "output": {"err_infos": [{"sn": "DOCK1", "err_code": 0}, {"sn": "AIR1", "err_code": 210232}]},
    }
    assert decode_data(BindReply, wire(reply)) == reply


@pytest.mark.parametrize("type_", [BindReply, BindStatusReply, OrganizationGetReply])
@pytest.mark.parametrize("output", [{}, None, "no such organization", []])
def test_refusals_are_read_with_any_output(type_, output):
    assert decode_data(type_, {"result": 210230, "output": output}) == type_(210230)


def test_short_answers():
    assert wire(ResultReply(210003)) == {"result": 210003, "output": {}}
    assert wire(EventAck()) == wire(TopoReply()) == {"result": 0}


TOPO = {
    "domain": "3",
    "type": 2,
    "sub_type": 0,
    "device_secret": "s",
    "nonce": "n",
    "thing_version": "1.1.2",
    "sub_devices": [
        {"sn": "AIR1", "domain": "0", "type": 91, "sub_type": 1, "index": "A", "thing_version": "1.1.2"},
    ],
}


def test_topology_is_read():
    topo = decode_data(UpdateTopo, TOPO)
    assert (topo.model_key, topo.thing_version) == ("3-2-0", "1.1.2")
    assert topo.sub_devices == [SubDevice("AIR1", "0", 91, 1, "A", "1.1.2")]
    assert topo.sub_devices[0].model_key == "0-91-1"


def test_topology_drops_secrets_and_is_written_as_documented():
    expected = {key: value for key, value in TOPO.items() if key not in ("device_secret", "nonce")}
    assert wire(decode_data(UpdateTopo, TOPO)) == expected


def test_topology_takes_numbers_as_text_and_the_old_version_field():
    topo = decode_data(UpdateTopo, {"domain": 3, "type": "1", "version": 1, "sub_devices": [{"sn": "A", "version": 2}]})
    assert (topo.model_key, topo.thing_version, topo.sub_devices[0].thing_version) == ("3-1-0", "1", "2")


@pytest.mark.parametrize("domain", [{}, {"domain": None}, {"domain": ""}])
@pytest.mark.parametrize(
    ("type_", "gateway", "carried"), [(3, "3-3-0", "3-3-0"), (100, "0-100-0", "0-100-0"), (999, "3-999-0", "0-999-0")]
)
def test_missing_domain_is_inferred_from_the_type_or_else_from_the_place(domain, type_, gateway, carried):
    device = domain | {"type": type_}
    topo = decode_data(UpdateTopo, device | {"sub_devices": [device | {"sn": "AIR1"}]})
    assert (topo.model_key, topo.sub_devices[0].model_key) == (gateway, carried)


@pytest.mark.parametrize("data", [{}, {"sub_devices": None}, {"sub_devices": []}])
def test_no_sub_devices_means_none(data):
    assert decode_data(UpdateTopo, data) == UpdateTopo()


@pytest.mark.parametrize("entries", [{}, "AIR1", 1, [{}] * 51])
def test_topology_with_another_kind_of_list_is_refused(entries):
    with pytest.raises(RemoteProtocolError, match="sub_devices"):
        decode_data(UpdateTopo, {"sub_devices": entries})


def test_unusable_sub_device_has_no_serial_number():
    topo = decode_data(UpdateTopo, {"type": "x", "sub_devices": [1, {"sn": 2}, {"sn": "AIR1", "type": {}}]})
    assert [device.sn for device in topo.sub_devices] == ["", "", "AIR1"]
    assert [topo.model_key, topo.sub_devices[2].model_key] == ["", ""]


def test_logout_request_is_empty():
    assert wire(LogoutRequest()) == {}


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        ({"result": 0, "output": {"status": "in_progress"}}, AccountReply(0, "in_progress")),
        ({"result": 0, "status": "ok"}, AccountReply(0, "ok")),
        ({"result": "314000"}, AccountReply(314000, "")),
        ({"result": 0, "output": {}}, AccountReply(0, "")),
        ({"result": 0, "output": None}, AccountReply(0, "")),
        ({"output": {"status": "failed"}}, AccountReply(0, "failed")),
        ({"result": 0, "output": {"status": []}}, AccountReply(0, "")),
    ],
)
def test_account_reply_is_read_flat_and_nested(data, reply):
    assert decode_data(AccountReply, data) == reply


@pytest.mark.parametrize("type_", [AccountReply, AccountEvent])
@pytest.mark.parametrize("data", [{}, {"output": {}}, {"result": None}, {"output": {"status": ""}}])
def test_account_message_that_says_nothing_is_refused(type_, data):
    with pytest.raises(RemoteProtocolError, match="neither result nor status"):
        decode_data(type_, data)


def test_account_event_is_read_and_written():
    data = {
        "result": 0,
        "sub_device_sn": "AIR1",
        "output": {
            "status": "failed",
            "progress": {"percent": 40},
            "verification_code_url": "https://example.com/?q=1",
        },
    }
    event = decode_data(AccountEvent, data)
    assert event == AccountEvent(0, "failed", 40, "AIR1", "https://example.com/?q=1")
    assert wire(event) == data


@pytest.mark.parametrize(
    ("sent", "percent"),
    [
        *[(0, 0), (100, 100), (-5, 0), (250, 100), (45.7, 45), ("45", 45), (2**80, 100), (10**400, None)],
        *[(None, None), ("half", None), ("nan", None), ("inf", None), ([], None), ({}, None)],
    ],
)
def test_percent_is_0_to_100_or_unknown(sent, percent):
    data = {"result": 0, "output": {"status": "in_progress", "progress": {"percent": sent}}}
    assert decode_data(AccountEvent, data).percent == percent


@pytest.mark.parametrize("progress", [None, 5, [], {}, {"percent": None}])
def test_progress_may_be_absent(progress):
    data = {"result": 0, "output": {"status": "sent", "progress": progress}}
    assert decode_data(AccountEvent, data).percent is None


@pytest.mark.parametrize("url", [5, [], "https://example.com/" + "x" * 2048])
def test_unusable_link_is_none(url):
    data = {"output": {"status": "failed", "verification_code_url": url}}
    event = decode_data(AccountEvent, data)
    assert event.status == "failed"
    assert event.verification_code_url in ("", str(url) if isinstance(url, int) else "")


@pytest.mark.parametrize("nest", [lambda data: data, lambda data: {"output": data}])
def test_license_replies_are_read_flat_and_nested(nest):
    switch = {"license_id": "240330"}
    assert decode_data(LicenseSwitchReply, {"result": 0} | nest(switch)) == LicenseSwitchReply(0, 240330)
    listed = {"device_model_domain": "3", "consistence": 1, "licenses": []}
    assert decode_data(LicenseListReply, {"result": 0} | nest(listed)) == LicenseListReply(0, 3, True, [])


@pytest.mark.parametrize("type_", [LicenseSwitchReply, LicenseUpdateReply, LicenseListReply])
def test_license_reply_needs_a_result(type_):
    with pytest.raises(RemoteProtocolError, match="result"):
        decode_data(type_, {"output": {}})


def test_unreadable_echo_does_not_lose_the_result():
    assert decode_data(LicenseSwitchReply, {"result": 5, "license_id": "x"}) == LicenseSwitchReply(5)


@pytest.mark.parametrize("data", [{"result": 0}, {"result": 0, "licenses": None}])
def test_reply_without_licenses_says_nothing_about_them(data):
    assert decode_data(LicenseListReply, data).licenses is None


def test_empty_list_says_that_there_are_none():
    assert licenses().licenses == []


@pytest.mark.parametrize("entries", [{}, "x", 5, [{}] * 10_001])
def test_license_list_that_is_none_or_too_long_is_refused(entries):
    with pytest.raises(RemoteProtocolError, match="licenses"):
        decode_data(LicenseListReply, {"result": 0, "licenses": entries})


def test_license_without_id_is_dropped_and_counted():
    reply = licenses({"common_fields": {"license_id": 1}}, {}, 5, {"common_fields": {"license_id": 2**70}})
    assert [license_.common_fields.license_id for license_ in reply.licenses] == [1]
    assert reply.dropped == 3


def test_license_of_unknown_type_is_kept_whole():
    entry = {"common_fields": {"license_id": 1, "type": 9, "colour": "red"}, "moon_unlock": {"phase": 2}}
    (license_,) = licenses(entry).licenses
    assert license_.raw == entry
    assert license_.details == {"phase": 2}
    assert license_.unlock is None
    assert license_.common_fields.type == 9


def test_unreadable_sub_struct_stays_in_raw():
    circle = {"radius": 5, "latitude": 91, "longitude": 0}
    (license_,) = licenses({"common_fields": {"license_id": 1, "type": 1}, "circle_unlock": circle}).licenses
    assert license_.unlock is None
    assert license_.details == circle


def test_details_are_those_of_the_license_type():
    entry = {
        "common_fields": {"license_id": 1, "type": 3},
        "area_unlock": {"area_ids": [1]},
        "height_unlock": {"height": 120},
    }
    (license_,) = licenses(entry).licenses
    assert license_.details == {"height": 120}
    assert license_.unlock == license_.height_unlock


def test_polygon_has_at_most_10000_corners():
    def polygon(count):
        points = [{"latitude": 1, "longitude": 2}] * count
        entry = {"common_fields": {"license_id": 1, "type": 4}, "polygon_unlock": {"points": points}}
        return licenses(entry).licenses[0].unlock

    assert len(polygon(10_000).points) == 10_000
    assert polygon(10_001) is None


def test_license_fields_are_read_leniently():
    fields = {"license_id": "7", "enabled": "1", "user_only": 0, "name": "n" * 300, "user_id": 5, "type": "x"}
    common = licenses({"common_fields": fields}).licenses[0].common_fields
    assert (common.license_id, common.enabled, common.user_only) == (7, True, False)
    assert (common.name, common.user_id, common.type) == ("n" * 256, "5", None)


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        *[
            (1696948115, 1696948115),
            ("1696948115", 1696948115),
            (1696948115000, 1696948115),
            (0, 0),
            (60, 60),
        ],
        *[(10**11 - 1, 10**11 - 1), (1696948115 * 10**9, 1696948115), (-1, None), (2**70, None), ("", None)],
    ],
)
def test_license_times_are_seconds(sent, seconds):
    common = licenses({"common_fields": {"license_id": 1, "end_time": sent}}).licenses[0].common_fields
    assert common.end_time == seconds


def test_license_list_is_written_as_it_came():
    data = {"result": 0, "consistence": True, "licenses": [{"common_fields": {"license_id": 1}, "raw": 5}]}
    assert wire(decode_data(LicenseListReply, data)) == data


def test_telemetry_is_extracted():
    data = {"latitude": 22.5, "longitude": "113.9", "mode_code": "4", "firmware_version": "10.01", "x": {}}
    assert extract(data) == Telemetry(22.5, 113.9, 4, "10.01")


@pytest.mark.parametrize(
    "data",
    [
        {"latitude": 91, "longitude": 0},
        {"latitude": 1, "longitude": -180.5},
        {"latitude": 1},
        {"longitude": 1},
        {"latitude": 0, "longitude": 0.0},
        {"latitude": "nan", "longitude": 1},
        {"latitude": [], "longitude": {}},
        {"latitude": True, "longitude": True},
    ],
)
def test_position_is_whole_or_absent(data):
    frame = extract(data | {"mode_code": 1})
    assert (frame.latitude, frame.longitude, frame.mode_code) == (None, None, 1)


@pytest.mark.parametrize("position", [(0, 1), (-90, 0), (90, 180), (-33.9, -180)])
def test_position_anywhere_on_earth_is_taken(position):
    frame = extract(dict(zip(("latitude", "longitude"), position, strict=True)))
    assert (frame.latitude, frame.longitude) == position


@pytest.mark.parametrize("data", [None, [], "x", {}, {"mode_code": -1, "firmware_version": "v" * 65}])
def test_frame_without_anything_usable_is_empty(data):
    assert extract(data) == Telemetry()
