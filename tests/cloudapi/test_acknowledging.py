"""A problem that somebody knows of is hidden from the start page, until a moment or until it gets larger."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from cloudapi.admin import start_page
from devices.models import Acknowledgement, Device, DeviceState, ServiceCall
from mqtt_bridge.models import Heartbeat
from organizations.models import AuditEvent, Membership, Role
from tests.cast import member

pytestmark = pytest.mark.usefixtures("_bridge")
OFFLINE = "/admin/acknowledge/offline/"
FORM = {"reason": "no power until Friday", "hours": "24"}


@pytest.fixture
def _bridge(db):
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)


@pytest.fixture
def olga(organization):
    return member("olga", organization, Role.OPERATOR)


def lose(organization, *sns):
    for sn in sns:
        device = Device.objects.create(sn=sn, model_key="3-2-0", organization=organization)
        DeviceState.objects.create(device=device, online=False, last_seen=timezone.now() - timedelta(hours=2))


def fail(organization, number):
    device = Device.objects.get_or_create(sn="CALLED", model_key="3-2-0", organization=organization)[0]
    for _ in range(number):
        ServiceCall.objects.create(device=device, organization=organization, method="m", status="failed")


def look(user):
    user = type(user).objects.get(pk=user.pk)  # memberships are remembered
    found = start_page.overview(user, bridge=start_page.bridge_status())
    problems = [item.text for item in found.problems if item.kind in ("offline", "trouble")]
    return problems, [known.text for known in found.known]


def acknowledge(client, user, kind="offline", **fields):
    client.force_login(user)
    return client.post(f"/admin/acknowledge/{kind}/", FORM | fields)


def test_an_acknowledged_dock_is_hidden_and_another_one_is_not(client, olga, organization):
    lose(organization, "PIER", "QUAY")
    client.force_login(olga)
    page = client.get(OFFLINE).content.decode()
    assert "2 docks are offline" in page
    assert "PIER" in page
    assert acknowledge(client, olga).status_code == 302
    assert look(olga) == ([], ["2 docks are offline"])
    text = " ".join(client.get("/admin/").content.decode().split())
    assert re.search(r"olga, until [^<]+ UTC: no power until Friday</span> <span>\((PIER, QUAY|QUAY, PIER)\)", text)
    assert "Docks that went offline" not in text
    lose(organization, "NEW")
    assert look(olga)[0] == ["1 dock is offline"]
    assert "2 more are acknowledged" in client.get("/admin/").content.decode()


def test_the_problem_is_back_at_the_end(client, olga, organization, monkeypatch):
    lose(organization, "PIER")
    acknowledge(client, olga, hours="4")
    [row] = Acknowledgement.objects.all()
    assert timedelta(hours=3, minutes=59) < row.until - timezone.now() <= timedelta(hours=4)
    Acknowledgement.objects.update(until=timezone.now())
    assert look(olga) == (["1 dock is offline"], [])


def test_what_is_not_of_docks_is_hidden_until_there_is_more_of_it(client, olga, organization):
    fail(organization, 2)
    acknowledge(client, olga, "trouble")
    assert look(olga) == ([], ["2 commands did not succeed"])
    fail(organization, 1)
    assert look(olga) == (["3 commands did not succeed"], [])
    acknowledge(client, olga, "trouble", reason="the same again")
    assert look(olga) == ([], ["3 commands did not succeed"])
    ServiceCall.objects.filter(pk__in=ServiceCall.objects.values("pk")[:2]).delete()
    fail(organization, 1)
    text = client.get("/admin/").content.decode()
    assert "the same again" in text
    assert "no power until Friday" not in text  # that one was outgrown, and ended


def test_platform_staff_see_what_members_acknowledged_and_the_rest(
    client, staff, olga, organization, other_organization
):
    fail(organization, 2)
    acknowledge(client, olga, "trouble")
    other = Device.objects.create(sn="OTHER", model_key="3-2-0", organization=other_organization)
    ServiceCall.objects.create(device=other, organization=other_organization, method="m", status="failed")
    assert look(staff) == (["1 command did not succeed"], ["2 commands did not succeed"])
    acknowledge(client, staff, "trouble")
    assert look(staff) == ([], ["3 commands did not succeed"])
    assert Acknowledgement.objects.filter(organization=None).get().count == 1


def test_what_platform_staff_acknowledge_for_themselves_hides_nothing_from_members(client, staff, olga, organization):
    fail(organization, 2)
    acknowledge(client, staff, "trouble")
    assert look(staff)[0] == []
    assert look(olga) == (["2 commands did not succeed"], [])


def test_acknowledging_and_ending_are_in_the_trail_of_each_dock(client, olga, organization):
    lose(organization, "PIER", "QUAY")
    acknowledge(client, olga)
    client.post(f"/admin/acknowledged/{Acknowledgement.objects.first().pk}/end/")
    assert look(olga) == (["2 docks are offline"], [])
    for action in ("acknowledge", "end acknowledgement"):
        rows = AuditEvent.objects.filter(action=action, user=olga, organization=organization)
        assert {row.object_type for row in rows} == {"devices.Device"}
        assert (len(rows), len({row.request_id for row in rows})) == (2, 1)
        assert rows[0].after["reason"] == FORM["reason"]


def test_a_viewer_acknowledges_and_ends_nothing(client, bob, olga, organization):
    lose(organization, "PIER")
    client.force_login(bob)
    assert OFFLINE not in client.get("/admin/").content.decode()
    assert client.get(OFFLINE).status_code == acknowledge(client, bob).status_code == 403
    acknowledge(client, olga)
    client.force_login(bob)
    text = client.get("/admin/").content.decode()
    assert FORM["reason"] in text
    assert "/end/" not in text
    assert client.post(f"/admin/acknowledged/{Acknowledgement.objects.get().pk}/end/").status_code == 403
    assert look(bob) == ([], ["1 dock is offline"])


def test_nothing_of_another_organization_is_acknowledged_shown_or_ended(client, charlie, olga, organization):
    lose(organization, "PIER")
    assert acknowledge(client, charlie)["Location"] == "/admin/"
    assert not Acknowledgement.objects.exists()
    acknowledge(client, olga)
    client.force_login(charlie)
    assert look(charlie) == ([], [])
    assert client.post(f"/admin/acknowledged/{Acknowledgement.objects.get().pk}/end/").status_code == 404
    assert look(olga)[0] == []


def test_an_operator_of_one_organization_acknowledges_nothing_of_another_where_he_only_views(
    client, olga, organization, other_organization
):
    Membership.objects.create(user=olga, organization=other_organization, role=Role.VIEWER)
    lose(organization, "PIER")
    lose(other_organization, "NORTHERN")
    fail(organization, 1)
    device = Device.objects.get(sn="NORTHERN")
    ServiceCall.objects.create(device=device, organization=other_organization, method="m", status="failed")
    acknowledge(client, olga)
    acknowledge(client, olga, "trouble")
    assert look(olga)[0] == ["1 dock is offline", "1 command did not succeed"]
    assert set(Acknowledgement.objects.values_list("organization", flat=True)) == {organization.pk}


@pytest.mark.parametrize(("kind", "status"), [("locked_out", 404), ("no_such", 404), ("verification", 302)])
def test_a_member_finds_no_page_for_what_is_not_there(client, olga, kind, status):
    client.force_login(olga)
    assert client.get(f"/admin/acknowledge/{kind}/").status_code == status


def test_a_reason_is_needed(client, olga, organization):
    lose(organization, "PIER")
    assert b"This field is required" in acknowledge(client, olga, reason=" ").content
    assert not Acknowledgement.objects.exists()
