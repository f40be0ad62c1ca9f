"""What a strict dock finds wrong, message by message."""

import json
from pathlib import Path
from typing import Any

import pytest

from mqtt_bridge.simulator import checks
from mqtt_bridge.simulator.checks import Question

SAMPLES = Path(__file__).parents[2] / "samples"
NOW = 1700000000000
ASKED: dict[str, Any] = {
    "config": {"config_type": "json", "config_scope": "product"},
    "airport_bind_status": {"devices": [{"sn": "AIR1"}, {"sn": "DOCK1"}]},
    "airport_organization_get": {"device_binding_code": "c", "organization_id": "o"},
    "airport_organization_bind": {"bind_devices": [{"sn": "DOCK1"}, {"sn": "AIR1"}, {}]},
    "update_topo": {"sub_devices": []},
}


def complaints(method: str, data: Any) -> list[str]:
    """What is wrong with such an answer, its envelope being right."""
    question = Question("DOCK1", method, "t", "b", ASKED[method])
    reply = {"tid": "t", "bid": "b", "timestamp": NOW, "method": method, "data": data}
    return checks.reply_complaints(question, reply)


def status(sn: str, **changes: Any) -> dict[str, Any]:
    names = ("organization_id", "organization_name", "device_callsign")
    return {"sn": sn, "is_device_bind_organization": False, **dict.fromkeys(names, ""), **changes}


def bind_status(*entries: Any) -> dict[str, Any]:
    return {"result": 0, "output": {"bind_status": list(entries)}}


def err_infos(*entries: Any) -> dict[str, Any]:
    return {"result": 0, "output": {"err_infos": list(entries)}}


LICENSE = {"app_id": "1", "app_key": "k", "app_license": "l", "ntp_server_host": "h"}


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("config", LICENSE),
        ("config", {"result": 0, "ntp_server_port": 123, **LICENSE}),
        ("config", {"result": 200001}),
        ("airport_bind_status", bind_status(status("AIR1"), status("DOCK1"))),
        ("airport_bind_status", {"result": 210233, "output": {"bind_status": []}}),
        ("airport_organization_get", {"result": 0, "output": {"organization_name": "Alice's"}}),
        ("airport_organization_get", {"result": 210230, "output": {}}),
        (
            "airport_organization_bind",
            err_infos({"sn": "DOCK1", "err_code": 0}, {"sn": "AIR1", "err_code": 0}, {"sn": "", "err_code": 1}),
        ),
        ("update_topo", {"result": 0}),
    ],
)
def test_documented_answers_are_fine(method: str, data: Any) -> None:
    assert complaints(method, data) == []


ORDER = "bind_status does not hold one entry for each device asked, in order."
BOOLEAN = "is_device_bind_organization is not a boolean."
AIR, DOCK = {"sn": "AIR1", "err_code": 0}, {"sn": "DOCK1", "err_code": 0}


@pytest.mark.parametrize(
    ("method", "data", "found"),
    [
        ("config", {**LICENSE, "app_id": 123456}, ["app_id is not a text."]),
        ("config", {**LICENSE, "ntp_server_port": "123"}, ["ntp_server_port is not an integer."]),
        ("config", {**LICENSE, "result": None}, ["result is not an integer."]),
        ("update_topo", {}, ["result is not an integer."]),
        ("update_topo", {"result": True}, ["result is not an integer."]),
        ("update_topo", None, ["data is not an object."]),
        (
            "airport_organization_get",
            {"result": 210230, "output": "no such code"},
            ["output is not an object."],
        ),
        (
            "airport_organization_get",
            {"result": 0, "output": {}},
            ["output.organization_name is not a text."],
        ),
        ("airport_bind_status", {"result": 0}, ["output.bind_status is not a list of objects."]),
        ("airport_bind_status", bind_status(1), ["output.bind_status is not a list of objects."]),
        ("airport_bind_status", bind_status(status("DOCK1"), status("AIR1")), [ORDER]),
        ("airport_bind_status", bind_status(status("AIR1")), [ORDER]),
        (
            "airport_bind_status",
            bind_status(status("AIR1", is_device_bind_organization=0), status("DOCK1")),
            [BOOLEAN],
        ),
        (
            "airport_bind_status",
            bind_status(status("AIR1"), status("DOCK1", organization_name=None)),
            ["organization_name is not a text."],
        ),
        ("airport_organization_bind", {"result": 0}, ["output.err_infos is not a list of objects."]),
        (
            "airport_organization_bind",
            err_infos(AIR, DOCK),
            ["err_infos does not hold one entry for each device asked, in order."],
        ),
        (
            "airport_organization_bind",
            err_infos(DOCK, {"sn": "AIR1", "err_code": "0"}, {"sn": "", "err_code": 1}),
            ["err_code is not an integer."],
        ),
    ],
)
def test_wrong_content_is_complained_about(method: str, data: Any, found: list[str]) -> None:
    assert complaints(method, data) == found


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b'{"a": 1,}', "Not JSON"),
        (b'{"a": NaN}', "Not JSON: NaN is not JSON"),
        (b"\xff", "Not JSON"),
        (b"[" * 100_000, "Not JSON"),
        (b"[]", "The message is not a JSON object."),
    ],
)
def test_payload_that_is_no_message_is_none(payload: bytes, complaint: str) -> None:
    message, found = checks.parse(payload)
    assert message is None
    assert found[0].startswith(complaint)


