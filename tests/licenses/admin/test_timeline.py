"""The list of licenses as a timeline."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device
from licenses.admin import bars, changelist
from tests.licenses.admin.test_licenses import license_, read

TIMELINE = "/admin/licenses/unlocklicense/timeline/"


def lines(response):
    return [line for _, own in response.context["docks"] for line in own]


@pytest.mark.django_db
def test_the_page_has_a_bar_for_every_license_of_the_filtered_list(client, bob, dock):
    license_(dock, 1)
    license_(dock, 2, end=-1)
    license_(dock, 3, end=3)
    read(dock)
    client.force_login(bob)
    response = client.get(TIMELINE)
    text = response.content.decode()
    assert [line.shown.license.license_id for line in lines(response)] == [3, 1, 2]
    for kind in ("good", "bad", "soon"):
        assert f'class="bar bar-{kind}"' in text
    assert text.count('class="today"') == 4
    assert [line.shown.kind for line in lines(client.get(TIMELINE, {"state": "expired"}))] == ["bad"]


@pytest.mark.django_db
def test_an_old_list_has_a_colour_of_its_own(client, bob, dock):
    license_(dock, 1, seen_at=timezone.now() - timedelta(days=9))
    client.force_login(bob)
    text = client.get(TIMELINE).content.decode()
    assert "bar-stale" in text
    assert "was in force" in text
    assert "bar-good" not in text


@pytest.mark.django_db
@pytest.mark.parametrize("span", [*bars.SPANS, "nonsense", ""])
def test_every_span_opens_and_keeps_the_filters(client, bob, dock, span):
    license_(dock, 1)
    client.force_login(bob)
    response = client.get(TIMELINE, {"span": span, "type": "1"})
    assert response.status_code == 200
    assert all("type=1" in query for _, query, _ in response.context["spans"])


@pytest.mark.django_db
def test_an_order_is_by_the_same_column_as_in_the_list(client, alice, dock):
    license_(dock, 1, type=5)
    license_(dock, 2, type=1)
    client.force_login(alice)
    for page in (TIMELINE.replace("timeline/", ""), TIMELINE):
        rows = client.get(page, {"o": "-2"}).context["cl"].result_list  # by type
        assert [row.license_id for row in rows] == [1, 2]


@pytest.mark.django_db
def test_many_licenses_are_paged(client, bob, dock, monkeypatch):
    monkeypatch.setattr(changelist, "BARS", 2)
    for key in range(3):
        license_(dock, key)
    client.force_login(bob)
    assert len(lines(client.get(TIMELINE))) == 2
    assert len(lines(client.get(TIMELINE, {"p": 2}))) == 1


@pytest.mark.django_db
def test_licenses_stand_together_by_dock_and_long_names_are_cut_in_the_middle(client, bob, dock):
    other = Device.objects.create(sn="DOCK0008", model_key="3-2-0", organization=dock.organization, callsign="Quay")
    name = "Harbour Survey, permanent corridor of the northern breakwater 2026-01"
    license_(dock, 1, end=9)
    license_(other, 2, end=5, name=name)
    license_(dock, 3, end=3)
    client.force_login(bob)
    response = client.get(TIMELINE)
    found = [(device.sn, [line.shown.license.license_id for line in own]) for device, own in response.context["docks"]]
    assert found == [("DOCK0001", [3, 1]), ("DOCK0008", [2])]
    assert f'<span class="middle-head">{name[:-14]}</span><span class="middle-tail">' in response.content.decode()
