"""Sends browsers what changed: steps call this in their transaction, and its commit sends the frames.

The group of a frame decides who may see it (`docs/live.md`). A frame about a call goes to the sockets of the
organization whose call it is, and to those of the device as that organization's: never to a later owner.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, Protocol

import msgspec
from django.db import transaction
from django.db.models import prefetch_related_objects
from django.utils.functional import Promise
from django.utils.translation import override
from rest_framework.serializers import SerializerMethodField

from devices.live import frame_sender
from devices.live.frame_sender import Frame
from devices.models import Device, ServiceCall
from devices.serializers import ServiceCallSerializer

Read = Callable[[ServiceCall], object]


def tell_calls(calls: Iterable[ServiceCall]) -> None:
    """Send these calls, as they are now, when the transaction commits; at most a query per kind of related row."""
    changed = list(calls)
    prefetch_related_objects(changed, *ServiceCallSerializer.related)
    tell([frame for call in changed for frame in call_frames(call)])


def call_frames(call: ServiceCall) -> list[Frame]:
    """What to send of a call as it is now; no query if its related rows are there."""
    with override("en"):  # one text for everybody who may see the call
        text = frame_text("service_call", {name: read(call) for name, read in _reads().items()})
    owner = call.organization_id
    return [Frame(device_group(call.device_id, owner), text), Frame(organization_group(owner), text)]


@cache
def _reads() -> Mapping[str, Read]:
    """How the fields that REST shows of a call are read, with a tenth of what REST framework does for each value."""

    def read(field: Any) -> Read:
        if isinstance(field, SerializerMethodField):
            method: Read = getattr(field.parent, field.method_name or "")
            return method
        related, _, name = field.source.rpartition(".")
        return attrgetter(name) if not related else lambda call: getattr(getattr(call, related), name, None)

    return {name: read(field) for name, field in ServiceCallSerializer().fields.items()}


def tell_account(device: Device) -> None:
    """Say that a dock's DJI account changed, when the transaction commits; no query."""
    tell([_hint("account", device)])


def tell_licenses(devices: Iterable[Device]) -> None:
    """Say that what is known of these docks' licenses changed, when the transaction commits; no query."""
    tell(dict.fromkeys(_hint("licenses", device) for device in devices))


class Subject(Protocol):
    """A device, or a plain row of one."""

    @property
    def sn(self) -> str: ...
    @property
    def organization_id(self) -> int | None: ...


def tell_device(devices: Iterable[Subject]) -> None:
    """Say that these devices changed, when the transaction commits; no query.

    The frame goes to the sockets of the organization that owns the device at this moment: a step that changes the
    owner calls this before and after. Every socket that receives it checks its rights again.
    """
    tell(_hint("device", device) for device in devices)


def tell_rights(kind: str, pk: object) -> None:
    """Let the sockets of a "user" or an API "key" check their rights, when the transaction commits; no query."""
    tell([Frame(rights_group(kind, pk), "")])


def frame_text(kind: str, content: object) -> str:
    """A frame as it goes to the browser: JSON with its `type` beside the content."""
    return msgspec.json.encode({"type": kind, **dict(content)}, enc_hook=_text).decode()  # type: ignore[call-overload]


def _text(value: object) -> str:
    if isinstance(value, Promise):  # to be translated
        return str(value)
    raise NotImplementedError


def _hint(kind: str, device: Subject) -> Frame:
    return Frame(hints_group(device.organization_id), frame_text(kind, {"sn": device.sn}), about=device.sn)


def tell(frames: Iterable[Frame]) -> None:
    """Send these frames when the transaction commits."""
    finished = list(frames)
    if not finished:
        return

    def hand_over() -> None:  # no partial: Django's report of a robust callback that fails asks for its name
        frame_sender.send(finished)

    transaction.on_commit(hand_over, robust=True)


# --- groups ----------------------------------------------------------------------------------------


def organization_group(organization: int) -> str:
    """Calls of an organization, by its primary key."""
    return f"organization.{organization}"


def device_group(device: int, organization: int | None) -> str:
    """Calls of a device while this organization owns it (None: nobody), by their primary keys."""
    return f"device.{device}.{organization or 0}"


def hints_group(organization: int | None) -> str:
    """Which devices of an organization (None: of nobody) changed, so that rights and data are to be read again."""
    return f"hints.{organization or 0}"


def rights_group(kind: str, pk: object) -> str:
    """The sockets of one "user" or API "key", by its primary key."""
    return f"rights.{kind}.{pk}"
