"""What EMQX asks: who is let in, and what each may do."""

import pytest
from django.test import Client
from django.utils import timezone

from devices import binding
from devices.broker import accounts
from devices.broker.http import HEADER, LARGEST
from devices.models import BrokerAccount, Device, Pairing
from organizations.audit import Actor
from organizations.models import AuditEvent

pytestmark = pytest.mark.django_db
SECRET = "a secret of the broker"
ACTOR = Actor(AuditEvent.Through.COMMAND)


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.MQTT_AUTH_SECRET = SECRET
    settings.MQTT_URL = "mqtt://bridge:server%20secret@127.0.0.1:1883"
    settings.DOCK_MQTT_USERNAME, settings.DOCK_MQTT_PASSWORD = "fixed-enrol", "fixed secret"


def ask(path, *, secret=SECRET, form=False, **fields):
    kind = {} if form else {"content_type": "application/json"}
    return Client(enforce_csrf_checks=True).post(f"/mqtt/{path}", fields, headers={HEADER: secret}, **kind)


def lets_in(username, password, *, clientid=None, listener="docks", **options):
    asked = {"username": username, "password": password, "peerhost": "192.0.2.7", "listener": listener}
    response = ask("auth", clientid=username if clientid is None else clientid, **asked, **options)
    assert response.status_code == 200
    return response.json()["result"] == "allow"


def may(username, action, topic):
    return ask("acl", username=username, action=action, topic=topic).json()["result"] == "allow"


@pytest.fixture
def account(dock):
    return accounts.issue(device=dock, actor=ACTOR)[0]


# --- the broker itself -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["auth", "acl"])
def test_nobody_is_answered_while_the_server_has_no_secret_for_it(path, settings):
    settings.MQTT_AUTH_SECRET = ""
    assert ask(path, secret="").status_code == 404


@pytest.mark.parametrize("path", ["auth", "acl"])
@pytest.mark.parametrize("secret", ["", "wrong", SECRET[:-1], "söcret"])
def test_who_does_not_show_the_brokers_secret_learns_nothing(path, secret, account):
    response = ask(path, secret=secret.encode().decode("latin1"), username="DOCK0001", password=account.plain)
    assert (response.status_code, response.json()["result"]) == (403, "deny")


@pytest.mark.parametrize("form", [True, False])
def test_json_and_forms_are_understood(form, account):
    assert lets_in("DOCK0001", account.plain, form=form)


def test_answer_is_kept_by_nobody_sets_no_cookie_and_makes_nobody_superuser(account):
    response = ask("auth", username="DOCK0001", password=account.plain, clientid="DOCK0001", listener="docks")
    assert response["Cache-Control"] == "no-store"
    assert not response.cookies
    assert response.json() == {"result": "allow", "is_superuser": False}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"username"',
        b"\xff",
        b'{"listener": "docks\\u0000"}',
        b'{"action": 1}',
        b"{}",
        b'{"x": "\\ud800"}',
    ],
)
@pytest.mark.parametrize("path", ["auth", "acl"])
def test_what_is_no_question_is_refused(path, body):
    client = Client(headers={HEADER: SECRET})
    assert client.post(f"/mqtt/{path}", body, content_type="application/json").status_code == 400


def test_giant_question_is_refused():
    assert ask("acl", topic="x" * LARGEST).status_code == 400


def test_question_is_asked_by_post(client):
    assert client.get("/mqtt/auth", headers={HEADER: SECRET}).status_code == 405


# --- who is let in ---------------------------------------------------------------------------------


def test_dock_is_let_in_with_its_secret_alone(account):
    assert lets_in("DOCK0001", account.plain)
    for wrong in ("", account.plain[:-1], account.plain.upper(), "fixed secret"):
        assert not lets_in("DOCK0001", wrong)
    for stranger in ("", "DOCK0002", "DOCK0001.2", "dock0001"):
        assert not lets_in(stranger, account.plain)


def test_both_secrets_are_let_in_while_they_rotate(account):
    _, plain = accounts.rotate(account, actor=ACTOR)
    assert lets_in("DOCK0001", account.plain)
    assert lets_in("DOCK0001.2", plain)
    ends = ask("auth", username="DOCK0001", password=account.plain, clientid="DOCK0001", listener="docks").json()
    account.refresh_from_db()
    assert ends["expire_at"] == int(account.expires_at.timestamp())
    BrokerAccount.objects.filter(pk=account.pk).update(expires_at=timezone.now())
    assert not lets_in("DOCK0001", account.plain)
    assert lets_in("DOCK0001.2", plain)


