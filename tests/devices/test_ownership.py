"""Every way in which an organization loses a device, and that the next owner sees nothing of it."""

import json

import pytest
from django.apps import apps
from django.conf import settings
from django.utils import timezone

from devices import ownership
from devices.binding import release
from devices.device_state import store
from devices.models import Acknowledgement, Device, DeviceAccount, DeviceLabel, DeviceState, Label, Pairing, Site
from licenses.models import LicenseList, UnlockLicense
from mqtt_bridge.telemetry import Frame
from organizations.audit import Actor
from organizations.models import AuditEvent, BindingCode
from tests.devices.calls.cases import make_call
from tests.devices.test_binding import bind, wanted
from tests.devices.test_topology import report, update
from tests.mqtt_bridge.test_dispatch import delivery, handle

pytestmark = pytest.mark.django_db

NAMED = "NAMED"


def released(_theirs):
    release([Device.objects.get(sn=NAMED)], actor=Actor(AuditEvent.Through.COMMAND))


def freed_by_its_topology(_theirs):
    update(report(NAMED))


def freed_by_its_own_bind(theirs):
    assert bind([wanted(NAMED, theirs, organization_id="87654321", callsign="")]) == [[0]]


def proven_to_be_anothers(theirs):
    dock = wanted("OTHERDOCK", theirs, organization_id="87654321")
    bind([dock])
    update(report("OTHERDOCK", NAMED))
    spoken = timezone.now()
    store([Frame(NAMED, spoken, data={"mode_code": 0}, data_since=spoken, gateway="OTHERDOCK")])
    aircraft = wanted(NAMED, theirs, organization_id="87654321", model_key="0-91-0", callsign="")
    assert bind([dock, aircraft]) == [[0, 0]]


WAYS = [released, freed_by_its_topology, freed_by_its_own_bind, proven_to_be_anothers]


@pytest.fixture
def lived_in(dock):
    """A device that a dock named and that has everything an owner leaves behind."""
    update(report(dock.sn, NAMED))
    named, now = Device.objects.get(sn=NAMED), timezone.now()
    assert (named.organization, named.claim) == (dock.organization, Device.Claim.NAMED)
    site = Site.objects.create(organization=dock.organization, name="Secret site")
    Device.objects.filter(pk=named.pk).update(callsign="Secret name", is_enabled=False, site=site)
    label = Label.objects.create(organization=dock.organization, name="Secret label")
    DeviceLabel.objects.create(device=named, label=label)
    Acknowledgement.objects.create(organization=dock.organization, kind="offline", device=named, until=now)
    DeviceAccount.objects.create(device=named, username="pilot@example.org")
    UnlockLicense.objects.create(device=named, device_model_domain=0, license_id=240330, type=0, note="secret")
    LicenseList.objects.create(device=named, device_model_domain=0, complete=True, fetched_at=now)
    DeviceState.objects.filter(device=named).update(properties={"home": "secret"}, latitude=53.5, longitude=9.9)
    named.call = make_call(named, status="queued")
    return named


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_an_owner_is_left_for_the_next_one(way, lived_in, dock, other_organization):
    _, theirs = BindingCode.objects.issue(organization=other_organization)
    way(theirs)
    device = Device.objects.get(sn=NAMED)
    assert device.organization in (None, other_organization)
    assert (device.callsign, device.is_enabled, device.site) == ("", True, None)
    for label in settings.FORGOTTEN_ON_RELEASE:
        assert not apps.get_model(label)._default_manager.filter(device=device).exists(), label
    assert "home" not in device.state.properties
    assert (device.state.latitude, device.state.longitude) == (None, None)
    lived_in.call.refresh_from_db()
    assert (lived_in.call.status, lived_in.call.organization) == ("canceled", dock.organization)
    lost = AuditEvent.objects.get(action__in=("release", "disown"), object_id=str(device.pk))
    assert (lost.organization, lost.before["callsign"]) == (dock.organization, "Secret name")
    assert not AuditEvent.objects.filter(organization=other_organization, action__in=("release", "disown")).exists()
    assert not Pairing.objects.filter(aircraft=device, dock=dock, until=None).exists() or way is proven_to_be_anothers


