"""The accounts of a real Mosquitto, as shipped, are kept in step with our rows."""

import json
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from devices.broker import accounts, comparison, wanted
from devices.broker.keeping import ConnectionLog, Keeper
from devices.models import BrokerAccount, Device, Pairing
from mqtt_bridge.line import connection
from mqtt_bridge.line.client import parse_url
from mqtt_bridge.line.connection import BrokerUnavailableError, TelemetryConnection
from mqtt_bridge.line.dynamic_security import DEFAULTS, ControlTopic
from mqtt_bridge.protocol.access import Kind
from organizations.audit import Actor
from organizations.models import AuditEvent
from tests.cast import put_in
from tests.clients import Client, certificates_of
from tests.shipped_broker import ADMIN, SERVER, ShippedBroker
from tests.stack import wait_for

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def shipped():
    """A fresh broker of the shipped configuration, which knows our own processes only."""
    broker = ShippedBroker()
    urls = {"MQTT_URL": broker.url, "MQTT_ADMIN_URL": broker.admin_url}
    with override_settings(**urls):
        (main,) = wanted.brokers()
        ours = {one.account.username: one for one in wanted.ours(main)}
        broker.security.write_text(json.dumps(wanted.complete_file(main, ours)))
    broker.security.chmod(0o600)
    with broker:
        url, certificates = broker.admin_url, certificates_of(broker)
        with ControlTopic(url, certificates) as control:
            broker.first = control.read()
        yield broker


@pytest.fixture
def broker(shipped, settings):
    settings.MQTT_URL, settings.MQTT_ADMIN_URL = shipped.url, shipped.admin_url
    settings.MQTT_CERTIFICATES = certificates_of(shipped)
    return shipped


@pytest.fixture
def main(broker):
    return wanted.brokers()[0]


@pytest.fixture
def control(main):
    with main.control() as control:
        yield control


@pytest.fixture
def keeper(main, control):
    """In step; what a test before left at the broker is gone."""
    keeper = Keeper(main, control)
    assert keeper.synchronize(timezone.now()) == []
    return keeper


@pytest.fixture
def actor(alice):
    return Actor(AuditEvent.Through.ADMIN, user=alice)


def differences(main, control):
    return [one.text for one in comparison.compare(wanted.wanted(main, timezone.now()), control.read(), admin=ADMIN[0])]


def connect(broker, username, secret, **options):
    return Client(broker.dock_url(username, secret), certificates_of(broker), **options)


def test_fresh_broker_knows_our_own_processes_alone(broker, main):
    found = {one.account.username: one for one in wanted.ours(main)}
    assert comparison.compare(found, broker.first, admin=ADMIN[0]) == []
    assert {ADMIN[0], SERVER[0]} == set(broker.first.users)
    assert broker.first.defaults == DEFAULTS


def test_new_account_gets_in_and_its_secret_is_forgotten(broker, keeper, dock, aircraft, actor):
    row, secret = accounts.issue(device=dock, actor=actor)
    assert row.pending
    keeper.look()
    row.refresh_from_db()
    assert (row.pending, bool(row.applied_at)) == ("", True)
    with connect(broker, "DOCK0001", secret) as client, connect(broker, "DOCK0001", "wrong") as stranger:
        assert client.is_connected
        assert not stranger.is_connected
        assert client.subscribe("thing/product/DOCK0001/services")
        assert client.publish("thing/product/DRONE0001/osd")


def test_each_dock_has_one_role_even_with_two_accounts(keeper, control, dock, aircraft, actor):
    row, _ = accounts.issue(device=dock, actor=actor)
    accounts.rotate(row, actor=actor)
    keeper.look()
    has = control.read()
    assert has.users["DOCK0001"].roles == has.users["DOCK0001.2"].roles == {"dock-cloud-bridge/dock/DOCK0001"}
    assert {user: one.client_id for user, one in has.users.items() if one.client_id} == {
        "DOCK0001": "DOCK0001",
        "DOCK0001.2": "DOCK0001.2",
    }


def test_role_follows_the_pairing_and_nobody_is_thrown_out_for_it(broker, keeper, dock, aircraft, actor):
    _, secret = accounts.issue(device=dock, actor=actor)
    keeper.look()
    with connect(broker, "DOCK0001", secret) as client:
        assert client.publish("thing/product/DRONE0001/events")
        Pairing.objects.update(until=timezone.now())
        put_in(dock, "DRONE0002")
        keeper.look()
        assert client.publish("thing/product/DRONE0002/events")
        assert not client.publish("thing/product/DRONE0001/events")
        assert client.is_connected


def test_aircraft_of_another_owner_is_not_the_docks_whatever_it_says(
    broker, keeper, dock, actor, other_organization, control
):
    _, secret = accounts.issue(device=dock, actor=actor)
    put_in(dock, "DRONE0002", organization=other_organization)
    keeper.look()
    with connect(broker, "DOCK0001", secret) as client:
        assert not client.publish("thing/product/DRONE0002/osd")


