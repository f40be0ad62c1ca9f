"""Accounts of the broker: issued, rotated, revoked, and what becomes of them when a dock changes hands."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices import binding, registry
from devices.broker import accounts
from devices.broker.keeping import ConnectionLog
from devices.models import BrokerAccount, Device, Pairing
from devices.models.broker import SECRET_ALPHABET, Digest
from devices.ownership import Changes
from mqtt_bridge.protocol import access
from organizations.audit import Actor
from organizations.models import AuditEvent
from organizations.typed import in_groups
from tests.cast import put_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def actor(alice):
    return Actor(AuditEvent.Through.ADMIN, user=alice)


def usable():
    return sorted(BrokerAccount.objects.usable(timezone.now()).values_list("username", flat=True))


# --- issue ---------------------------------------------------------------------------------------


def test_docks_user_name_is_its_serial_number_and_its_secret_is_not_stored(dock, actor):
    row, secret = accounts.issue(device=dock, actor=actor)
    row.refresh_from_db()
    assert (row.username, row.kind, row.organization) == ("DOCK0001", "dock", dock.organization)
    assert secret not in str(BrokerAccount.objects.values())
    assert Digest(row.digest, row.salt, row.iterations).matches(secret)
    assert not Digest(row.digest, row.salt, row.iterations).matches(secret[:-1])


def test_secret_has_more_than_128_bits_and_is_typed_without_changing_the_keyboard(dock, actor):
    _, secret = accounts.issue(device=dock, actor=actor)
    assert len(SECRET_ALPHABET) ** len(secret) > 2**128
    assert secret.isalpha()
    assert secret.islower()
    assert not set(secret) & set("ilo")
    assert [len(group) for group in in_groups(secret)] == [5] * 6


def test_secret_waits_for_mosquitto_encrypted_and_for_emqx_not_at_all(dock, actor, settings):
    row, _ = accounts.issue(organization=dock.organization, actor=actor)
    assert not row.pending
    settings.MQTT_ADMIN_URL = "mqtt://admin:secret@127.0.0.1:1883"
    row, secret = accounts.issue(device=dock, actor=actor)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pending FROM devices_brokeraccount WHERE id = %s", [row.pk])
        assert secret not in cursor.fetchone()[0]
    row.refresh_from_db()
    assert row.pending == secret


def test_issuing_is_in_the_history_of_the_dock_without_the_secret(dock, actor):
    _, secret = accounts.issue(device=dock, actor=actor)
    event = AuditEvent.objects.get(action="issue broker account")
    assert (event.object_id, event.user, event.after) == (str(dock.pk), actor.user, {"username": "DOCK0001"})
    assert secret not in str(AuditEvent.objects.values())


def test_dock_with_an_account_gets_no_second_one(dock, actor):
    accounts.issue(device=dock, actor=actor)
    with pytest.raises(ValidationError, match="rotate its secret instead"):
        accounts.issue(device=dock, actor=actor)


def test_aircraft_gets_no_account(aircraft, actor):
    with pytest.raises(ValidationError, match="through its dock"):
        accounts.issue(device=aircraft, actor=actor)


@pytest.mark.parametrize(
    "sn",
    [
        *("dock-cloud-bridge", "Dock-Cloud-x", "our-bridge", "OUR-BRIDGE", "fixed-enrol", "my-id-2"),
        *("enrolment", "enrol"),  # rotated, the second becomes that of an organization
        "import",  # POST /api/v1/broker-accounts/import/
    ],
)
def test_no_dock_gets_a_name_of_the_server(sn, organization, actor, settings):
    settings.MQTT_URL = "mqtt://our%2Dbridge:secret@127.0.0.1:1883"
    settings.DOCK_MQTT_USERNAME = "fixed-enrol"
    settings.MQTT_CLIENT_ID = "my-id"
    device = Device.objects.create(sn=sn, organization=organization, claim="code", model_key="3-1-0")
    with pytest.raises(ValidationError, match="the server itself uses this name"):
        accounts.issue(device=device, actor=actor)


def test_many_get_accounts_in_a_constant_number_of_queries(dock, aircraft, actor):
    def issued(count):
        devices = [Device.objects.create(sn=f"N{count}-{n}", organization=dock.organization) for n in range(count)]
        with CaptureQueriesContext(
            connection,
        ) as queries:
            done = accounts.issue_many([*devices, aircraft], actor=actor)
        assert len({account.plain for account in done.accounts}) == count
        assert done.skipped == [(aircraft, accounts.IS_AIRCRAFT)]
        return len(queries)

    assert issued(2) == issued(40)


def test_enrolment_accounts_of_one_organization_have_different_user_names(organization, actor):
    rows = [accounts.issue(organization=organization, actor=actor)[0] for _ in range(2)]
    platform, _ = accounts.issue(actor=actor, label="exhibition", expires_at=timezone.now() + timedelta(days=1))
    assert [row.username for row in rows] == ["enrol.12345678", "enrol.12345678.2"]
    assert (platform.username, platform.kind, platform.organization) == ("enrolment", "enrolment", None)


def test_an_account_in_use_is_never_replaced_by_another_with_its_name(dock, actor, monkeypatch):
    """As a dock with the serial number "enrolment" would have replaced the platform's account."""
    platform, _ = accounts.issue(actor=actor)
    monkeypatch.setattr(accounts, "RESERVED", ())
    hostile = Device.objects.create(sn="enrolment", organization=dock.organization, claim="code", model_key="3-1-0")
    with pytest.raises(IntegrityError), transaction.atomic():
        accounts.issue(device=hostile, actor=actor)
    assert list(BrokerAccount.objects.all()) == [platform]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("existing", [0, 1])
