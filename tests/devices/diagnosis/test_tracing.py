"""Events that this server does not act on, and their trace, as people see and switch them."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from devices.diagnosis import tracing
from mqtt_bridge.models import PassingEvent, Trace
from organizations.models import AuditEvent, Membership

pytestmark = pytest.mark.django_db
ROUTE = "admin:devices_device_trace"


@pytest.fixture
def press(client, dock):
    def press(user, minutes, device=dock):
        client.force_login(user)
        return client.post(reverse(ROUTE, args=[device.pk]), {"minutes": minutes}).status_code

    return press


def test_operator_traces_a_device_and_ends_that(press, bob, dock):
    Membership.objects.filter(user=bob).update(role="operator")
    assert press(bob, 10) == 302
    trace = Trace.objects.get()
    assert (trace.gateway_sn, trace.organization) == (dock.sn, dock.organization)
    assert timedelta(minutes=9) < trace.until - timezone.now() <= timedelta(minutes=10)
    assert press(bob, 0) == 302
    assert not Trace.objects.exists()
    assert (
        list(AuditEvent.objects.filter(action="trace").values_list("user", "organization"))
        == [(bob.pk, dock.organization_id)] * 2
    )


def test_viewers_and_strangers_trace_nothing(press, bob, charlie):
    assert press(bob, 10) == 403
    assert press(charlie, 10) == 404
    assert not Trace.objects.exists()


def test_no_trace_runs_for_ever(press, alice, client, dock):
    press(alice, 10**6)
    assert not Trace.objects.exists()
    assert client.get(reverse(ROUTE, args=[dock.pk])).status_code == 405


def test_page_shows_the_latest_events_and_how_long_the_trace_runs(client, alice, dock, organization):
    now = timezone.now()
    PassingEvent.objects.create(
        gateway_sn=dock.sn, organization=organization, method="hms", count=7, first_at=now, last_at=now, payload="{}"
    )
    Trace.objects.create(gateway_sn=dock.sn, organization=organization, until=now + timedelta(minutes=5))
    client.force_login(alice)
    text = client.get(reverse("admin:devices_device_change", args=[dock.pk])).content.decode()
    assert all(words in text for words in ("<td>hms</td><td>7</td>", "Each event is kept until", "Stop now"))


def test_new_owner_sees_neither_events_nor_trace_of_the_former(client, charlie, dock, organization, other_organization):
    now = timezone.now()
    PassingEvent.objects.create(
        gateway_sn=dock.sn, organization=organization, method="hms", count=7, first_at=now, last_at=now
    )
    Trace.objects.create(gateway_sn=dock.sn, organization=organization, until=now + timedelta(minutes=5))
    dock.organization = other_organization
    dock.save()
    client.force_login(charlie)
    text = client.get(reverse("admin:devices_device_change", args=[dock.pk])).content.decode()
    assert "No such events yet." in text
    assert "Each event is kept until" not in text
    assert client.get(f"/api/v1/devices/{dock.sn}/events/").json()["results"] == []
    assert tracing.traced_until(dock) is None
