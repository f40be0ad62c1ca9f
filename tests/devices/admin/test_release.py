"""Releasing devices in the admin: who may, what is asked, what the next owner sees."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from devices.models import Device, DeviceAccount, DeviceState
from licenses.models import LicenseList, UnlockLicense
from mqtt_bridge.models import Exchange
from organizations.models import AuditEvent, BindingCode, Role
from tests.cast import member
from tests.devices.test_binding import bind, wanted

pytestmark = pytest.mark.django_db
LIST = "/admin/devices/device/"
RELEASE = f"{LIST}release/"


@pytest.fixture
def lived_in(dock):
    """A dock with everything an owner leaves behind, under names that are easy to find on a page."""
    DeviceAccount.objects.create(device=dock, username="former-pilot")
    UnlockLicense.objects.create(device=dock, device_model_domain=0, license_id=240330, type=0, name="former-license")
    LicenseList.objects.create(device=dock, device_model_domain=0, complete=True, fetched_at=timezone.now())
    DeviceState.objects.filter(device=dock).update(properties={"home": "former-home"}, mode_code=4)
    Device.objects.filter(pk=dock.pk).update(callsign="Former Pier")
    Exchange.objects.create(
        gateway_sn=dock.sn,
        organization=dock.organization,
        channel="requests",
        method="airport_organization_bind",
        tid="former-tid",
        received_at=timezone.now(),
        outcome="answered",
        reason="former-reason",
        reply="{}",
    )
    return Device.objects.get(pk=dock.pk)


def release(client, user, *devices, **data):
    client.force_login(user)
    keys = ",".join(str(device.pk) for device in devices)
    return client.post(RELEASE, {"devices": keys, **data}, follow=True).content.decode()


def test_the_button_leads_to_a_page_that_says_what_goes_and_what_stays(client, alice, lived_in, aircraft):
    client.force_login(alice)
    text = client.get(reverse("admin:devices_device_change", args=[lived_in.pk])).content.decode()
    link = re.search(r'href="([^"]*release/[^"]*)"', text)[1]
    text = client.get(link).content.decode()
    for words in ("callsign", "position", "unlock licenses", "DJI account", "journal", "audit trail", "Former Pier"):
        assert words in text, words
    assert re.search(r'<input type="checkbox" name="with_aircraft"[^>]* checked>', text)
    assert "Gull" in text
    assert 'value="Release the selected devices"' in text  # no number: the aircraft may go, too
    assert Device.objects.get(pk=lived_in.pk).is_bound


def test_release_forgets_and_keeps_what_the_page_says(client, alice, lived_in):
    assert "Released: Former Pier" in release(client, alice, lived_in)
    device = Device.objects.get(pk=lived_in.pk)
    assert (device.organization, device.callsign, device.bound_at) == (None, "", None)
    assert (device.state.latitude, device.state.properties, device.state.mode_code) == (None, {}, None)
    for model in (UnlockLicense, LicenseList, DeviceAccount):
        assert not model.objects.exists()
    assert Exchange.objects.get().organization == lived_in.organization
    event = AuditEvent.objects.get(action="release")
    assert (event.user, event.organization, event.through) == (alice, lived_in.organization, "admin")


@pytest.mark.parametrize(("ticked", "stays"), [({}, True), ({"with_aircraft": "on"}, False)])
def test_the_aircraft_goes_too_only_if_it_is_ticked(client, alice, dock, aircraft, ticked, stays):
    release(client, alice, dock, **ticked)
    assert Device.objects.get(pk=aircraft.pk).is_bound is stays


def test_the_action_on_the_list_asks_first(client, alice, dock):
    client.force_login(alice)
    data = {"action": "release_selected", "_selected_action": [dock.pk]}
    text = client.post(LIST, data).content.decode()
    assert "Selected: 1 device" in text
    assert Device.objects.get(pk=dock.pk).is_bound


def test_releasing_needs_a_post(client, alice, dock):
    client.force_login(alice)
    client.get(RELEASE, {"devices": str(dock.pk), "with_aircraft": "on"})
    assert Device.objects.get(pk=dock.pk).is_bound


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_who_is_no_manager_releases_nothing(client, role, organization, dock):
    user = member("ivan", organization, role)
    client.force_login(user)
    assert client.post(RELEASE, {"devices": str(dock.pk)}).status_code == 403
    assert client.get(RELEASE, {"devices": str(dock.pk)}).status_code == 403
    client.post(LIST, {"action": "release_selected", "_selected_action": [dock.pk]})
    page = client.get(reverse("admin:devices_device_change", args=[dock.pk])).content.decode()
    assert "release/" not in page
    assert "release_selected" not in client.get(LIST).content.decode()
    assert Device.objects.get(pk=dock.pk).is_bound


def test_charlie_releases_nothing_of_alices_and_learns_no_name(client, charlie, dock):
    text = release(client, charlie, dock)
    assert "None of these devices was found" in text
    assert dock.callsign not in text
    assert Device.objects.get(pk=dock.pk).is_bound


def test_a_manager_elsewhere_who_only_views_here_is_told_so(client, bob, dock, other_organization):
    bob.memberships.create(organization=other_organization, role=Role.MANAGER)
    assert "only a manager of its organization may do this: Pier 7" in release(client, bob, dock)
    assert Device.objects.get(pk=dock.pk).is_bound


def test_skipped_devices_are_named_with_the_reason(client, staff, dock):
    nobodys = Device.objects.create(sn="NOBODYS")
    client.force_login(staff)
    text = client.get(RELEASE, {"devices": f"{dock.pk},{nobodys.pk}"}).content.decode()
    assert "NOBODYS: already unclaimed" in text
    text = release(client, staff, dock, nobodys)
    assert "Released: Pier 7" in text
    assert "already unclaimed: NOBODYS" in text


@pytest.mark.parametrize("keys", ["", "x", "1;2", "9" * 40, "-1", "²"])
def test_an_odd_choice_is_answered_in_words(client, alice, keys):
    client.force_login(alice)
    for method in (client.get, client.post):
        assert "Choose the devices" in method(RELEASE, {"devices": keys}, follow=True).content.decode()


def test_the_next_owner_sees_nothing_of_the_former_one(client, alice, charlie, lived_in):
    client.force_login(alice)
    change = reverse("admin:devices_device_change", args=[lived_in.pk])
    client.post(change, {"callsign": "Former Pier 2", "is_enabled": "on"})
    assert LogEntry.objects.exists()
    release(client, alice, lived_in)
    _, plain = BindingCode.objects.issue(organization=charlie.memberships.get().organization)
    assert bind([wanted(lived_in.sn, plain, organization_id="87654321")]) == [[0]]
    client.force_login(charlie)
    former = Exchange.objects.get(tid="former-tid")
    pages = [
        LIST,
        change,
        reverse("admin:devices_device_history", args=[lived_in.pk]),
        "/admin/mqtt_bridge/exchange/",
        f"/admin/mqtt_bridge/exchange/?q={lived_in.sn}",
        reverse("admin:mqtt_bridge_exchange_change", args=[former.pk]),
        "/admin/organizations/auditevent/",
    ]
    for page in pages:
        text = client.get(page, follow=True).content.decode()
        for trace in ("Former Pier", "former-", "53.5", "Harbour", "alice"):
            assert trace not in text, (page, trace)
    assert "0 messages" in client.get("/admin/mqtt_bridge/exchange/", {"q": "former-tid"}).content.decode()
    assert lived_in.sn in client.get(LIST).content.decode()
    client.force_login(alice)
    assert "former-reason" in client.get("/admin/mqtt_bridge/exchange/").content.decode()
