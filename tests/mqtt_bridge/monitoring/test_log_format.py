"""Log records as lines and as JSON: their fields, and the secrets that are not in them."""

import json
import logging
import sys
import time

import pytest

from mqtt_bridge.monitoring import log_fields
from mqtt_bridge.monitoring.log_format import JSONLine, Line
from mqtt_bridge.protocol.redaction import redact_text

CANARY = "canary-7Q"


def record(text, *args, exc_info=None, **extra):
    made = logging.LogRecord("a.logger", logging.WARNING, __file__, 1, text, args, exc_info)
    made.__dict__ |= extra
    return made


def document(*args, **extra):
    line = JSONLine().format(record(*args, **extra))
    assert "\n" not in line
    return json.loads(line)


def test_a_document_has_its_fields_and_what_the_code_is_about(monkeypatch):
    monkeypatch.setattr(log_fields, "_process", ["manage"])
    with log_fields.about(sn="SN1", tid="t", bid="b"), log_fields.about(call="c"):
        found = document("%s of %s", "that", "SN1")
    assert found["message"] == "that of SN1"
    assert (found["level"], found["logger"], found["process"]) == ("WARNING", "a.logger", "manage")
    assert found["time"].endswith("+00:00")
    assert {name: found[name] for name in ("sn", "tid", "bid", "call")} == {
        "sn": "SN1",
        "tid": "t",
        "bid": "b",
        "call": "c",
    }
    assert "sn" not in document("later")


def test_an_exception_is_one_field():
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        found = document("failed", exc_info=sys.exc_info())
    assert found["message"] == "failed"
    assert found["exception"].startswith("Traceback")
    assert found["exception"].endswith("one\ntwo")


def test_what_a_device_sends_ends_no_line():
    assert document("%s", "a\nb\u2028\ud800")["message"] == "a\nb\u2028\ud800"
    assert Line("%(message)s").format(record("%s", "a\nERROR forged\r\x1b[2J\u2028é")) == (
        r"a\nERROR forged\r\x1b[2J\u2028é"
    )


@pytest.mark.parametrize(
    ("text", "args"),
    [
        (f'{{"password": "{CANARY} b"}}', ()),
        (f"{{'verification_code': '{CANARY}'}}", ()),
        (f'a "{{\\"device_binding_code\\": \\"{CANARY}\\"}}"', ()),
        (f"app_license={CANARY}, method=config", ()),
        (f"DJI_APP_KEY: {CANARY}", ()),
        ("%s", (f"mqtt://bridge:{CANARY}@127.0.0.1",)),
        ("%s", ({"data": [{"device_secret": CANARY}]},)),
        ("%(password)s %(data)s", ({"password": CANARY, "data": {"app_key": CANARY}},)),
        (f"Authorization: Api-Key {CANARY}", ()),
        (f"[(b'authorization', b'Basic {CANARY}')] Bearer {CANARY}", ()),
        (f'127.0.0.1 - "GET /welcome/{CANARY}/ HTTP/1.1" 200', ()),
        (f'"GET /license-files/{CANARY}/a.kmz HTTP/1.1" 200', ()),
        (f'"GET /password-reset/MQ/{CANARY}/ HTTP/1.1" 200', ()),
        (f"GET /a?token={CANARY}&b=1", ()),
        ("the license %s", ("DJI-LICENSE-canary-7Q",)),  # of the settings
    ],
)
@pytest.mark.parametrize("form", [Line, JSONLine])
def test_a_secret_is_masked(form, text, args, settings):
    settings.DJI_APP_LICENSE = "DJI-LICENSE-canary-7Q"
    made = record("x")
    made.msg, made.args = text, args[0] if args and isinstance(args[0], dict) and "%(" in text else args
    line = form().format(made)
    assert CANARY not in line
    assert "***" in line


def test_the_servers_own_secrets_are_masked_however_they_are_written(settings):
    settings.MQTT_ADMIN_URL, settings.METRICS_TOKEN = "mqtts://admin:p%40ssword-9@broker", "token-for-figures"
    shown = document("p@ssword-9 and p%40ssword-9 and token-for-figures")["message"]
    assert shown == "*** and *** and ***"


def test_an_exception_with_a_secret_is_masked():
    try:
        raise ValueError(f"password='{CANARY}'")
    except ValueError:
        assert CANARY not in JSONLine().format(record("failed", exc_info=sys.exc_info()))


@pytest.mark.parametrize(
    "text",
    [
        "SECRET_KEY must be set when DEBUG is off",
        "Serving docks at mqtt://127.0.0.1:1883 as dock-cloud-bridge",
        "method=config sn=1ABC tid: 5, the bucket has basic rules",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "text",
    ["a" * 200_000, "a." * 100_000 + ":", 'password="' + '\\"' * 100_000, "://a:" * 40_000, "a:" * 100_000],
    ids=range(5),
)
def test_a_hostile_text_takes_no_longer_than_it_is(text):
    began = time.process_time()
    redact_text(text)
    assert time.process_time() - began < 2.0
