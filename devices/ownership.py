"""Who owns a device: the one door through which that changes.

A device gets an owner by a code that it brings itself, or by a person. A dock may name aircraft, which join its owner
if nobody owns them: a claim without proof, which yields to proof of the contrary (docs/decisions/0007).
"""

from collections.abc import Iterable
from datetime import datetime

from django.apps import apps
from django.conf import settings

from devices.broker import accounts
from devices.calls import ending
from devices.live import broadcast
from devices.models import UNKNOWN_STATE, Claim, Device, DeviceState
from mqtt_bridge.database import bulk
from mqtt_bridge.database.prepared import AnyOf, Prepared
from organizations import audit
from organizations.audit import Actor
from organizations.models import BindingCode, Organization

_FIELDS = (
    "organization", "claim", "bound_at", "bound_with", "callsign", "model_key", "gateway", "is_enabled", "enrolled_at",
)  # fmt: skip

_ASIDE = ("retired_at", "ignored_at")  # of a device that is in use again

# Columns of a new row. The others are empty until a person fills them, so that a bind writes no more than it must.
_NEW = (
    "id", "sn", "model_key", "callsign", "is_enabled", "claim", "bound_at", "enrolled_at", "created", "updated",
    "organization_id", "gateway_id", "bound_with_id",
)  # fmt: skip

_OWNERS = Prepared(
    Organization,  # without the DJI license, which takes long to decrypt
    lambda: Organization.objects.filter(AnyOf("pk", "keys")).defer("app_key", "app_license"),
)


def read_owners(devices: Iterable[Device]) -> None:
    """Read `organization` of these devices; at most one query."""
    owned = [device for device in devices if device.organization_id is not None]
    found = _OWNERS(keys={device.organization_id for device in owned}) if owned else []
    owners: dict[int | None, Organization] = {owner.pk: owner for owner in found}
    for device in owned:
        device.organization = owners[device.organization_id]


class Changes:
    """Changes of owners in one transaction, of devices that are locked."""

    def __init__(self, actor: Actor, *, now: datetime, keep_accounts: bool = False) -> None:
        """With `keep_accounts`, docks keep the broker accounts that they had with the owner who loses them."""
        self.actor = actor
        self.now = now
        self.keep_accounts = keep_accounts
        self.returned = False  # whether any of `given` was retired or ignored
        self.taken: dict[str, Device] = {}  # by SN: those that lost an owner
        self.given: list[tuple[Device, str, dict[str, str]]] = []  # with the action and what else to record of it
        self._is_transfer = False
        self._proven: dict[str, Device] = {}  # those taken from an owner who could see or make their broker accounts
        self._events: list[audit.Event] = []

    def take(self, device: Device, action: str) -> None:
        """Take a device from its owner; nothing that the owner knew or wrote about it is left for the next one.

        A device that was only named is enabled again: the organization whose dock named it may have disabled it.
        """
        owner, before = device.organization_id, {"callsign": device.callsign}  # the owner's name: in `write`
        event = audit.event(self.actor, action, device, organization_id=owner, before=before, at=self.now)
        self._events.append(event)
        self._is_transfer |= action == "transfer"
        broadcast.tell_device([device])  # to the sockets of the owner that loses it
        if device.is_unproven:
            device.is_enabled = True
        else:
            self._proven[device.sn] = device
        device.organization = device.bound_at = device.bound_with = device.gateway = device.site = None
        device.claim, device.callsign, device.enrolled_at = Claim.NONE, "", None
        self.taken[device.sn] = device

    def give(
        self,
        device: Device,
        owner: Organization,
        claim: Claim,
        action: str,
        *,
        code: BindingCode | None = None,
        **after: str,
    ) -> None:
        """Give a device to an owner, after taking it from another one; `after` goes to the audit trail, too."""
        if device.organization_id is not None:
            self.take(device, "disown")
        if device.pk is not None:
            broadcast.tell_device([device])  # to the sockets that show it as unclaimed
        device.organization, device.claim, device.bound_at, device.bound_with = owner, claim, self.now, code
        if device.retired_at or device.ignored_at:
            device.retired_at = device.ignored_at = None
            self.returned = True
        self.given.append((device, action, after))

    def write(self, devices: Iterable[Device]) -> None:
        """Save these devices, forget what a next owner must not see, abandon open calls, write the audit trail.

        `devices` are all that changed; new ones have their primary keys (`bulk.ask_keys`). The
        journal and the audit trail stay with the organization that owned the device.
        """
        changed = list(devices)
        known = [device for device in changed if not device._state.adding]
        fields = [*_FIELDS, *(("site",) if self.taken else ()), *(_ASIDE if self.returned else ())]
        Device.objects.write_fields(known, fields)
        bulk.insert(Device, bulk.values_of((device for device in changed if device._state.adding), _NEW))
        if keys := sorted(device.pk for device in self.taken.values()):
            # Telemetry that is being written right now is older than `cleared_at` and is dropped for it.
            cleared = [{**UNKNOWN_STATE, "device_id": key, "cleared_at": self.now} for key in keys]
            bulk.upsert(DeviceState, cleared, unique=["device_id"], changes=[*UNKNOWN_STATE, "cleared_at"])
            ending.abandon(keys, is_transfer=self._is_transfer)
            proven = [device.pk for device in self._proven.values()]
            if self.keep_accounts:
                accounts.forget_issuers(proven)
            else:  # The next owner's dock must not be open to those who know the secret of the last one's.
                accounts.end_of(proven, actor=self.actor)
            for label in settings.FORGOTTEN_ON_RELEASE:
                apps.get_model(label)._default_manager.filter(device__in=keys).delete()
            names = {owner.pk: str(owner) for owner in _OWNERS(keys={event.organization_id for event in self._events})}
            for event in self._events:
                event.before["organization"] = names[event.organization_id or 0]
        given = {device.pk for device, _, _ in self.given}
        if followed := [device.pk for device in known if device.pk in given and not device.is_unproven]:
            accounts.follow_owners(followed)
        for device, action, more in self.given:
            after = {"organization": str(device.organization), "callsign": device.callsign}
            if device.bound_with:
                after["code"] = str(device.bound_with)
            after |= more
            owner = device.organization_id
            self._events.append(
                audit.event(self.actor, action, device, organization_id=owner, after=after, at=self.now)
            )
        if self._events:
            audit.record(self._events)