def test_two_who_issue_for_the_platform_at_once_get_two_accounts(existing, actor, monkeypatch):
    for _ in range(existing):
        accounts.issue(actor=actor)
    both, once = threading.Barrier(2), threading.local()
    choose = accounts._free_name

    def choose_together(*args):
        name = choose(*args)
        if not hasattr(once, "chosen"):
            once.chosen = True
            with suppress(threading.BrokenBarrierError):  # the other waits for our lock
                both.wait(0.3)
        return name

    def issue(_):
        try:
            return accounts.issue(actor=actor)[0].username
        finally:
            connection.close()

    monkeypatch.setattr(accounts, "_free_name", choose_together)
    with ThreadPoolExecutor(2) as threads:
        names = sorted(threads.map(issue, range(2)))
    assert names == (["enrolment.2", "enrolment.3"] if existing else ["enrolment", "enrolment.2"])


# --- rotate --------------------------------------------------------------------------------------


def test_rotated_secret_and_the_old_one_are_both_valid_until_the_old_one_expires(dock, actor):
    old, _ = accounts.issue(device=dock, actor=actor)
    new, _ = accounts.rotate(old, actor=actor, valid_for=timedelta(days=2))
    later = timezone.now() + timedelta(days=2, seconds=1)
    assert usable() == ["DOCK0001", "DOCK0001.2"]
    assert list(BrokerAccount.objects.usable(later)) == [new]
    old.refresh_from_db()
    assert old.why_unusable(later) == "expired"


def test_third_secret_takes_the_first_user_name_again(dock, actor):
    first, _ = accounts.issue(device=dock, actor=actor)
    second, _ = accounts.rotate(first, actor=actor)
    BrokerAccount.objects.filter(pk=first.pk).update(expires_at=timezone.now())
    third, _ = accounts.rotate(second, actor=actor)
    assert (second.username, third.username) == ("DOCK0001.2", "DOCK0001")
    assert usable() == ["DOCK0001", "DOCK0001.2"]


def test_secret_that_is_replaced_at_once_keeps_its_user_name(dock, actor):
    old, _ = accounts.issue(device=dock, actor=actor)
    new, _ = accounts.rotate(old, actor=actor, valid_for=timedelta(0))
    assert (new.username, list(BrokerAccount.objects.all())) == ("DOCK0001", [new])


def test_lost_sheet_of_a_new_secret_cuts_off_no_dock(dock, actor):
    used, _ = accounts.issue(device=dock, actor=actor)
    lost, _ = accounts.rotate(used, actor=actor)
    again, _ = accounts.rotate(lost, actor=actor)
    assert not BrokerAccount.objects.filter(pk=lost.pk).exists()
    assert (again.username, usable()) == ("DOCK0001.2", ["DOCK0001", "DOCK0001.2"])
    assert Digest(*BrokerAccount.objects.values_list("digest", "salt", "iterations").get(pk=used.pk)).matches(
        used.plain
    )


def test_new_secret_that_is_in_use_outlives_the_next_rotation(dock, actor):
    old, _ = accounts.issue(device=dock, actor=actor)
    used, _ = accounts.rotate(old, actor=actor)
    accounts.note_connections([(used.username, timezone.now(), "192.0.2.7")])
    newest, _ = accounts.rotate(used, actor=actor)
    assert set(BrokerAccount.objects.usable(timezone.now())) == {used, newest}


def test_enrolment_account_is_not_prolonged_by_a_rotation(organization, actor):
    ends = timezone.now() + timedelta(hours=1)
    old, _ = accounts.issue(organization=organization, actor=actor, expires_at=ends)
    accounts.rotate(old, actor=actor)
    old.refresh_from_db()
    assert old.expires_at == ends


def test_revoked_account_is_not_rotated(dock, actor):
    row, _ = accounts.issue(device=dock, actor=actor)
    accounts.revoke([row], actor=actor)
    with pytest.raises(ValidationError, match="issue a new account"):
        accounts.rotate(row, actor=actor)


# --- revoke, disable, release --------------------------------------------------------------------