def test_double_key_is_complained_about_and_the_last_one_counts() -> None:
    assert checks.parse(b'{"a": 1, "b": {"c": 1, "c": 2}}') == (
        {"a": 1, "b": {"c": 2}},
        ["A key occurs twice in one object."],
    )


COMMAND = {"tid": "t", "bid": "b", "timestamp": NOW, "method": "cover_open", "data": {}}
PROPERTY = {"tid": "t", "bid": "b", "timestamp": NOW, "data": {"silent_mode": 1}}


def test_good_command_and_property_are_fine() -> None:
    assert checks.command_complaints("DOCK1", COMMAND) == []
    assert checks.property_complaints("DOCK1", PROPERTY) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"tid": ""}, "tid is not a text."),
        ({"bid": 7}, "bid is not a text."),
        ({"method": None}, "method is not a text."),
        ({"data": None}, "data is not an object."),
        ({"gateway": "DOCK2"}, "gateway is 'DOCK2' instead of 'DOCK1'."),
    ],
)
def test_bad_command_is_complained_about(change: dict[str, Any], found: str) -> None:
    assert checks.command_complaints("DOCK1", {**COMMAND, **change}) == [found]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"tid": None}, "tid is not a text."),
        ({"method": "x"}, "property/set has a method."),
        ({"data": {}}, "data does not hold exactly one property."),
        ({"data": {"a": 1, "b": 2}}, "data does not hold exactly one property."),
    ],
)
def test_bad_property_is_complained_about(change: dict[str, Any], found: str) -> None:
    assert checks.property_complaints("DOCK1", {**PROPERTY, **change}) == [found]


FILE = {"url": "https://example.org/a.kmz?Signature=x", "fingerprint": "0123456789abcdef" * 2}
LOGIN = {"username": "u", "password": "p", "verification_code": ""}


@pytest.mark.parametrize(
    "name",
    ["unlock_license_list", "unlock_license_switch", "login_dji_account", "logout_dji_account"],
)
def test_commands_of_the_documents_are_fine(name: str) -> None:
    folder = "001" if name.startswith("unlock") else "000"
    message = json.loads((SAMPLES / f"{folder}_{name}_services.json").read_text())
    assert checks.command_complaints("DOCK1", message) == []


def test_update_of_the_documents_lacks_only_a_real_fingerprint() -> None:
    message = json.loads((SAMPLES / "001_unlock_license_update_services.json").read_text())
    found = ["fingerprint is not an MD5 in lower-case hex."]
    assert checks.command_complaints("DOCK1", message) == found


def test_command_without_method_is_complained_about() -> None:
    message = json.loads((SAMPLES / "002_unlock_license_list_services.json").read_text())
    assert checks.command_complaints("DOCK1", message) == ["method is not a text."]


@pytest.mark.parametrize(
    ("method", "data", "found"),
    [
        ("unlock_license_update", {}, []),
        ("unlock_license_update", {"file": FILE}, []),
        ("unlock_license_list", {}, ["device_model_domain is neither 0 nor 3."]),
        ("unlock_license_list", {"device_model_domain": 1}, ["device_model_domain is neither 0 nor 3."]),
        ("unlock_license_list", {"device_model_domain": False}, ["device_model_domain is neither 0 nor 3."]),
        ("unlock_license_list", {"device_model_domain": "0"}, ["device_model_domain is neither 0 nor 3."]),
        ("unlock_license_list", {"device_model_domain": 3, "x": 1}, ["Unknown keys in data: x."]),
        ("unlock_license_switch", {"license_id": "7", "enable": True}, ["license_id is not an integer."]),
        ("unlock_license_switch", {"license_id": 7, "enable": 1}, ["enable is not a boolean."]),
        ("unlock_license_switch", {"enable": True}, ["license_id is not an integer."]),
        ("unlock_license_update", {"file": None}, ["file is null instead of left out."]),
        ("unlock_license_update", {"file": "a"}, ["file is not an object."]),
        ("unlock_license_update", {"file": {**FILE, "url": "ftp://a"}}, ["url is not an HTTP address."]),
        ("unlock_license_update", {"file": {**FILE, "name": "a"}}, ["Unknown keys in data: name."]),
        (
            "unlock_license_update",
            {"file": {**FILE, "fingerprint": FILE["fingerprint"].upper()}},
            ["fingerprint is not an MD5 in lower-case hex."],
        ),
        ("login_dji_account", {**LOGIN, "password": 7}, ["password is not a text."]),
        ("login_dji_account", {**LOGIN, "username": ""}, ["username is not a text."]),
        ("login_dji_account", {**LOGIN, "verification_code": None}, ["verification_code is not a text."]),
        ("login_dji_account", {"username": "u", "password": "p"}, ["verification_code is not a text."]),
        ("login_dji_account", {**LOGIN, "code": "1"}, ["Unknown keys in data: code."]),
        ("logout_dji_account", {"password": "p"}, ["Unknown keys in data: password."]),
    ],
)
def test_data_of_a_command_is_checked(method: str, data: Any, found: list[str]) -> None:
    assert checks.command_complaints("DOCK1", {**COMMAND, "method": method, "data": data}) == found
