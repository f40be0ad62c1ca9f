"""Transfer, the inbox and retiring in the admin: what is shown first, who may, and what happens."""

import re

import pytest
from django.urls import reverse
from django.utils import timezone

from devices.broker import accounts
from devices.models import BrokerAccount, Device, DeviceAccount
from licenses.models import LicenseEvent
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization
from tests.devices.calls.cases import make_call

pytestmark = pytest.mark.django_db
LIST = "/admin/devices/device/"
TRANSFER, INBOX, RETIRE = f"{LIST}transfer/", f"{LIST}inbox/", f"{LIST}retire/"
MORE = {"with_aircraft": "on", "keep_accounts": "on"}


def keys(*devices):
    return ",".join(str(device.pk) for device in devices)


def text_of(response):
    return response.content.decode()


# --- transfer ------------------------------------------------------------------------------------


def test_the_action_leads_to_a_page_that_says_what_ends_before_anything_happens(
    client, staff, dock, aircraft, other_organization
):
    make_call(dock, status="queued")
    DeviceAccount.objects.create(device=dock, username="pilot@example.org", status="logged_in")
    accounts.issue(device=dock, actor=Actor(AuditEvent.Through.COMMAND))
    client.force_login(staff)
    asked = {"action": "transfer_selected", "_selected_action": [dock.pk]}
    text = text_of(client.post(LIST, asked, follow=True))
    for words in ("Pier 7", "Gull", "1 ends", "pilot@example.org: log out first", "kept", "Northern Grid"):
        assert words in text, words
    assert 'value="Transfer to' not in text
    text = text_of(client.get(TRANSFER, {"devices": keys(dock), "to": other_organization.pk, **MORE}))
    assert 'value="Transfer to Northern Grid"' in text
    assert Device.objects.get(pk=dock.pk).organization == dock.organization


def test_the_dock_and_its_aircraft_are_transferred_in_one_action(client, staff, dock, aircraft, other_organization):
    accounts.issue(device=dock, actor=Actor(AuditEvent.Through.COMMAND))
    client.force_login(staff)
    text = text_of(client.post(TRANSFER, {"devices": keys(dock), "to": other_organization.pk, **MORE}, follow=True))
    assert "Transferred to Northern Grid" in text
    assert set(Device.objects.values_list("organization", flat=True)) == {other_organization.pk}
    assert BrokerAccount.objects.get().revoked_at is None
    assert AuditEvent.objects.filter(action="transfer").values("request_id").distinct().count() == 1


def test_what_is_not_ticked_stays_or_ends(client, staff, dock, aircraft, other_organization):
    accounts.issue(device=dock, actor=Actor(AuditEvent.Through.COMMAND))
    client.force_login(staff)
    client.post(TRANSFER, {"devices": keys(dock), "to": other_organization.pk})
    aircraft.refresh_from_db()
    assert aircraft.organization == dock.organization
    assert BrokerAccount.objects.get().revoked_at is not None


def test_a_full_organization_gets_nothing_and_the_page_says_so(client, staff, dock, aircraft, other_organization):
    Organization.objects.filter(pk=other_organization.pk).update(device_limit=1)
    client.force_login(staff)
    asked = {"devices": keys(dock), "to": other_organization.pk, **MORE}
    text = text_of(client.get(TRANSFER, asked))
    assert "Northern Grid has room for 1 more device" in text
    assert 'value="Transfer to' not in text
    assert "Northern Grid has room for 1 more device" in text_of(client.post(TRANSFER, asked, follow=True))
    assert not Device.objects.filter(organization=other_organization).exists()


def test_a_manager_is_not_offered_a_transfer(client, alice, dock):
    client.force_login(alice)
    assert "transfer_selected" not in text_of(client.get(LIST))
    assert TRANSFER not in text_of(client.get(reverse("admin:devices_device_change", args=[dock.pk])))


# --- the inbox -------------------------------------------------------------------------------------


def test_the_inbox_says_why_each_is_there(client, alice, staff, dock):
    Device.objects.create(sn="STRANGER", model_key="3-1-0")
    Device.objects.create(sn="RETIRED1", retired_at=timezone.now())
    client.force_login(alice)
    client.post(f"{LIST}release/", {"devices": keys(dock)})
    client.force_login(staff)
    text = text_of(client.get(INBOX))
    assert "Released by alice from Harbour Survey (12345678)." in text
    assert "STRANGER" in text
    assert "Nobody has bound it, and it has reported nothing." in text
    assert "RETIRED1" not in text


