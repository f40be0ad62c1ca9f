"""The cast of the tests, as pytest fixtures: Alice manages, Bob views, Charlie belongs elsewhere."""

import pytest
from django.contrib.auth import get_user_model
from django.test import override_settings
from django.utils import timezone

from devices.models import Device, DeviceState, Pairing
from organizations.models import BindingCode, Membership, Organization, Role

# A good hash takes a quarter of a second, on purpose; the cast signs up in every test.
QUICK_PASSWORDS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def member(name, organization, role):
    """A user of the admin with one membership."""
    user = get_user_model().objects.create_user(name, f"{name}@example.org", "right password", is_staff=True)
    Membership.objects.create(user=user, organization=organization, role=role)
    return user


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords():
    with override_settings(PASSWORD_HASHERS=QUICK_PASSWORDS):
        yield


@pytest.fixture
def organization(db):
    return Organization.objects.create(organization_id="12345678", name="Harbour Survey")


@pytest.fixture
def other_organization(db):
    return Organization.objects.create(organization_id="87654321", name="Northern Grid")


@pytest.fixture
def alice(organization):
    return member("alice", organization, Role.MANAGER)


@pytest.fixture
def bob(organization):
    return member("bob", organization, Role.VIEWER)


@pytest.fixture
def charlie(other_organization):
    return member("charlie", other_organization, Role.MANAGER)


@pytest.fixture
def staff(db):
    """Platform staff, who may everything."""
    return get_user_model().objects.create_superuser("root", "root@example.org", "right password")


@pytest.fixture
def code(organization):
    """A binding code of Alice's organization that anybody may use: (row, plain code)."""
    return BindingCode.objects.issue(organization=organization, label="harbour")


@pytest.fixture
def dock(organization):
    device = Device.objects.create(
        sn="DOCK0001", model_key="3-2-0", organization=organization, callsign="Pier 7", bound_at=timezone.now()
    )
    DeviceState.objects.create(device=device, online=True, last_seen=timezone.now(), latitude=53.5, longitude=9.9)
    return device


@pytest.fixture
def aircraft(dock):
    """Paired with the dock and linked with it."""
    return put_in(dock, "DRONE0001", callsign="Gull")


def put_in(dock, sn, **fields):
    """An aircraft that belongs to a dock and its owner."""
    fields = {"model_key": "0-91-0", "organization": dock.organization} | fields
    aircraft = Device.objects.create(sn=sn, gateway=dock, **fields)
    now = timezone.now()
    Pairing.objects.create(
        dock=dock, aircraft=aircraft, since=now, linked_since=now, changed_at=now, witness=Pairing.Witness.TOPOLOGY
    )
    return aircraft
