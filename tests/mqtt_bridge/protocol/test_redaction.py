"""Redaction."""

import pytest

from mqtt_bridge.protocol.messages import AccountEvent, BindDevice, BindRequest, ConfigReply, LoginRequest
from mqtt_bridge.protocol.redaction import redact


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "verification_code",
        "device_secret",
        "nonce",
        "app_key",
        "app_license",
        "device_binding_code",
        "Password",
        "appKey",
        "APP-LICENSE",
        "new_password",
        "access_key_secret",
        "security_token",
        "x" * 100 + "password",
    ],
)
@pytest.mark.parametrize("secret", ["hunter2", 5, None, ["hunter2"], {"a": "hunter2"}])
def test_secret_is_replaced_at_any_depth(key, secret):
    data = {"output": [{"a": {key: secret, "sn": "DOCK1"}}]}
    assert redact(data) == {"output": [{"a": {key: "***", "sn": "DOCK1"}}]}


@pytest.mark.parametrize(
    "data",
    [
        {
            "username": "alice",
            "organization_id": "1",
            "app_id": "2",
            "tid": "3",
            "licenses": [],
            "license_id": 4,
        },
        {"enabled": True, "file": {"fingerprint": "abc"}, "status": "ok", "key": "v"},
        [1, "password", None, 1.5],
        "password",
        None,
    ],
)
def test_everything_else_is_kept(data):
    assert redact(data) == data


def test_query_of_an_address_is_cut():
    data = {
        "url": "https://a.example/f.kmz?Signature=hunter2",
        "verification_code_url": "https://b.example/x",
    }
    assert redact(data) == {
        "url": "https://a.example/f.kmz?***",
        "verification_code_url": "https://b.example/x",
    }


def test_address_that_is_no_text_is_still_searched():
    assert redact({"url": {"password": "hunter2"}, "verification_code_url": ["hunter2"]}) == {
        "url": {"password": "***"},
        "verification_code_url": "***",
    }


@pytest.mark.parametrize(
    "message",
    [
        LoginRequest("alice", "hunter2", "hunter2"),
        ConfigReply("1", "hunter2", "hunter2", "ntp"),
        BindRequest([BindDevice("hunter2", "org", sn="DOCK1")]),
        {"reply": LoginRequest("alice", "hunter2")},
    ],
)
def test_typed_messages_are_redacted_too(message):
    assert "hunter2" not in str(redact(message))


def test_typed_message_is_journalled_in_its_documented_shape():
    event = AccountEvent(0, "failed", 5)
    assert redact(event) == {"output": {"status": "failed", "progress": {"percent": 5}}, "result": 0}


def test_original_is_left_alone():
    data = {"a": [{"password": "hunter2"}]}
    redact(data)
    assert data == {"a": [{"password": "hunter2"}]}
