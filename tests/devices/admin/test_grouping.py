"""Sites and labels in the admin."""

import pytest

from devices.models import Device, DeviceLabel, Label, Site
from organizations.models import AuditEvent, Role
from tests.cast import member

pytestmark = pytest.mark.django_db
SITES, LABELS = "/admin/devices/site/", "/admin/devices/label/"


@pytest.fixture
def site(organization):
    return Site.objects.create(organization=organization, name="Pier")


def test_an_operator_adds_a_site_and_it_stays_with_its_organization(client, organization, other_organization):
    client.force_login(member("olga", organization, Role.OPERATOR))
    values = {"organization": organization.pk, "name": "Pier", "latitude": 53.5, "time_zone": "Asia/Shanghai"}
    assert client.post(f"{SITES}add/", values).status_code == 302
    site = Site.objects.get()
    assert client.post(f"{SITES}{site.pk}/change/", values | {"organization": other_organization.pk}).status_code == 302
    site.refresh_from_db()
    assert (site.organization, site.latitude, site.time_zone) == (organization, 53.5, "Asia/Shanghai")
    assert AuditEvent.objects.filter(organization=organization, action="add", object_name="Pier").exists()


def test_a_site_is_added_to_no_other_organization_and_deleted_by_no_operator(
    client, organization, other_organization, site
):
    client.force_login(member("olga", organization, Role.OPERATOR))
    assert client.post(f"{SITES}add/", {"organization": other_organization.pk, "name": "Quay"}).status_code == 200
    assert client.post(f"{SITES}{site.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Site.objects.get() == site


@pytest.mark.parametrize("wrong", [{"name": "Pier"}, {"time_zone": "Asia/Atlantis"}, {"latitude": 91}])
def test_a_site_of_a_name_that_is_there_or_at_no_place_is_refused(client, organization, alice, site, wrong):
    other = Site.objects.create(organization=organization, name="Quay")
    client.force_login(alice)
    response = client.post(f"{SITES}{other.pk}/change/", {"name": "Quay"} | wrong)
    assert response.context["errors"]
    other.refresh_from_db()
    assert other.name == "Quay"


def test_a_list_says_how_many_devices_there_are_and_a_deleted_label_leaves_them(client, alice, organization, dock):
    label = Label.objects.create(organization=organization, name="spare")
    DeviceLabel.objects.create(device=dock, label=label)
    client.force_login(alice)
    page = client.get(LABELS)
    assert page.context["cl"].result_list[0].size == 1
    assert '<span class="label label-grey">grey</span>' in page.content.decode()
    assert client.post(f"{LABELS}{label.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not DeviceLabel.objects.exists()
    assert Device.objects.get(pk=dock.pk) == dock


def test_a_deleted_site_leaves_its_devices_and_they_count_as_changed(dock, site):
    Device.objects.filter(pk=dock.pk).update(site=site)
    before = Device.objects.get(pk=dock.pk).updated
    site.delete()
    device = Device.objects.get(pk=dock.pk)
    assert device.site is None
    assert device.updated > before


def test_lists_and_filters_sort_names_by_the_numbers_in_them(client, staff, organization):
    names = ["Pier 1", "Pier 2", "Pier 16"]
    for name in reversed(names):
        Site.objects.create(organization=organization, name=name)
        Device.objects.create(sn=f"SN{name[5:]}", organization=organization, callsign=name, model_key="3-2-0")
    client.force_login(staff)
    page = client.get("/admin/devices/device/").context["cl"]
    assert [row.callsign for row in page.result_list] == names
    [site] = [spec for spec in page.filter_specs if spec.title == "site"]
    assert [str(words) for _, words in site.lookup_choices][:3] == names
    assert [row.name for row in client.get(SITES).context["cl"].result_list] == names
    assert [row.name for row in client.get(f"{SITES}?o=-1").context["cl"].result_list] == names[::-1]
    backwards = client.get("/admin/devices/device/?o=-2").context["cl"].result_list
    assert [row.callsign for row in backwards] == names[::-1]
