"""Sites and labels on devices: of their own organization alone, in the admin, over REST, and as filters."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.grouping import assigning
from devices.models import Device, DeviceLabel, Label, Site
from organizations.audit import Actor
from organizations.models import AuditEvent, Role
from tests.cast import member

pytestmark = pytest.mark.django_db
LIST = "/admin/devices/device/"
PAGE = f"{LIST}grouping/"
REST = "/api/v1/devices/"


@pytest.fixture
def site(organization):
    return Site.objects.create(organization=organization, name="Pier", time_zone="Asia/Shanghai")


@pytest.fixture
def label(organization):
    return Label.objects.create(organization=organization, name="spare", colour="red")


@pytest.fixture
def foreign(other_organization):
    site = Site.objects.create(organization=other_organization, name="Foreign site")
    return site, Label.objects.create(organization=other_organization, name="Foreign label")


def test_an_operator_gives_many_devices_a_site_and_a_label(client, organization, dock, aircraft, site, label):
    client.force_login(member("olga", organization, Role.OPERATOR))
    answer = client.post(LIST, {"action": "group_selected", "_selected_action": [dock.pk, aircraft.pk]})
    assert client.get(answer["Location"]).status_code == 200
    client.post(PAGE, {"devices": f"{dock.pk},{aircraft.pk}", "site": site.pk, "add": label.pk})
    assert set(Device.objects.values_list("site", "labels")) == {(site.pk, label.pk)}
    event = AuditEvent.objects.get(action="change", object_id=str(dock.pk))
    assert (event.before, event.after) == ({"site": "", "labels": ""}, {"site": "Pier", "labels": "spare"})
    client.post(PAGE, {"devices": str(dock.pk), "site": "none", "remove": label.pk})
    dock.refresh_from_db()
    assert (dock.site, list(dock.labels.all())) == (None, [])
    assert Device.objects.get(pk=aircraft.pk).site == site


def test_what_is_not_chosen_stays_and_nothing_new_is_no_change(dock, organization, site, label):
    options = {"organization": organization, "actor": Actor(AuditEvent.Through.COMMAND)}
    assert assigning.assign([dock], site=site, **options) == [dock]
    assert assigning.assign([dock], add=[label], **options) == [dock]
    assert assigning.assign([dock], site=site, add=[label], **options) == []
    dock.refresh_from_db()
    assert (dock.site, dock.label_names) == (site, ["spare"])


def test_a_label_is_deleted_after_a_page_that_counts_its_devices(
    client, alice, dock, aircraft, label, django_assert_num_queries
):
    client.force_login(alice)
    page = reverse("admin:devices_label_delete", args=[label.pk])
    DeviceLabel.objects.create(device=dock, label=label)
    with CaptureQueriesContext(connection) as few:
        assert "devices that lose it: 1" in client.get(page).content.decode().lower()
    DeviceLabel.objects.create(device=aircraft, label=label)
    with django_assert_num_queries(len(few)):
        client.get(page)
    client.post(page, {"post": "yes"})
    assert not Label.objects.exists()
    assert not DeviceLabel.objects.exists()


def test_the_page_before_a_site_is_deleted_counts_the_devices_that_lose_it(client, alice, dock, site):
    client.force_login(alice)
    Device.objects.filter(pk=dock.pk).update(site=site)
    page = reverse("admin:devices_site_delete", args=[site.pk])
    assert "devices that lose it: 1" in client.get(page).content.decode().lower()
    client.post(page, {"post": "yes"})
    dock.refresh_from_db()
    assert dock.site is None


def test_no_device_gets_the_site_or_label_of_another_organization(client, alice, dock, organization, foreign):
    client.force_login(alice)
    text = client.get(PAGE, {"devices": dock.pk}).content.decode()
    assert "Foreign" not in text
    client.post(PAGE, {"devices": dock.pk, "site": foreign[0].pk})
    client.post(PAGE, {"devices": dock.pk, "add": foreign[1].pk})
    for given in ({"site": foreign[0]}, {"add": [foreign[1]]}):
        with pytest.raises(ValueError, match="another organization"):
            assigning.assign([dock], organization=organization, actor=Actor(AuditEvent.Through.COMMAND), **given)
    dock.refresh_from_db()
    assert (dock.site, DeviceLabel.objects.count()) == (None, 0)


def test_a_device_that_left_meanwhile_gets_nothing(dock, organization, other_organization, site):
    Device.objects.filter(pk=dock.pk).update(organization=other_organization)
    assert assigning.assign([dock], organization=organization, actor=Actor(AuditEvent.Through.COMMAND), site=site) == []


def test_a_viewer_and_a_stranger_change_nothing(client, bob, charlie, dock, site):
    for user in (bob, charlie):
        client.force_login(user)
        client.post(PAGE, {"devices": dock.pk, "site": site.pk})
    assert Device.objects.get(pk=dock.pk).site is None


def test_the_page_of_a_device_shows_its_site_its_zone_and_its_labels(client, bob, dock, site, label):
    Device.objects.filter(pk=dock.pk).update(site=site)
    DeviceLabel.objects.create(device=dock, label=label)
    client.force_login(bob)
    text = client.get(reverse("admin:devices_device_change", args=[dock.pk])).content.decode()
    assert "Asia/Shanghai" in text
    assert '<span class="label label-red">spare</span>' in text


def test_the_list_is_filtered_by_site_and_label_and_names_no_others(
    client, alice, dock, aircraft, site, label, foreign
):
    Device.objects.filter(pk=dock.pk).update(site=site)
    DeviceLabel.objects.create(device=aircraft, label=label)
    client.force_login(alice)
    for query, sns in (
        ({"site": site.pk}, {dock.sn}),
        ({"site": "none"}, {aircraft.sn}),
        ({"label": label.pk}, {aircraft.sn}),
        ({"label": "none"}, {dock.sn}),
        ({"site": foreign[0].pk}, set()),
        ({"site": "x"}, {dock.sn, aircraft.sn}),
    ):
        page = client.get(LIST, query)
        assert {device.sn for device in page.context["cl"].result_list} == sns, query
        assert "Foreign" not in page.content.decode()
    assert client.get(LIST, {"_facets": "True"}).status_code == 200


# --- REST ------------------------------------------------------------------------------------------


def test_rest_reads_and_writes_them_by_name(api, operator_key, dock, site, label):
    client = api(operator_key)
    answer = client.patch(f"{REST}{dock.sn}/?include=labels", {"site": "Pier", "labels": ["spare"]})
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["site"], told["time_zone"], told["labels"]) == ("Pier", "Asia/Shanghai", ["spare"])
    event = AuditEvent.objects.get(action="change")
    assert event.after == {"site": "Pier", "labels": "spare"}
    assert [row["sn"] for row in client.get(REST, {"site": "Pier", "label": "spare"}).json()["results"]] == [dock.sn]
    assert client.get(REST, {"label": "other"}).json()["results"] == []
    assert client.patch(f"{REST}{dock.sn}/", {"site": "", "labels": []}).status_code == 200
    assert (Device.objects.get(pk=dock.pk).site, DeviceLabel.objects.count()) == (None, 0)


@pytest.mark.parametrize("given", [{"site": "Foreign site"}, {"labels": ["Foreign label"]}])
def test_rest_takes_no_name_of_another_organization(api, operator_key, dock, foreign, given):
    answer = api(operator_key).patch(f"{REST}{dock.sn}/", given)
    assert answer.status_code == 400
    assert (Device.objects.get(pk=dock.pk).site, DeviceLabel.objects.count()) == (None, 0)


def test_rest_costs_one_query_more_for_the_labels_of_any_number(
    api, viewer_key, organization, label, django_assert_max_num_queries
):
    for number in range(5):
        device = Device.objects.create(sn=f"D{number}", organization=organization)
        DeviceLabel.objects.create(device=device, label=label)
    client = api(viewer_key)
    client.get(REST)  # notes that the key is in use
    with django_assert_max_num_queries(4):
        assert client.get(REST, {"include": "labels"}).json()["results"][0]["labels"] == ["spare"]
