"""The tiles on an organization's page: each counts what the list behind it shows."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device, DeviceState, ServiceCall
from licenses.models import UnlockLicense
from mqtt_bridge.models import Heartbeat

PAGE = "/admin/organizations/organization/{}/change/"
TILE = re.compile(r'<a href="([^"]+)"><strong>(\S+)</strong> <span>([^<]+)</span>')


def add_dock(organization, sn, **state):
    dock = Device.objects.create(sn=sn, model_key="3-2-0", organization=organization, bound_at=timezone.now())
    DeviceState.objects.create(device=dock, last_seen=timezone.now(), **state)
    return dock


@pytest.fixture
def tiles(client, organization):
    """tiles() is the number on each tile of Alice's organization, by its words, with its link."""

    def tiles():
        text = client.get(PAGE.format(organization.pk)).content.decode()
        return {words: (number, link.replace("&amp;", "&")) for link, number, words in TILE.findall(text)}

    return tiles


@pytest.fixture
def busy(organization, other_organization, code):
    """One of everything in Alice's organization, and the same in Charlie's."""
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)
    for owner in (organization, other_organization):
        add_dock(owner, f"{owner.pk}ON", online=True)
        dock = add_dock(owner, f"{owner.pk}OFF", online=False)
        Device.objects.create(sn=f"{owner.pk}AIR", model_key="0-91-0", organization=owner)
        ServiceCall.objects.create(device=dock, organization=owner, method="unlock_license_list")
        ServiceCall.objects.create(
            device=dock, organization=owner, method="unlock_license_list", status="failed", closed=now
        )
        soon = {"enabled": True, "begin_time": now, "end_time": now + timedelta(days=9)}
        UnlockLicense.objects.create(device=dock, device_model_domain=0, license_id=1, type=0, **soon)
    return organization


@pytest.mark.parametrize("visitor", ["alice", "bob", "staff"])
def test_each_tile_counts_what_its_list_shows(client, request, busy, tiles, visitor):
    client.force_login(request.getfixturevalue(visitor))
    found = tiles()
    assert {words: number for words, (number, _) in found.items()} == {
        "docks": "2",
        "dock offline": "1",
        "open command": "1",
        "command did not succeed in 24 hours": "1",
        "usable code": "1",
        "license ends within 30 days": "1",
    }
    for words, (number, link) in found.items():
        assert str(client.get(link).context["cl"].result_count) == number, words


def test_while_the_bridge_is_silent_nobody_knows_which_docks_are_offline(client, alice, busy, tiles):
    Heartbeat.objects.all().delete()
    client.force_login(alice)
    assert tiles()["docks offline"][0] == "?"


def test_the_page_asks_as_many_queries_for_many_docks(client, alice, busy, tiles):
    client.force_login(alice)
    tiles()
    with CaptureQueriesContext(connection) as few:
        tiles()
    for number in range(12):
        add_dock(busy, f"MORE{number}", online=False)
    with CaptureQueriesContext(connection) as many:
        tiles()
    assert len(many) == len(few)
