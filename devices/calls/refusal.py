"""Why a dock is not asked for a service: the decision about each dock, and the error that says so.

What is wrong with a request itself, whatever the dock, `devices/calls/asking.py` refuses (`check`, `read`).
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from devices import presence
from devices.calls.method import Method
from devices.models import Device, ServiceCall
from devices.presence import Presence, Watch
from mqtt_bridge.database.prepared import AnyOf, Prepared

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

NO_WORKER: Final = _("No worker sends commands here: REDIS_URL is not set. See docs/configuration.md.")
MOVED: Final = _("This dock now belongs to another organization, or to none.")
DISABLED: Final = _("This dock is disabled.")


class Open(NamedTuple):
    """An open call, and what it is about."""

    device_id: int
    subject: str
    method: str


OPEN = Prepared(
    Open,
    lambda: (
        ServiceCall.objects.open()
        .filter(AnyOf("device_id", "devices"), AnyOf("subject", "subjects"))
        .order_by()
        .values_list("device_id", "subject", "method")
    ),
)
# Without the reported properties, and without what would be decrypted.
ASKED = Prepared(
    Device,
    lambda: (
        Device.objects.filter(AnyOf("pk", "devices"))
        .select_related("organization", "state")
        .defer("state__properties", "organization__app_key", "organization__app_license")
        .lock_in_order()
    ),
)


class Refused(Exception):  # noqa: N818  (a verdict, which pages and REST show to the caller)
    """A call is not made, and the text says to a person why, in the language in which it is read."""

    class Kind(Enum):
        """What programs tell refusals apart by."""

        INVALID = "invalid"
        UNCLAIMED = "unclaimed"
        DISABLED = "disabled"
        OFFLINE = "offline"
        BUSY = "busy"
        CLOSED = "closed"
        UNAVAILABLE = "unavailable"

    def __init__(self, kind: Kind, text: "StrOrPromise") -> None:
        super().__init__(text)
        self.kind = kind

    @property
    def problem(self) -> tuple[int, str]:
        """Status and type in REST: 400 for what can never be granted, 409 for what the present state forbids."""
        status = {Refused.Kind.INVALID: 400, Refused.Kind.UNAVAILABLE: 503}.get(self.kind, 409)
        return status, self.kind.value


def why_not(
    device: Device,
    service: Method,
    *,
    watch: Watch,
    queue: bool = False,
    subject: str = "",
    busy: Collection[tuple[int, str]] = (),
) -> Refused | None:
    """Why this dock cannot be asked for a service now; None if it can. No query.

    The device comes with its organization and state. `busy` holds (device key, subject) of the open calls that stand
    in the way (`open_subjects`); without a `subject` it does not count.
    """
    kind = Refused.Kind
    if not settings.COMMANDS_AVAILABLE:
        return Refused(kind.UNAVAILABLE, NO_WORKER)
    if device.is_aircraft:
        return Refused(kind.INVALID, _("An aircraft takes no commands itself: ask its dock."))
    if device.organization is None:
        return Refused(kind.UNCLAIMED, _("This dock belongs to no organization."))
    if not device.is_enabled:
        return Refused(kind.DISABLED, DISABLED)
    found = watch.presence(getattr(device, "state", None))
    if service.secrets and found != Presence.ONLINE:
        return Refused(kind.OFFLINE, _("A password is sent only to a dock that is online."))
    if found in (Presence.OFFLINE, Presence.NEVER) and not queue:
        return Refused(kind.OFFLINE, _("This dock is offline."))
    if (device.pk, subject) in busy:
        return Refused(kind.BUSY, _("This dock is busy: a command of this kind is open."))
    return None


def open_subjects(service: Method, devices: Collection[int], subjects: Collection[str]) -> set[tuple[int, str]]:
    """Which of these docks (keys) are busy with which of these subjects, so that they cannot be asked; one query."""
    calls = OPEN(devices=devices, subjects=subjects)
    return {(call.device_id, call.subject) for call in calls if call.method not in service.supersedes}


def judge(
    wanted: Sequence[tuple[Device, dict[str, object]]], service: Method, *, queue: bool, now: datetime
) -> list[tuple[Device, dict[str, object], Refused | None]]:
    """The docks, locked, each with the reason why it cannot be asked, or None.

    The caller was allowed to ask for the owner that the given device names: a dock with another owner now is refused.
    """
    devices = {row.pk: row for row in ASKED(devices={device.pk for device, _ in wanted})}
    places = {key: place for place, key in enumerate(devices)}
    busy = open_subjects(service, devices.keys(), {service.subject(data) for _, data in wanted})
    watched = presence.watch(now)
    judged: list[tuple[Device, dict[str, object], Refused | None]] = []
    for given, data in sorted((wish for wish in wanted if wish[0].pk in devices), key=lambda wish: places[wish[0].pk]):
        device, subject = devices[given.pk], service.subject(data)
        if device.organization_id != given.organization_id:
            judged.append((given, data, Refused(Refused.Kind.UNCLAIMED, MOVED)))
            continue
        judged.append((device, data, why_not(device, service, watch=watched, queue=queue, subject=subject, busy=busy)))
        busy.add((device.pk, subject))
    return judged