def test_revoked_released_and_disabled_docks_are_not_let_in(account, dock):
    Device.objects.update(is_enabled=False)
    assert not lets_in("DOCK0001", account.plain)
    assert not may("DOCK0001", "publish", "thing/product/DOCK0001/osd")
    Device.objects.update(is_enabled=True)
    assert may("DOCK0001", "publish", "thing/product/DOCK0001/osd")
    binding.release([dock], actor=ACTOR)
    assert not lets_in("DOCK0001", account.plain)
    assert not may("DOCK0001", "publish", "thing/product/DOCK0001/osd")


def test_each_kind_of_account_has_one_listener(account, organization):
    enrolment, plain = accounts.issue(organization=organization, actor=ACTOR)
    known = {
        "docks": ("DOCK0001", account.plain),
        "enrolment": (enrolment.username, plain),
        "internal": ("bridge", "server secret"),
    }
    for listener, (username, password) in known.items():
        let_in = [other for other in known if lets_in(username, password, clientid="c", listener=other)]
        assert let_in == [listener], username
    assert lets_in("fixed-enrol", "fixed secret", listener="enrolment")
    assert not lets_in("fixed-enrol", "fixed secret", listener="docks")
    assert ask("auth", username="DOCK0001", listener="other").status_code == 400


@pytest.mark.parametrize(
    ("client_id", "is_let_in"),
    [("DOCK0001", True), ("of its own", True), ("", True), ("dock-cloud-bridge", False), ("Dock-Cloud-7", False),
     ("dock-cloud-bridge-telemetry", False), ("OTHER1", False), ("OTHER1.2", False), ("bridge", False)],
)  # fmt: skip
def test_dock_uses_no_client_id_of_the_server_or_of_another_dock(client_id, is_let_in, account):
    Device.objects.create(sn="OTHER1")
    assert lets_in("DOCK0001", account.plain, clientid=client_id) == is_let_in


def test_last_connection_is_noted_once_a_minute(account, django_assert_num_queries):
    lets_in("DOCK0001", "wrong")
    account.refresh_from_db()
    assert account.last_connected_at is None
    lets_in("DOCK0001", account.plain)
    account.refresh_from_db()
    assert account.last_address == "192.0.2.7"
    with django_assert_num_queries(2):
        lets_in("DOCK0001", account.plain)


def test_unknown_user_name_costs_the_same_as_a_wrong_secret(account, monkeypatch, django_assert_num_queries):
    made = []
    from devices.models import broker

    monkeypatch.setattr(
        broker.hashlib,
        "pbkdf2_hmac",
        lambda *args, made_by=broker.hashlib.pbkdf2_hmac: made.append(1) or made_by(*args),
    )
    lets_in("nobody", "wrong")  # makes what is compared with, once
    for username in ("DOCK0001", "nobody"):
        made.clear()
        with django_assert_num_queries(1):
            lets_in(username, "wrong")
        assert made == [1]


# --- what they may do ------------------------------------------------------------------------------


def test_dock_speaks_for_itself_and_for_the_aircraft_that_it_carries_now(account, aircraft, django_assert_num_queries):
    Device.objects.create(sn="OTHER1")
    with django_assert_num_queries(1):
        assert may("DOCK0001", "publish", "thing/product/DOCK0001/osd")
    with django_assert_num_queries(2):
        assert may("DOCK0001", "publish", "thing/product/DRONE0001/osd")
    assert may("DOCK0001", "subscribe", "thing/product/DOCK0001/services")
    for topic in ("thing/product/OTHER1/osd", "thing/product/DOCK0001/services", "$SYS/broker", "bridge/x/ping"):
        assert not may("DOCK0001", "publish", topic)
    for topic in ("#", "thing/product/+/services", "thing/product/OTHER1/services", "$SYS/#", "enrol/#"):
        assert not may("DOCK0001", "subscribe", topic)
    Pairing.objects.update(until=timezone.now())
    assert not may("DOCK0001", "publish", "thing/product/DRONE0001/osd")


def test_enrolment_account_asks_for_any_dock_and_hears_one(organization):
    accounts.issue(organization=organization, actor=ACTOR)
    for username in ("enrol.12345678", "fixed-enrol"):
        assert may(username, "publish", "thing/product/ANY1/requests")
        assert may(username, "subscribe", "thing/product/ANY1/requests_reply")
        assert not may(username, "subscribe", "thing/product/+/requests_reply")
        assert not may(username, "publish", "thing/product/ANY1/osd")


def test_server_may_do_what_it_needs_and_a_stranger_nothing():
    assert may("bridge", "subscribe", "thing/product/+/requests")
    assert may("bridge", "publish", "enrol/thing/product/ANY1/requests_reply")
    assert not may("stranger", "publish", "thing/product/stranger/osd")
    assert not may("", "publish", "thing/product/x/osd")
