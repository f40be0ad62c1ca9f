"""A dock's two inventories side by side: what is approved for it, and what its aircraft has."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from django.utils import timezone
from django.utils.translation import gettext_lazy

from devices.models import Device
from licenses.models import Inventory, LicenseList, UnlockLicense
from licenses.validity import is_stale
from mqtt_bridge.database.natural_sort import natural

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

LISTS = 200  # answers searched for the last one that held a list


class Side(NamedTuple):
    """One inventory of a dock: `latest` is its last answer, `applied` the last that held a list."""

    inventory: Inventory
    applied: LicenseList | None
    latest: LicenseList | None
    is_stale: bool

    @property
    def is_known(self) -> bool:
        return self.applied is not None

    @property
    def is_incomplete(self) -> bool:
        """Whether the last answer held no list, or not all of it."""
        return self.latest is not None and not self.latest.complete


class Pair(NamedTuple):
    """One license in both inventories, and in what they differ, in words."""

    license_id: int
    aircraft: UnlockLicense | None
    dock: UnlockLicense | None
    differences: "tuple[StrOrPromise, ...]"

    @property
    def is_switched_apart(self) -> bool:
        """Whether it is on in one and off in the other: it is still the same license, so that is no difference."""
        return self.aircraft is not None and self.dock is not None and self.aircraft.enabled != self.dock.enabled

    @property
    def any(self) -> UnlockLicense:
        """The row of the aircraft, else of the dock."""
        row = self.aircraft or self.dock
        assert row is not None  # noqa: S101  (a pair has at least one)
        return row


class Comparison(NamedTuple):
    """Both inventories of a dock side by side, and DJI's own word on whether they are the same."""

    pairs: list[Pair]
    aircraft: Side
    dock: Side
    consistence: bool | None  # by the newer of the two lists
    disagrees: bool  # DJI's word and what the lists hold

    @property
    def is_comparable(self) -> bool:
        return self.aircraft.is_known and self.dock.is_known


MISSING = gettext_lazy("not imported in the aircraft")
EXTRA = gettext_lazy("not approved for the dock")
WINDOW = gettext_lazy("another window")


def compare(device: Device, *, now: datetime | None = None) -> Comparison:
    """What is approved for a dock against what its aircraft has; two queries."""
    now = now or timezone.now()
    rows: dict[int, dict[int, UnlockLicense]] = {domain: {} for domain in Inventory.values}
    for row in UnlockLicense.objects.filter(device=device).order_by(natural("name"), "license_id"):
        rows[row.device_model_domain][row.license_id] = row
    aircraft, dock = sides(device, now=now)
    both = aircraft.is_known and dock.is_known
    imported, approved = rows[Inventory.AIRCRAFT], rows[Inventory.DOCK]
    pairs = [
        pair(key, imported.get(key), approved.get(key), both=both) for key in dict.fromkeys([*approved, *imported])
    ]
    words = [side.applied for side in (aircraft, dock) if side.applied and side.applied.consistence is not None]
    consistence = max(words, key=lambda one: one.asked_at).consistence if words else None
    found = not any(pair.differences for pair in pairs)
    return Comparison(pairs, aircraft, dock, consistence, both and consistence is not None and consistence != found)


def sides(device: Device, *, now: datetime) -> tuple[Side, Side]:
    """What was last read of the aircraft's inventory and of the dock's; one query."""
    lists = list(LicenseList.objects.filter(device=device).order_by("-asked_at", "-pk")[:LISTS])
    return _side(Inventory.AIRCRAFT, lists, now), _side(Inventory.DOCK, lists, now)


def _side(domain: Inventory, lists: Iterable[LicenseList], now: datetime) -> Side:
    own = [one for one in lists if one.device_model_domain == domain]
    applied = next((one for one in own if one.applied), None)
    return Side(domain, applied, own[0] if own else None, applied is None or is_stale(applied.fetched_at, now))


def pair(key: int, aircraft: UnlockLicense | None, dock: UnlockLicense | None, *, both: bool) -> Pair:
    """The license side by side. That an inventory lacks it is a difference only if `both` were read."""
    differences: list[StrOrPromise] = []
    if both and aircraft is None:
        differences.append(MISSING)
    elif both and dock is None:
        differences.append(EXTRA)
    elif aircraft and dock and (aircraft.begin_time, aircraft.end_time) != (dock.begin_time, dock.end_time):
        differences.append(WINDOW)
    return Pair(key, aircraft, dock, tuple(differences))