def test_a_new_row_leaves_out_only_what_may_be_empty():
    left_out = [field for field in Device._meta.concrete_fields if field.column not in ownership._NEW]
    assert [field.name for field in left_out] == ["site", "retired_at", "ignored_at"]
    assert all(field.null for field in left_out)


@pytest.mark.usefixtures("lived_in")
def test_a_gateway_without_a_right_code_stays_what_it_was_called_until_it_reports_a_topology():
    assert bind([wanted(NAMED, "WRON-GCOD-EXXX")]) == [[210231]]
    assert Device.objects.get(sn=NAMED).claim == Device.Claim.NAMED


@pytest.mark.usefixtures("lived_in")
def test_a_named_device_that_binds_itself_for_the_same_owner_is_a_gateway_and_uses_no_code_up(dock, code):
    row, plain = code
    Device.objects.filter(sn=NAMED).update(is_enabled=True)
    BindingCode.objects.filter(pk=row.pk).update(max_uses=1, uses=1)
    assert bind([wanted(NAMED, plain, callsign="")]) == [[0]]
    device = Device.objects.get(sn=NAMED)
    assert (device.organization, device.claim, device.gateway) == (dock.organization, Device.Claim.CODE, None)
    assert (device.model_key, device.callsign) == ("3-2-0", "Secret name")
    assert not Pairing.objects.filter(aircraft=device, until=None).exists()
    assert BindingCode.objects.get(pk=row.pk).uses == 1
    assert not AuditEvent.objects.filter(action="disown").exists()


@pytest.mark.usefixtures("lived_in")
def test_what_its_own_organization_disabled_stays_refused(code):
    assert bind([wanted(NAMED, code[1])]) == [[210231]]


# What Mallory's dock may put into its bind list instead of itself, with a right code of its own organization.
LISTS = {
    "another dock": [{"sn": "DOCK0001"}],
    "another dock, after itself": [{}, {"sn": "DOCK0001"}],
    "another dock, called an aircraft": [{}, {"sn": "DOCK0001", "device_model_key": "0-91-0"}],
    "another dock, without a model": [{}, {"sn": "DOCK0001", "device_model_key": ""}],
    "another dock, in lower case": [{}, {"sn": "dock0001"}],
    "another dock, in full-width letters": [{}, {"sn": "\uff24\uff2f\uff23\uff2b0001"}],
    "another dock, with a space": [{}, {"sn": "DOCK0001 "}],
    "another dock, with a zero-width space": [{}, {"sn": "DOCK0001\u200b"}],
    "another dock twice, around itself": [{"sn": "DOCK0001"}, {}, {"sn": "DOCK0001"}],
    "another dock's aircraft": [{}, {"sn": "DRONE0001", "device_model_key": "0-91-0"}],
    "another dock's aircraft, called a dock": [{}, {"sn": "DRONE0001"}],
    "no serial number": [{"sn": ""}],
    "a list as serial number": [{"sn": ["DOCK0001"]}],
    "a wildcard": [{}, {"sn": "+"}],
    "a path": [{}, {"sn": "DOCK0001/requests"}],
    "a number": [{"sn": 1}],
    "nothing": [],
    "text": "DOCK0001",
}


@pytest.mark.parametrize("listed", LISTS)
def test_no_list_of_another_docks_topic_binds_a_device(listed, dock, aircraft, other_organization):
    _, theirs = BindingCode.objects.issue(organization=other_organization)
    own = {
        "sn": "MALLORY",
        "device_model_key": "3-2-0",
        "device_callsign": "Stolen",
        "organization_id": "87654321",
        "device_binding_code": theirs,
    }
    entries = [own | entry for entry in LISTS[listed]] if isinstance(LISTS[listed], list) else LISTS[listed]
    before = list(Device.objects.filter(pk__in=[dock.pk, aircraft.pk]).order_by("pk").values())
    [result] = handle(delivery("MALLORY", "airport_organization_bind", {"bind_devices": entries}))
    told = json.loads(result.reply)["data"]["output"]["err_infos"]
    assert {answer["sn"] for answer in told if answer["err_code"] == 0} <= {"MALLORY"}
    assert list(Device.objects.filter(pk__in=[dock.pk, aircraft.pk]).order_by("pk").values()) == before
    bound = Device.objects.filter(organization=other_organization).values_list("sn", flat=True)
    assert set(bound) <= {"MALLORY"}
