"""Names by a pattern: previewed, of one's own devices, and nothing of a row but what the pattern may name."""

import pytest
from django.core.exceptions import ValidationError

from devices.grouping import renaming
from devices.models import Device, Site
from organizations.audit import Actor
from organizations.models import AuditEvent, Role
from tests.cast import member

pytestmark = pytest.mark.django_db
PAGE = "/admin/devices/device/rename/"


def test_an_operator_sees_the_names_first_and_then_gives_them(client, organization, dock, aircraft):
    site = Site.objects.create(organization=organization, name="Pier")
    Device.objects.update(site=site)
    client.force_login(member("olga", organization, Role.OPERATOR))
    asked = {"devices": f"{aircraft.pk},{dock.pk}", "pattern": "{site} {n:02}", "first": "9"}
    assert [name for _, name in client.get(PAGE, asked).context["wanted"]] == ["Pier 09", "Pier 10"]
    assert Device.objects.get(pk=dock.pk).callsign == "Pier 7"
    client.post(PAGE, asked)
    assert list(Device.objects.order_by("sn").values_list("callsign", flat=True)) == ["Pier 09", "Pier 10"]
    event = AuditEvent.objects.get(action="change", object_id=str(dock.pk))
    assert (event.before, event.after) == ({"callsign": "Pier 7"}, {"callsign": "Pier 09"})


@pytest.mark.parametrize("pattern", ["{organization.app_key}", "{sn!r}", "{n:99999999}", "{", "{secret}", "x" * 129])
def test_a_pattern_names_nothing_else(dock, pattern):
    with pytest.raises(ValidationError):
        renaming.names([dock], pattern)


def test_nobody_renames_the_devices_of_others(client, bob, charlie, dock):
    for user in (bob, charlie):
        client.force_login(user)
        client.post(PAGE, {"devices": dock.pk, "pattern": "stolen", "first": 1})
    assert Device.objects.get(pk=dock.pk).callsign == "Pier 7"


def test_a_device_that_left_meanwhile_keeps_its_name(dock, other_organization):
    Device.objects.filter(pk=dock.pk).update(organization=other_organization)
    assert renaming.rename([dock], ["New"], actor=Actor(AuditEvent.Through.COMMAND)) == []
