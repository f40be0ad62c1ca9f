"""The start page of the admin: the problems of cloudapi/attention, and the docks in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db.models import Count, Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from cloudapi.attention import DOCKS_FILTER, Item, Known, Level, Visit, docks, is_acknowledged, look
from devices.models import Acknowledgement, Device
from devices.presence import Presence, Watch
from mqtt_bridge.database.natural_sort import natural
from mqtt_bridge.models import Heartbeat
from organizations import rights
from organizations.models import Organization, Role
from organizations.tenancy import Principal, is_platform_staff

TABLE_ROWS: Final = 10
SEVERAL: Final = 2  # docks offline in one organization point to a site or a network, not to a dock
# CSS class and words of each tile; the last two are left out if they would say 0.
TILES: Final = {
    Presence.OFFLINE: ("bad", _("docks offline")),
    Presence.ONLINE: ("good", _("docks online")),
    Presence.UNKNOWN: ("unknown", _("docks not seen yet")),
    Presence.NEVER: ("", _("never connected")),
}


@dataclass(frozen=True)
class Tile:
    """A count of docks, and the filter of the device list that shows them."""

    kind: str
    count: int
    text: Promise
    query: str


class BridgeStatus(NamedTuple):
    """Whether the bridge's last ping is too old; if so, the state of no device is known."""

    is_stale: bool
    beat_at: datetime | None


class AtSite(NamedTuple):
    """The docks of one site, in numbers."""

    pk: int
    name: str
    organization: str
    docks: int
    offline: int


class Overview(NamedTuple):
    """The start page: problems with the most urgent first, notices, tiles and tables."""

    now: datetime
    is_stale: bool
    tiles: list[Tile]
    problems: list[Item]
    notices: list[Item]
    known: list[Known]  # problems that somebody acknowledged
    offline: Sequence[Device]
    organizations: Sequence[Organization]  # with their numbers of `docks` and of those `offline`
    sites: Sequence[AtSite] = ()  # those with docks offline first
    beginner: str = ""  # "staff", "manager", "member" or "nobody", if the user sees no device of any organization


def bridge_status() -> BridgeStatus:
    """How the bridge is. One query."""
    heartbeat = Heartbeat.objects.current()
    return BridgeStatus(heartbeat is None or heartbeat.is_stale(), heartbeat.beat_at if heartbeat else None)


def visit_of(user: Principal, bridge: BridgeStatus) -> Visit:
    """The visit of this user, now."""
    now = timezone.now()
    return Visit(user, is_platform_staff(user), now, Watch(now, bridge_alive=not bridge.is_stale))


def overview(user: Principal, *, bridge: BridgeStatus) -> Overview:
    """What this user should know now; a constant number of queries, whatever the number of devices."""
    visit = visit_of(user, bridge)
    found = look(visit)
    items = sorted(found.items, key=lambda item: -item.level)
    offline = docks(visit).filter(visit.watch.matching(Presence.OFFLINE), ~is_acknowledged("offline", visit))
    organizations = []
    if visit.is_staff and not bridge.is_stale:
        known = Acknowledgement.objects.filter(kind="offline", device__isnull=False, until__gt=visit.now)
        is_offline = Q(
            ~Q(devices__in=known.values("device")),
            devices__state__online=False,
            devices__state__last_seen__isnull=False,
        )
        with_docks = Organization.objects.filter(devices__in=Device.objects.docks(), devices__is_enabled=True)
        counted = with_docks.annotate(docks=Count("devices"), offline=Count("devices", filter=is_offline))
        organizations = list(counted.filter(offline__gte=SEVERAL).order_by("-offline", natural("name"))[:TABLE_ROWS])
    by_presence = {presence.value: Count("pk", filter=visit.watch.matching(presence)) for presence in TILES}
    by_site = docks(visit).order_by().values("site", "site__name", "site__organization__name")
    counts: list[Mapping[str, Any]] = list(by_site.annotate(total=Count("pk"), **by_presence))
    at_sites = [
        AtSite(row["site"], row["site__name"], row["site__organization__name"], row["total"], row[Presence.OFFLINE])
        for row in counts
        if row["site"]
    ]
    tiles = _tiles(visit, counts)
    beginner = ""
    if not tiles[-1].count and not Device.objects.exclude(organization=None).visible_to(user).exists():
        held = rights.of(user)
        beginner = "staff" if visit.is_staff else "member" if held.roles else "nobody"
        if beginner == "member" and held.may(Role.MANAGER, anywhere=True):
            beginner = "manager"
    return Overview(
        visit.now,
        bridge.is_stale,
        tiles,
        problems=[item for item in items if item.level > Level.NOTICE],
        notices=[item for item in items if item.level == Level.NOTICE],
        known=found.known,
        offline=list(offline.select_related("organization", "state").order_by("-state__last_seen")[:TABLE_ROWS]),
        organizations=organizations,
        sites=sorted(at_sites, key=lambda site: (-site.offline, site.name, site.pk))[:TABLE_ROWS],
        beginner=beginner,
    )


def _tiles(visit: Visit, by_site: Sequence[Mapping[str, Any]]) -> list[Tile]:
    counts = {name: sum(row[name] for row in by_site) for name in ("total", *TILES)}
    if not visit.watch.bridge_alive:
        return [Tile("unknown", counts["total"], _("docks, states unknown"), DOCKS_FILTER)]
    tiles = [
        Tile(
            "" if presence == Presence.OFFLINE and not count else kind,
            count,
            text,
            f"{DOCKS_FILTER}&presence={presence}",
        )
        for presence, (kind, text) in TILES.items()
        if (count := counts[presence]) or presence in (Presence.OFFLINE, Presence.ONLINE)
    ]
    return [*tiles, Tile("", counts["total"], _("docks in all"), DOCKS_FILTER)]
