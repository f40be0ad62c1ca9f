"""What a WebSocket shows: whose it is, which groups it receives, and the snapshot it starts with."""

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q
from django.http import HttpRequest

from devices.live.broadcast import device_group, frame_text, hints_group, organization_group, rights_group
from devices.models import OPEN_STATUSES, Device, ServiceCall, ServiceCallQuerySet
from devices.presence import watch
from devices.serializers import DeviceAccountSerializer, DeviceSerializer, ServiceCallSerializer
from organizations import api_keys
from organizations.models import Organization
from organizations.tenancy import Principal, TenantKey, restrict

LATEST = 20  # calls in a snapshot, beside those that are open
MOST = 500  # calls in a snapshot


class Subscription(NamedTuple):
    """What one socket shows, as this user may see it now."""

    whose: str  # the group of this user or key
    groups: frozenset[str]
    calls: ServiceCallQuerySet
    device: Device | None = None

    def concerns(self, sn: str) -> bool:
        """Whether a hint about the device with this serial number belongs here."""
        return self.device is None or self.device.sn == sn

    def snapshot(self) -> str:
        """The first frame: the device and its account, the open calls and the latest. Two queries at most."""
        latest = self.calls.order_by("-created").values("pk")[:LATEST]
        shown = self.calls.filter(Q(status__in=OPEN_STATUSES) | Q(pk__in=latest)).order_by("-created")
        # One more than a snapshot holds shows that there are more.
        calls = list(shown.select_related(*ServiceCallSerializer.related)[: MOST + 1])
        account = getattr(self.device, "account", None)
        return frame_text(
            "snapshot",
            {
                "device": self.device and DeviceSerializer(self.device, context={"watch": watch()}).data,
                "account": account and DeviceAccountSerializer(account).data,
                "service_calls": ServiceCallSerializer(calls[:MOST], many=True).data,
                "is_complete": len(calls) <= MOST,
            },
        )


Subscribe = Callable[[Principal], Subscription | None]  # what this user may see, None if nothing
Identify = Callable[[], Principal]  # whose socket it is now


def to_device(user: Principal, sn: str) -> Subscription | None:
    """A device and the calls that its present owner made; None if this user may not see it. One query."""
    rows = Device.objects.filter(sn=sn).select_related(*DeviceSerializer.related, "account")
    device = restrict(rows, user, one=True).first()
    if device is None:
        return None
    owner = device.organization_id
    calls, own = ServiceCall.objects.filter(device=device, organization=owner), _own_group(user)
    return Subscription(own, frozenset({device_group(device.pk, owner), hints_group(owner), own}), calls, device)


def to_organization(user: Principal, organization_id: str) -> Subscription | None:
    """An organization's calls; None if this user may not see it. One query."""
    found = restrict(Organization.objects.filter(organization_id=organization_id), user, one=True).first()
    if found is None:
        return None
    calls, own = ServiceCall.objects.filter(organization=found), _own_group(user)
    return Subscription(own, frozenset({organization_group(found.pk), hints_group(found.pk), own}), calls)


def _own_group(principal: Principal) -> str:
    return rights_group("key" if isinstance(principal, TenantKey) else "user", principal.pk)


def user_of(session_key: str | None) -> Principal:
    """Who is signed in with this session now, perhaps nobody any more. Two queries."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user: Principal = get_user(request)
    return user


class KeyHolder:
    """A program that shows an API key: recognised once, then found by the key's row, so that the key is not kept.

    Called, it returns whose socket it is now, perhaps nobody (any more). Two queries at most. Raises TooManyTriesError
    if too many wrong keys were shown from its address.
    """

    def __init__(self, plain: str, address: str = "") -> None:
        self._plain = plain
        self._address = address
        self.client = f"key {plain[:8]}"  # until it is recognised
        self._row: int | None = None

    def __call__(self) -> Principal:
        plain, self._plain = self._plain, ""
        key = api_keys.recognise(plain, address=self._address) if self._row is None else api_keys.recall(self._row)
        if key is None:
            return AnonymousUser()
        self._row = key.pk
        api_keys.note_use(key)
        return key