def test_new_dock_with_an_account_is_not_another_docks_aircraft_whatever_that_says(
    broker, keeper, dock, actor, organization
):
    _, secret = accounts.issue(device=dock, actor=actor)
    new = Device.objects.create(sn="DOCK0002", organization=organization)
    accounts.issue(device=new, actor=actor)
    Device.objects.filter(pk=new.pk).update(gateway=dock)
    now = timezone.now()
    Pairing.objects.create(dock=dock, aircraft=new, since=now, changed_at=now, witness=Pairing.Witness.DOCK)
    keeper.look()
    with connect(broker, "DOCK0001", secret) as client:
        assert not client.publish("thing/product/DOCK0002/osd")


@pytest.mark.parametrize("end", ["revoke", "expire", "disable", "delete"])
def test_who_may_not_come_in_any_more_is_thrown_out(end, broker, keeper, dock, actor):
    row, secret = accounts.issue(device=dock, actor=actor)
    keeper.look()
    with connect(broker, "DOCK0001", secret) as client:
        if end == "revoke":
            accounts.revoke([row], actor=actor)
        elif end == "expire":
            BrokerAccount.objects.update(expires_at=timezone.now())
        elif end == "disable":
            dock.is_enabled = False
            dock.save()
        else:
            row.delete()
        keeper.look()
        client.wait_for_end()
    with connect(broker, "DOCK0001", secret) as again:
        assert again.refusal
    assert not BrokerAccount.objects.filter(applied_at=None).exists()


def test_dock_that_is_enabled_again_comes_in_with_its_old_secret(broker, keeper, dock, actor):
    _, secret = accounts.issue(device=dock, actor=actor)
    keeper.look()
    for is_enabled in (False, True):
        dock.is_enabled = is_enabled
        dock.save()
        keeper.look()
        with connect(broker, "DOCK0001", secret) as client:
            assert client.is_connected == is_enabled


def test_what_others_change_at_the_broker_is_found_and_undone(main, keeper, control, dock, aircraft, actor):
    accounts.issue(device=dock, actor=actor)
    keeper.look()
    role = "dock-cloud-bridge/dock/DOCK0001"
    spoilt = {"acltype": "subscribePattern", "topic": "#", "priority": 9, "allow": True}
    control.run(
        [
            {"command": "addRoleACL", "rolename": role, **spoilt},
            {"command": "createGroup", "groupname": "friends"},
            {"command": "addGroupClient", "groupname": "friends", "username": "DOCK0001"},
            {"command": "setDefaultACLAccess", "acls": [{"acltype": "subscribe", "allow": True}]},
            {"command": "createRole", "rolename": "dock-cloud-bridge/dock/GONE", "acls": []},
        ]
    )
    assert differences(main, control) == [
        "without a role, subscribe is allowed",
        f"role {role}: should not have subscribePattern #",
        "user DOCK0001 has another role, client id or group",
        "role dock-cloud-bridge/dock/GONE should not be there",
    ]
    assert keeper.synchronize(timezone.now()) == []
    assert differences(main, control) == []


def test_accounts_of_others_are_reported_and_left_alone(keeper, main, control, dock, capsys):
    control.run(
        [
            {"command": "createRole", "rolename": "missions", "acls": []},
            {"command": "createClient", "username": "missions", "password": "x", "roles": [{"rolename": "missions"}]},
        ]
    )
    call_command("mqtt_acl", "--check")
    assert "user missions is not ours and is left alone" in capsys.readouterr().out
    keeper.synchronize(timezone.now())
    assert "missions" in control.read().users
    control.run(
        [{"command": "deleteClient", "username": "missions"}, {"command": "deleteRole", "rolename": "missions"}]
    )


def test_check_prints_differences_and_once_ends_them(keeper, dock, actor, capsys):
    accounts.issue(device=dock, actor=actor)
    with pytest.raises(CommandError, match="2 differences") as caught:
        call_command("mqtt_acl", "--check")
    assert caught.value.returncode == 1
    said = capsys.readouterr().out
    assert "main broker: role dock-cloud-bridge/dock/DOCK0001 is missing" in said
    assert "main broker: user DOCK0001 is missing" in said
    call_command("mqtt_acl", "--once")
    call_command("mqtt_acl", "--check")
    assert "in step" in capsys.readouterr().out


def test_account_that_the_broker_lost_needs_a_new_secret_or_a_new_start(keeper, main, control, dock, actor, settings):
    row, _ = accounts.issue(device=dock, actor=actor)
    keeper.look()
    control.run([{"command": "deleteClient", "username": "DOCK0001"}])
    (left,) = keeper.synchronize(timezone.now())
    assert "user DOCK0001 is missing, and only its hash is known" in left
    row.refresh_from_db()
    assert row.applied_at is None
    found = wanted.wanted(main, timezone.now())
    document = wanted.complete_file(main, found)
    (made,) = [one for one in document["clients"] if one["username"] == "DOCK0001"]
    assert (made["password"], made["salt"], made["iterations"]) == (row.digest, row.salt, row.iterations)


def test_broker_with_another_secret_is_reported(keeper, main, control, dock, actor):
    row, _ = accounts.issue(device=dock, actor=actor)
    keeper.look()
    row.delete()
    accounts.issue(device=dock, actor=actor)
    BrokerAccount.objects.update(pending="")
    (left,) = keeper.synchronize(timezone.now())
    assert "has another secret" in left


