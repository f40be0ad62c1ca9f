"""Closing an organization in the admin, and what people see of it afterwards."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from cloudapi import retention
from devices.models import Device, ServiceCall
from devices.moving import closing
from organizations import audit
from organizations.models import AuditEvent, Organization

LIST = "/admin/organizations/organization/"


@pytest.fixture
def page(client, staff):
    client.force_login(staff)
    return client


@pytest.fixture
def closed(organization, alice, staff):
    closing.close(organization, actor=audit.Actor(AuditEvent.Through.ADMIN, staff))
    organization.refresh_from_db()
    return organization


def test_the_page_counts_and_wants_the_id_typed(page, organization, dock, aircraft, bob):
    address = f"{LIST}{organization.pk}/close/"
    assert address in page.get(f"{LIST}{organization.pk}/change/").content.decode()
    shown = page.get(address)
    assert shown.context["counts"] | {"docks": 1, "aircraft": 1, "members": 1} == shown.context["counts"]
    for row in ("Docks", "Aircraft"):  # as its page and the list count them
        assert f'{row}</th><td class="number">1</td>' in shown.content.decode()
    assert "Other devices" not in shown.content.decode()
    Device.objects.filter(pk=dock.pk).update(is_enabled=False)
    Device.objects.create(sn="REMOTE1", model_key="2-144-0", organization=organization)
    text = page.get(address).content.decode()
    assert "Disabled: 1 of them" in text
    assert 'Other devices</th><td class="number">1</td>' in text
    assert "This is not the ID" in page.post(address, {"organization_id": "87654321"}).content.decode()
    organization.refresh_from_db()
    assert organization.closed_at is None
    said = page.post(address, {"organization_id": " 12345678 "}, follow=True).content.decode()
    assert "Harbour Survey (12345678) is closed." in said
    assert "Open it again" in said
    assert f'"{address}"' not in said
    dock.refresh_from_db()
    assert dock.organization is None
    assert "is closed already" in page.get(address, follow=True).content.decode()


def test_its_devices_go_to_the_organization_that_is_chosen_if_there_is_room(page, organization, dock, aircraft):
    small = Organization.objects.create(organization_id="small", name="Small", device_limit=1)
    large = Organization.objects.create(organization_id="large", name="Large")
    address, form = f"{LIST}{organization.pk}/close/", {"organization_id": "12345678", "keep_accounts": "on"}
    said = page.post(address, form | {"to": small.pk}).content.decode()
    assert "Small has room for 1 more device" in said
    assert "not one of the available choices" in page.post(address, form | {"to": organization.pk}).content.decode()
    organization.refresh_from_db()
    assert organization.closed_at is None
    page.post(address, form | {"to": large.pk})
    assert set(Device.objects.values_list("organization", flat=True)) == {large.pk}
    organization.refresh_from_db()
    assert organization.closed_at is not None


def test_a_closed_organization_is_hidden_from_lists_and_choices_unless_asked_for(page, closed, other_organization):
    names = lambda query: [row.name for row in page.get(LIST + query).context["cl"].result_list]  # noqa: E731
    assert names("") == names("?closed=no") == ["Northern Grid"]
    assert names("?closed=yes") == ["Harbour Survey"]
    assert names("?closed=all") == ["Harbour Survey", "Northern Grid"]
    forms = (
        "organizations/bindingcode/add/",
        "devices/device/add/",
        "devices/dockconnection/import/",
        "devices/device/",
    )
    for form in (f"/admin/{form}" for form in forms):
        assert "Harbour Survey" not in page.get(form).content.decode(), form
    assert f"?organization={closed.pk}" not in page.get(f"{LIST}{closed.pk}/change/").content.decode()
    page.post("/admin/organizations/bindingcode/add/", {"organization": closed.pk, "max_uses": "1"})
    assert not closed.binding_codes.exists()


def test_its_former_manager_sees_nothing_of_it(client, alice, closed):
    client.force_login(alice)
    assert client.get(f"{LIST}{closed.pk}/change/").status_code == 403
    assert client.get(LIST).status_code == 403


def test_it_is_made_active_only_by_opening_it_again(page, closed):
    form = {"name": closed.name, "is_active": "on", "device_limit": "9", "license_sync_hours": "24"}
    page.post(f"{LIST}{closed.pk}/change/", form)
    rest = "/api/v1/organizations/"
    answer = page.patch(f"{rest}12345678/", {"is_active": True}, content_type="application/json")
    assert answer.status_code == 400
    assert page.get(f"{rest}12345678/").json()["is_active"] is False
    new_code = page.post("/api/v1/binding-codes/", {"organization": "12345678"}, content_type="application/json")
    assert new_code.status_code == 404
    closed.refresh_from_db()
    assert not closed.is_active
    said = page.post(f"{LIST}{closed.pk}/reopen/", follow=True).content.decode()
    assert "is open again" in said
    closed.refresh_from_db()
    assert closed.is_active


def test_it_is_deleted_when_its_history_is_over_and_not_before(closed):
    def prune(days):
        retention.prune(now=timezone.now() + timedelta(days=days))
        return not Organization.objects.filter(pk=closed.pk).exists()

    device = Device.objects.create(sn="GONE1")
    assert not prune(settings.AUDIT_DAYS - 1)
    call = ServiceCall.objects.create(device=device, organization=closed, method="unlock_license_list")
    assert not prune(settings.AUDIT_DAYS + 1)  # an open call is not pruned
    call.delete()
    assert prune(settings.AUDIT_DAYS + 1)


def test_an_organization_that_had_devices_offers_no_delete(page, organization, other_organization, dock):
    assert f"{LIST}{organization.pk}/delete/" not in page.get(f"{LIST}{organization.pk}/change/").content.decode()
    assert page.post(f"{LIST}{organization.pk}/delete/", {"post": "yes"}).status_code == 403
    assert (
        f"{LIST}{other_organization.pk}/delete/" in page.get(f"{LIST}{other_organization.pk}/change/").content.decode()
    )
    assert b"delete_selected" not in page.get(LIST).content


@pytest.mark.parametrize("visitor", ["alice", "bob"])
def test_members_are_not_offered_a_close(client, request, organization, visitor):
    client.force_login(request.getfixturevalue(visitor))
    assert "/close/" not in client.get(f"{LIST}{organization.pk}/change/").content.decode()