def test_an_ignored_device_leaves_the_inbox_until_it_is_put_back(client, staff):
    stranger = Device.objects.create(sn="STRANGER")
    client.force_login(staff)
    client.post(INBOX, {"device": stranger.pk, "deed": "ignore"})
    assert "STRANGER</a>" not in text_of(client.get(INBOX))
    assert "STRANGER</a>" in text_of(client.get(INBOX, {"ignored": "yes"}))
    client.post(f"{INBOX}?ignored=yes", {"device": stranger.pk, "deed": "stop"})
    assert "STRANGER</a>" in text_of(client.get(INBOX))
    assert set(AuditEvent.objects.values_list("action", flat=True)) == {"ignore", "stop ignoring"}


def test_a_bound_device_is_not_ignored(client, staff, dock):
    client.force_login(staff)
    client.post(INBOX, {"device": dock.pk, "deed": "ignore"})
    assert Device.objects.get(pk=dock.pk).ignored_at is None


def test_assigning_from_the_inbox_goes_through_the_same_page(client, staff, organization):
    strangers = [Device.objects.create(sn=f"STRANGER{number}") for number in (1, 2)]
    client.force_login(staff)
    answer = client.post(INBOX, {"device": [device.pk for device in strangers], "deed": "assign"})
    assert answer["Location"] == f"{TRANSFER}?devices={keys(*strangers)}"


def test_the_inbox_takes_as_many_queries_for_many(
    client, staff, django_assert_num_queries, django_assert_max_num_queries
):
    client.force_login(staff)
    Device.objects.create(sn="STRANGER")
    client.get(INBOX)
    with django_assert_max_num_queries(16) as few:
        client.get(INBOX)
    for number in range(30):
        Device.objects.create(sn=f"STRANGER{number}")
    with django_assert_num_queries(len(few)):
        client.get(INBOX)


# --- retire, restore, delete -----------------------------------------------------------------------


def test_a_manager_retires_a_dock_with_its_aircraft_after_a_question(client, alice, staff, dock, aircraft):
    make_call(dock, status="succeeded", closed=timezone.now())
    client.force_login(alice)
    text = text_of(client.get(RETIRE, {"devices": keys(dock)}))
    assert re.search(rf"<li>Gull[^<]*\(in [^<]*{dock.sn}[^<]*\)</li>", text)
    assert Device.objects.filter(retired_at=None).count() == 2
    client.post(RETIRE, {"devices": keys(dock), "with_aircraft": "on"})
    assert not Device.objects.filter(retired_at=None).exists()
    client.force_login(staff)
    assert list(client.get(LIST).context["cl"].result_list) == []
    assert set(client.get(LIST, {"retired": "yes"}).context["cl"].result_list) == {dock, aircraft}


def test_a_retired_dock_is_not_among_the_connections(client, staff, dock):
    client.force_login(staff)
    connections = "/admin/devices/dockconnection/"
    assert len(client.get(connections).context["cl"].result_list) == 1
    Device.objects.filter(pk=dock.pk).update(organization=None, retired_at=timezone.now())
    assert len(client.get(connections).context["cl"].result_list) == 0


def test_staff_take_it_back_on_its_page(client, staff, dock):
    Device.objects.filter(pk=dock.pk).update(organization=None, retired_at=timezone.now())
    client.force_login(staff)
    page = reverse("admin:devices_device_change", args=[dock.pk])
    assert "restore_selected" in text_of(client.get(page))
    Device.objects.create(sn="INUSE")
    for query, offered in (({}, {"transfer_selected", "retire_selected"}), ({"retired": "yes"}, {"restore_selected"})):
        actions = text_of(client.get(LIST, query))
        for name in ("transfer_selected", "retire_selected", "restore_selected"):
            assert (f'value="{name}"' in actions) is (name in offered)
    client.post(f"{LIST}?retired=yes", {"action": "restore_selected", "_selected_action": dock.pk})
    assert Device.objects.get(pk=dock.pk).retired_at is None


def test_no_manager_retires_another_organizations_device(client, charlie, dock):
    client.force_login(charlie)
    client.post(RETIRE, {"devices": keys(dock)})
    assert Device.objects.get(pk=dock.pk).retired_at is None


def test_delete_is_offered_only_where_nothing_keeps_the_device(client, staff, organization):
    fresh, called, licensed = (Device.objects.create(sn=f"STRANGER{number}") for number in range(3))
    make_call(called, organization=organization, status="succeeded", closed=timezone.now())
    LicenseEvent.objects.create(
        device=licensed, organization=organization, device_model_domain=3, license_id=1, at=timezone.now()
    )
    client.force_login(staff)
    for device, is_offered in ((fresh, True), (called, False), (licensed, False)):
        text = text_of(client.get(reverse("admin:devices_device_change", args=[device.pk])))
        assert (reverse("admin:devices_device_delete", args=[device.pk]) in text) is is_offered
        assert RETIRE in text