def test_who_connects_is_noted_with_time_and_address(main, keeper, broker, dock, actor):
    _, secret = accounts.issue(device=dock, actor=actor)
    keeper.look()
    log = ConnectionLog(main.kind)
    seen = []
    with main.control(lambda *one: (log.note(*one), seen.append(one))), connect(broker, "DOCK0001", secret):
        wait_for(lambda: ("DOCK0001", "127.0.0.1") in seen)
    log.write()
    row = BrokerAccount.objects.get()
    assert row.last_address == "127.0.0.1"
    assert timezone.now() - row.last_connected_at < timedelta(minutes=1)


def test_dock_comes_under_its_own_client_id_alone(broker, keeper, dock, actor):
    _, secret = accounts.issue(device=dock, actor=actor)
    keeper.look()
    with connect(broker, "DOCK0001", secret, client_id="dock-cloud-bridge") as client:
        assert client.is_connected
        assert "as DOCK0001 (" in broker.log.read_text().splitlines()[-1] or client.is_connected
    inside = broker.address("DOCK0001", secret, port=broker.port)
    with Client(inside, certificates_of(broker), client_id="dock-cloud-bridge") as client:
        assert client.refusal


def test_enrolment_accounts_never_go_to_the_main_broker(keeper, control, main, organization, actor):
    accounts.issue(organization=organization, actor=actor)
    keeper.look()
    assert set(control.read().users) == {ADMIN[0], SERVER[0]}


def test_enrolment_broker_has_enrolment_accounts_alone(broker, dock, organization, actor, settings):
    settings.MQTT_ADMIN_URL, settings.ENROLMENT_MQTT_ADMIN_URL = "", broker.admin_url
    accounts.issue(organization=organization, actor=actor)
    accounts.issue(device=dock, actor=actor)
    (enrolment,) = wanted.brokers()
    found = wanted.wanted(enrolment, timezone.now())
    assert {one.account.kind for one in found.values()} == {Kind.ENROLMENT}
    assert {one.role for one in found.values()} == {"dock-cloud-bridge/enrolment"}


def test_wrong_settings_are_named(settings):
    settings.MQTT_ADMIN_URL = settings.ENROLMENT_MQTT_ADMIN_URL = ""
    with pytest.raises(CommandError, match="MQTT_ADMIN_URL"):
        call_command("mqtt_acl", "--check")
    settings.MQTT_ADMIN_URL, settings.MQTT_URL = "mqtt://admin:a@localhost", "mqtt://localhost"
    with pytest.raises(ImproperlyConfigured, match="MQTT_URL needs a user name"):
        wanted.ours(wanted.brokers()[0])
    settings.MQTT_URL = settings.MQTT_ADMIN_URL
    with pytest.raises(ImproperlyConfigured, match="different user names"):
        wanted.ours(wanted.brokers()[0])
    settings.ENROLMENT_MQTT_ADMIN_URL = settings.MQTT_ADMIN_URL
    with pytest.raises(ImproperlyConfigured, match="same broker"):
        wanted.brokers()


def test_wrong_password_and_closed_port_are_named(broker, settings):
    settings.MQTT_ADMIN_URL = broker.address(ADMIN[0], "wrong", port=broker.port)
    with pytest.raises(BrokerUnavailableError, match="Not authorized"):
        wanted.brokers()[0].control().__enter__()
    settings.MQTT_ADMIN_URL = broker.address(*ADMIN, port=1)
    with pytest.raises(BrokerUnavailableError, match="refused"):
        wanted.brokers()[0].control().__enter__()
    settings.MQTT_ADMIN_URL = broker.url
    with pytest.raises(BrokerUnavailableError, match="may not manage"):
        wanted.brokers()[0].control().__enter__()


def test_file_of_a_fresh_broker_is_for_its_owner_and_never_overwritten(main, tmp_path):
    path = tmp_path / "dynamic-security.json"
    call_command("mqtt_acl", "--init", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CommandError, match="is there already"):
        call_command("mqtt_acl", "--init", str(path))


def test_our_processes_share_telemetry_and_get_all_of_it_where_the_broker_does_not_let_them(
    broker, monkeypatch, caplog
):
    address, refused = parse_url(broker.url, certificates_of(broker)), ("$share/elsewhere/thing/product/+/osd",)
    dock = Client(broker.url, certificates_of(broker), client_id="a dock's words")
    for filters, warnings in ((connection.SHARED_TELEMETRY_FILTERS, 0), (refused, 1)):
        monkeypatch.setattr(connection, "SHARED_TELEMETRY_FILTERS", filters)
        received = []
        line = TelemetryConnection(address, client_id="t", sink=lambda topic, _payload, to=received: to.append(topic))
        line.open()
        dock.publish("thing/product/DOCK1/osd")
        wait_for(lambda received=received: received == ["thing/product/DOCK1/osd"])
        line.close()
        assert caplog.text.count("shares no telemetry") == warnings
    dock.close()
