"""Switching licenses of several docks by name, type or group."""

import re
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from devices.models import Device, DeviceState, ServiceCall, ServiceCallBatch
from licenses.models import Inventory
from tests.licenses.admin.test_licenses import _bridge, license_  # noqa: F401

pytestmark = pytest.mark.django_db
PAGE = "/admin/licenses/unlocklicense/switch-by/"


@pytest.fixture
def docks(dock, organization):
    """Three docks; each has the same two licenses under its own ids, and the last one more."""
    found = [dock]
    for number in (2, 3):
        found.append(Device.objects.create(sn=f"DOCK000{number}", model_key="3-2-0", organization=organization))
        DeviceState.objects.create(device=found[-1], online=True, last_seen=timezone.now())
    for number, each in enumerate(found):
        license_(each, 100 + number, name="Harbour", type=1, group_id=7)
        license_(each, 200 + number, name="Country", type=2, group_id=8, enabled=number == 0)
    license_(found[-1], 300, name="Harbour", type=4, group_id=None)
    license_(found[-1], 400, Inventory.DOCK, name="Harbour", type=1, group_id=7)  # not imported
    return found


def keys(docks):
    return ",".join(str(dock.pk) for dock in docks)


def groups(response):
    names = ("name", "type", "group_id", "docks", "licenses", "on", "off")
    return [tuple(group.values.get(name, "") for name in names) for group in response.context["groups"]]


def test_the_action_of_the_list_of_docks_leads_to_their_licenses_in_groups(client, olga, docks):
    client.force_login(olga)
    chosen = {"action": "switch_selected", "_selected_action": [dock.pk for dock in docks]}
    response = client.post(reverse("admin:devices_device_changelist"), chosen, follow=True)
    assert response.redirect_chain[-1][0].startswith(f"{PAGE}?devices=")
    assert groups(response) == [
        ("Country", 2, 8, 3, 3, 1, 2), ("Harbour", 1, 7, 3, 3, 3, 0), ("Harbour", 4, None, 1, 1, 1, 0),
    ]  # fmt: skip


BYS = [
    ("type", [("", 1, "", 3, 3, 3, 0), ("", 2, "", 3, 3, 1, 2), ("", 4, "", 1, 1, 1, 0)]),
    ("group", [("", "", 7, 3, 3, 3, 0), ("", "", 8, 3, 3, 1, 2), ("", "", None, 1, 1, 1, 0)]),
]


@pytest.mark.parametrize(("by", "found"), BYS)
def test_groups_are_by_type_or_group_too(client, olga, docks, by, found):
    client.force_login(olga)
    assert groups(client.get(PAGE, {"devices": keys(docks), "by": by})) == found


@pytest.mark.parametrize(
    ("by", "place", "ids"), [("name", 1, {100, 101, 102}), ("type", 0, {100, 101, 102}), ("group", 2, {300})]
)
def test_a_group_is_asked_about_and_then_one_batch_whatever_its_ids(client, olga, docks, by, place, ids):
    client.force_login(olga)
    page = client.get(PAGE, {"devices": keys(docks), "by": by})
    values = re.findall(r'name="group" value="([^"]+)"', page.content.decode())
    sent = {"devices": keys(docks), "by": by, "group": unescape(values[place]), "side": "off"}
    question = client.post(PAGE, sent)
    assert {row.license_id for row in question.context["now"]} == ids
    assert not ServiceCall.objects.exists()
    asked = re.search(r'name="licenses" value="([^"]+)"', question.content.decode())[1]
    client.post("/admin/licenses/unlocklicense/switch/off/", {"licenses": asked, "note": ""})
    assert {call.data["license_id"] for call in ServiceCallBatch.objects.get().calls.all()} == ids


def test_nothing_chosen_asks_again(client, olga, docks):
    client.force_login(olga)
    response = client.post(PAGE, {"devices": keys(docks), "side": "off", "group": "nonsense"})
    assert "Choose what to switch." in response.content.decode()
    assert len(groups(response)) == 3


def test_docks_of_others_show_no_group(client, charlie, docks):
    client.force_login(charlie)
    assert groups(client.get(PAGE, {"devices": keys(docks)})) == []


def test_the_page_costs_as_many_queries_for_many_docks_as_for_one(client, olga, docks, django_assert_num_queries):
    client.force_login(olga)
    client.get(PAGE, {"devices": keys(docks[:1])})
    with django_assert_num_queries(7):
        client.get(PAGE, {"devices": keys(docks[:1])})
    with django_assert_num_queries(7):
        client.get(PAGE, {"devices": keys(docks)})
