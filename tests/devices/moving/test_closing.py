"""An organization that leaves."""

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from devices import binding
from devices.broker import accounts
from devices.models import BrokerAccount, Device, ServiceCall, ServiceCallBatch
from devices.moving import closing, transfer
from mqtt_bridge.protocol.messages import BindDevice
from organizations import api_keys, invitations
from organizations.audit import Actor
from organizations.models import AuditEvent, BindingCode, Invitation, Membership, Organization, Role


@pytest.fixture
def actor(staff):
    return Actor(AuditEvent.Through.ADMIN, staff)


@pytest.fixture
def leaving(organization, alice, bob, dock, aircraft, code, actor):
    """Alice's organization, with one or two of everything."""
    accounts.issue(actor=actor, device=dock)
    accounts.issue(actor=actor, organization=organization)
    ServiceCall.objects.create(device=dock, organization=organization, method="unlock_license_list")
    ServiceCallBatch.objects.create(organization=organization, method="unlock_license_list", due_at=timezone.now())
    AuditEvent.objects.all().delete()
    return organization


def test_a_close_ends_everything_under_one_request_id(leaving, actor, alice, dock):
    _, plain_key = api_keys.issue(actor=actor, organization=leaving, name="erp", role=Role.OPERATOR)
    _, link = invitations.issue(actor=actor, organization=leaving, username="carol", role=Role.VIEWER)
    AuditEvent.objects.all().delete()
    assert closing.close(leaving, actor=actor)
    leaving.refresh_from_db()
    assert leaving.closed_at is not None
    assert not leaving.is_active
    assert not Device.objects.filter(organization=leaving).exists()
    assert not Membership.objects.filter(organization=leaving).exists()
    assert not BindingCode.objects.filter(revoked_at=None).exists()
    assert not BrokerAccount.objects.filter(revoked_at=None).exists()
    assert not ServiceCallBatch.objects.filter(stopped=None).exists()
    assert ServiceCall.objects.get().status == "canceled"
    assert api_keys.recognise(plain_key) is None
    assert invitations.find(link) is None
    assert set(AuditEvent.objects.values_list("request_id", flat=True)) == {actor.request_id}
    assert AuditEvent.objects.get(action="close").after == {
        "devices": 2, "docks": 1, "aircraft": 1, "open_calls": 1, "planned_batches": 1, "binding_codes": 1,
        "invitations": 1, "accounts": 2, "api_keys": 1, "members": 2,
    }  # fmt: skip
    assert get_user_model().objects.filter(username="alice", is_active=True).exists()


def test_a_second_close_does_nothing(leaving, actor):
    closing.close(leaving, actor=actor)
    rows, closed_at = AuditEvent.objects.count(), Organization.objects.get(pk=leaving.pk).closed_at
    assert not closing.close(leaving, actor=actor)
    assert AuditEvent.objects.count() == rows
    assert Organization.objects.get(pk=leaving.pk).closed_at == closed_at


def test_a_close_touches_no_other_organization(leaving, other_organization, charlie, actor):
    Device.objects.create(sn="THEIRS", organization=other_organization, bound_at=timezone.now())
    BindingCode.objects.issue(organization=other_organization)
    Invitation.objects.create(
        organization=other_organization, username="dora", digest="d", expires_at=timezone.now(), role=Role.VIEWER
    )
    closing.close(leaving, actor=actor)
    assert Device.objects.get(sn="THEIRS").organization == other_organization
    assert BindingCode.objects.get(organization=other_organization).revoked_at is None
    assert Invitation.objects.get(username="dora").revoked_at is None
    assert Membership.objects.get().user == charlie


def test_a_closed_organization_binds_nothing(leaving, code, actor):
    closing.close(leaving, actor=actor)
    wanted = BindDevice(sn="NEW1", device_binding_code=code[1], organization_id=leaving.organization_id)
    [[result]] = binding.bind([binding.Request("NEW1", [wanted])], now=timezone.now())
    assert result.err_code != 0


def test_a_reopened_organization_is_active_and_empty(leaving, actor):
    closing.close(leaving, actor=actor)
    assert closing.reopen(leaving, actor=actor)
    assert not closing.reopen(leaving, actor=actor)
    leaving.refresh_from_db()
    assert (leaving.is_active, leaving.closed_at) == (True, None)
    assert set(closing.belongings(leaving).counts().values()) == {0}
    assert AuditEvent.objects.filter(action="reopen").count() == 1


def test_a_close_is_all_or_nothing(leaving, actor, monkeypatch):
    def fail(*_args, **_more):
        raise RuntimeError

    monkeypatch.setattr(binding, "release", fail)
    with pytest.raises(RuntimeError):
        closing.close(leaving, actor=actor)
    leaving.refresh_from_db()
    assert leaving.closed_at is None
    assert BindingCode.objects.get().revoked_at is None


def test_its_devices_may_go_to_another_organization_with_their_accounts(leaving, other_organization, actor):
    assert closing.close(leaving, actor=actor, to=other_organization)
    assert set(Device.objects.values_list("organization", flat=True)) == {other_organization.pk}
    usable = BrokerAccount.objects.get(revoked_at=None)
    assert (usable.username, usable.organization) == ("DOCK0001", other_organization)
    assert AuditEvent.objects.get(action="close").after["devices_to"] == "Northern Grid (87654321)"
    assert set(AuditEvent.objects.values_list("request_id", flat=True)) == {actor.request_id}


def test_or_without_them(leaving, other_organization, actor):
    closing.close(leaving, actor=actor, to=other_organization, keep_accounts=False)
    assert not BrokerAccount.objects.filter(revoked_at=None).exists()


def test_nothing_is_closed_if_its_devices_find_no_room(leaving, other_organization, code, actor):
    Organization.objects.filter(pk=other_organization.pk).update(device_limit=1)
    with pytest.raises(transfer.Refused):
        closing.close(leaving, actor=actor, to=other_organization)
    leaving.refresh_from_db()
    assert leaving.closed_at is None
    assert BindingCode.objects.get().revoked_at is None
    assert not AuditEvent.objects.exists()
