"""What the doctor says of a real broker, set up well and badly."""

import base64
import hashlib
import json
from types import SimpleNamespace

import pytest
from django.utils import timezone

from cloudapi.diagnosis import broker
from cloudapi.diagnosis.findings import Level
from cloudapi.embedded.lifecycle import HOST, free_port
from devices.broker import wanted
from mqtt_bridge.line.tls import Certificates
from tests.certificates import Authority
from tests.clients import certificates_of
from tests.shipped_broker import ShippedBroker
from tests.stack import Mosquitto

SALT = b"twelve bytes"  # as many as Mosquitto wants
# The dock's account may do what its topics need and nothing else.
ACCESS = """\
user server
topic readwrite #
topic read $SYS/#
user dock
topic write thing/product/+/requests
topic read thing/product/+/requests_reply
"""


def guarded_broker(folder, access=ACCESS):
    """A broker with accounts and an access list."""
    rules, passwords = folder / "acl", folder / "passwords"
    rules.write_text(access)
    digest = hashlib.pbkdf2_hmac("sha512", b"pass", SALT, 101)
    hashed = "$".join(base64.b64encode(part).decode() for part in (SALT, digest))
    passwords.write_text("".join(f"{name}:$7$101${hashed}\n" for name in ("server", "dock")))
    for file in (rules, passwords):
        file.chmod(0o600)
    return Mosquitto(config=f"allow_anonymous false\npassword_file {passwords}\nacl_file {rules}")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with guarded_broker(tmp_path_factory.mktemp("guarded")) as running:
        yield running


@pytest.fixture
def use(settings):
    """use(broker, account) points the settings to it; with dock=True also those of docks."""

    def point(running, account="server:pass@", *, dock=False):
        settings.MQTT_URL = f"mqtt://{account}{HOST}:{running.port}"
        settings.MQTT_CERTIFICATES = Certificates()
        settings.DOCK_MQTT_URL = settings.DOCK_ENROLMENT_URL = running.url if dock else ""
        settings.DOCK_MQTT_USERNAME, settings.DOCK_MQTT_PASSWORD = ("dock", "pass") if dock else ("", "")

    return point


def lines(check):
    return {one.name: (one.level, f"{one.text} {one.advice}") for one in check()}


def test_a_broker_that_is_set_up_well_has_no_problem(guarded, use):
    use(guarded, dock=True)
    found = lines(broker.check_broker) | lines(broker.check_access)
    assert {name: level for name, (level, _) in found.items()} == dict.fromkeys(
        (
            "Broker",
            "Broker settings",
            "Broker queue",
            "Strangers at MQTT_URL",
            "Strangers at DOCK_MQTT_URL",
            "Access list",
        ),
        Level.OK,
    ), found
    assert "mosquitto version 2" in found["Broker"][1]
    assert "pass" not in str(found).replace("password", "")


def test_a_broker_that_is_away_or_refuses_us_is_a_problem(guarded, use):
    use(guarded, "server:wrong@")
    level, text = lines(broker.check_broker)["Broker"]
    assert (level, "Not authorized" in text) == (Level.PROBLEM, True)
    use(SimpleNamespace(port=1))
    level, text = lines(broker.check_broker)["Broker"]
    assert (level, "Connection refused" in text) == (Level.PROBLEM, True)


def test_settings_that_lose_messages_are_problems(use):
    with Mosquitto(config="max_queued_messages 1000\nmax_inflight_messages 20") as running:
        use(running)
        found = lines(broker.check_broker)
    assert found["Broker"][0] == Level.OK
    for name, words in (
        ("Broker settings", "It takes only 20 messages at a time: set max_inflight_messages 1000."),
        ("Broker queue", "Kept 1000 of 1,500 messages for an absent bridge. Set max_queued_messages 100000"),
    ):
        assert found[name][0] == Level.PROBLEM
        assert words in found[name][1]


def test_a_broker_that_lets_everybody_in_is_a_problem(use):
    with Mosquitto() as running:
        use(running, "", dock=True)
        found = lines(broker.check_access)
    assert {name for name, (level, _) in found.items() if level == Level.PROBLEM} == {
        *("Broker accounts", "Strangers at MQTT_URL", "Access list")
    }
    assert "may send commands to docks" in found["Access list"][1]


def test_a_dock_that_may_read_the_commands_of_others_is_a_problem(tmp_path, use):
    with guarded_broker(tmp_path, ACCESS.replace("read thing/product/+/requests_reply", "read #")) as running:
        use(running, dock=True)
        level, text = lines(broker.check_access)["Access list"]
    assert (level, "may read commands to other docks" in text) == (Level.PROBLEM, True)


def test_an_access_list_that_cannot_be_tried_is_not_called_well(guarded, use, settings):
    use(guarded)
    assert lines(broker.check_access)["Access list"][0] == Level.NOTE
    settings.MQTT_ADMIN_URL = "mqtt://admin:pass@127.0.0.1"
    assert "Access list" not in lines(broker.check_access)


def test_a_client_certificate_keeps_strangers_out_too(tmp_path, use, settings):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("broker", hosts=[HOST])
    port = free_port()
    config = f"listener {port} {HOST}\ncertfile {certificate}\nkeyfile {key}\ncafile {authority.ca_file}\n"
    with Mosquitto(config=f"{config}require_certificate true\nallow_anonymous true") as running:
        use(running)
        settings.MQTT_URL = f"mqtts://{HOST}:{port}"
        settings.MQTT_CERTIFICATES = Certificates(str(authority.ca_file), *map(str, authority.issue("bridge")))
        found = lines(broker.check_broker) | lines(broker.check_access)
    assert found.pop("Access list")[0] == Level.NOTE
    assert {level for level, _ in found.values()} == {Level.OK}, found


@pytest.mark.django_db
def test_the_shipped_broker_is_well_until_its_accounts_differ(settings):
    shipped = ShippedBroker()
    settings.MQTT_URL, settings.MQTT_ADMIN_URL = shipped.url, shipped.admin_url
    settings.MQTT_CERTIFICATES = certificates_of(shipped)
    [main] = wanted.brokers()
    shipped.security.write_text(json.dumps(wanted.complete_file(main, wanted.wanted(main, timezone.now()))))
    shipped.security.chmod(0o600)
    with shipped:
        settings.MQTT_URL, settings.MQTT_ADMIN_URL = shipped.url, shipped.admin_url
        settings.DOCK_MQTT_URL = settings.DOCK_ENROLMENT_URL = shipped.dock_url("", "").replace(":@", "")
        settings.DOCK_MQTT_USERNAME = ""
        found = lines(broker.check_broker) | lines(broker.check_access) | lines(broker.check_accounts)
        assert {level for level, _ in found.values()} == {Level.OK}, found
        settings.MQTT_CLIENT_ID = "another-server"
        [(level, text)] = lines(broker.check_accounts).values()
        assert (level, "differ from the database" in text) == (Level.PROBLEM, True)
    [(level, text)] = lines(broker.check_accounts).values()
    assert (level, "Its administrator gets no answer" in text) == (Level.PROBLEM, True)