def test_revoked_account_is_unusable_and_its_waiting_secret_is_gone(dock, actor, settings):
    settings.MQTT_ADMIN_URL = "mqtt://admin:secret@127.0.0.1:1883"
    row, _ = accounts.issue(device=dock, actor=actor)
    assert accounts.revoke([row], actor=actor) == [row]
    assert accounts.revoke([row], actor=actor) == []
    row.refresh_from_db()
    assert (usable(), row.pending, row.why_unusable(timezone.now())) == ([], "", "revoked")


def test_released_docks_secret_dies_with_the_release(dock, actor):
    row, _ = accounts.issue(device=dock, actor=actor)
    binding.release([dock], actor=actor)
    row.refresh_from_db()
    assert (usable(), row.why_unusable(timezone.now()), row.organization) == ([], "revoked", dock.organization)
    again, _ = accounts.issue(device=Device.objects.get(pk=dock.pk), actor=actor)
    assert (again.username, again.organization) == ("DOCK0001", None)


def test_disabled_docks_account_rests_until_the_dock_is_enabled(dock, actor):
    row, _ = accounts.issue(device=dock, actor=actor)
    registry.set_enabled([dock], enabled=False, actor=actor)
    assert usable() == []
    assert BrokerAccount.objects.get(pk=row.pk).why_unusable(timezone.now()) == "dock disabled"
    registry.set_enabled([dock], enabled=True, actor=actor)
    assert usable() == ["DOCK0001"]


def test_enrolment_account_of_an_inactive_organization_is_unusable(organization, actor):
    row, _ = accounts.issue(organization=organization, actor=actor)
    organization.is_active = False
    organization.save()
    assert usable() == []
    assert BrokerAccount.objects.get(pk=row.pk).why_unusable(timezone.now()) == "organization inactive"


def give(device, organization, claim, actor):
    changes = Changes(actor, now=timezone.now())
    changes.give(device, organization, claim, "bind")
    changes.write([device])


def test_account_made_before_the_dock_bound_belongs_to_its_owner_then(organization, staff, actor):
    device = Device.objects.create(sn="NEW1", model_key="3-2-0")
    row, _ = accounts.issue(device=device, actor=actor)
    assert not BrokerAccount.objects.visible_to(actor.user).exists()
    give(device, organization, Device.Claim.CODE, actor)
    assert BrokerAccount.objects.visible_to(actor.user).get() == row


def test_foreign_dock_that_names_a_dock_neither_gets_nor_ends_its_account(organization, other_organization, actor):
    device = Device.objects.create(sn="NEW1", model_key="0-91-0")
    victim = BrokerAccount.objects.create(username="NEW1", kind="dock", device=device)
    give(device, other_organization, Device.Claim.NAMED, actor)
    registry.set_enabled([device], enabled=False, actor=actor)
    device.refresh_from_db()
    victim = BrokerAccount.objects.get(pk=victim.pk)
    assert (victim.organization, victim.why_unusable(timezone.now()), usable()) == (None, "", ["NEW1"])
    give(device, organization, Device.Claim.CODE, actor)
    victim.refresh_from_db()
    assert (victim.organization, usable()) == (organization, ["NEW1"])


# --- what they may do ----------------------------------------------------------------------------


def test_dock_may_speak_for_the_aircraft_that_it_carries_now(dock, aircraft, actor):
    row, _ = accounts.issue(device=dock, actor=actor)
    enrolment, _ = accounts.issue(organization=dock.organization, actor=actor)
    assert accounts.with_access([row, enrolment]) == [
        (row, access.Account("DOCK0001", access.Kind.DOCK, "DOCK0001", ("DRONE0001",))),
        (enrolment, access.Account("enrol.12345678", access.Kind.ENROLMENT)),
    ]
    Pairing.objects.update(until=timezone.now())
    assert accounts.with_access([row])[0][1].aircraft == ()


def test_dock_does_not_speak_for_what_belongs_to_others(dock, other_organization, actor):
    put_in(dock, "THEIRS", organization=other_organization)
    put_in(dock, "NODRONE", model_key="3-2-0", organization=None)
    row, _ = accounts.issue(device=dock, actor=actor)
    assert accounts.with_access([row])[0][1].aircraft == ()


def test_last_connection_is_the_latest_whatever_the_order(dock, actor):
    row, _ = accounts.issue(device=dock, actor=actor)
    now = timezone.now()
    accounts.note_connections([("DOCK0001", now, "192.0.2.2"), ("DOCK0001", now - timedelta(hours=1), "192.0.2.1")])
    row.refresh_from_db()
    assert (row.last_connected_at, row.last_address) == (now, "192.0.2.2")


def test_the_enrolment_brokers_log_tells_nothing_of_a_docks_own_account(dock, actor):
    """A client id there may end like the line about a dock; an account that seems used outlives the one that is."""
    row, _ = accounts.issue(device=dock, actor=actor)
    log = ConnectionLog(BrokerAccount.Kind.ENROLMENT)
    log.note("DOCK0001", "192.0.2.66")
    log.write()
    row.refresh_from_db()
    assert (row.last_connected_at, row.last_address) == (None, "")
