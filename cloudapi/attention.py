"""What needs a person now: the dashboard's answer, for platform staff and for a member's own organizations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.timesince import timesince

from devices.diagnosis.exchanges import refusing
from devices.diagnosis.needs import BINDING, LICENSE, has_wrong_clock, in_trouble, unsent
from devices.models import Device, DeviceAccount, DeviceQuerySet, ServiceCall
from devices.presence import Presence, Watch
from licenses.models import LicenseList, UnlockLicense
from mqtt_bridge.models import Exchange, Heartbeat
from organizations import codes
from organizations.models import BindingCode, BindingFailure, Organization
from organizations.tenancy import Principal, is_platform_staff, restrict

WRONG_CODES_PER_HOUR = 20  # more over all gateways look like somebody guessing
ROWS = 10  # of the tables
NEARLY = 0.9  # of UNCLAIMED_DEVICE_CAP
SEVERAL = 2  # docks offline in one organization look like a site or a network, not like a dock
DAY = timedelta(hours=24)

DEVICES = "admin:devices_device_changelist"
CALLS = "admin:devices_servicecall_changelist"
EXCHANGES = "admin:mqtt_bridge_exchange_changelist"
LICENSES = "admin:licenses_unlocklicense_changelist"
CODES = "admin:organizations_bindingcode_changelist"
FAILURES = "admin:organizations_bindingfailure_changelist"
ORGANIZATIONS = "admin:organizations_organization_changelist"
# Docks as people count them: bound and not switched off on purpose.
DOCKS = "kind=dock&claimed=yes&is_enabled__exact=1"


class Level(IntEnum):
    """How urgent: work has stopped; something is wrong; good to know."""

    CRITICAL = 3
    WARNING = 2
    NOTICE = 1


class Item(NamedTuple):
    """One line of the dashboard: what, and the list (a URL's name and query) that shows the rows."""

    level: Level
    text: str
    detail: str = ""
    view: str = ""
    query: str = ""


@dataclass(frozen=True)
class Tile:
    """A count of docks and the query of the device list that shows them."""

    kind: str
    count: int
    text: str
    query: str


@dataclass(frozen=True)
class BridgeStatus:
    """Whether the bridge's ping came back lately; if not, nobody knows any device's state."""

    is_stale: bool
    beat_at: datetime | None


@dataclass(frozen=True)
class Overview:
    """The dashboard: problems by urgency, notices, tiles and tables."""

    is_stale: bool
    tiles: list[Tile]
    problems: list[Item] = field(default_factory=list)
    notices: list[Item] = field(default_factory=list)
    offline: Sequence[Device] = ()
    organizations: Sequence[Any] = ()


def bridge_status(now: datetime | None = None) -> BridgeStatus:
    """How the bridge is. One query."""
    heartbeat = Heartbeat.objects.current()
    if heartbeat is None:
        return BridgeStatus(is_stale=True, beat_at=None)
    return BridgeStatus(heartbeat.is_stale(now), heartbeat.beat_at)


def overview(user: Principal, *, bridge: BridgeStatus, now: datetime | None = None) -> Overview:
    """What this user should know now; a constant number of queries, whatever the number of devices."""
    now = now or timezone.now()
    watch = Watch(now, bridge_alive=not bridge.is_stale)
    offline = watch.matching(Presence.OFFLINE)
    counts = _docks(user).aggregate(
        total=Count("pk"),
        online=Count("pk", filter=watch.matching(Presence.ONLINE)),
        offline=Count("pk", filter=offline),
        never=Count("pk", filter=watch.matching(Presence.NEVER)),
        longest=Min("state__last_seen", filter=offline),
    )
    items = [*_guess_items(now), *_platform_items()] if is_platform_staff(user) else []
    items += _license_items(user)
    if not bridge.is_stale:
        items += _offline_items(counts, now)
    items += _clock_items(user)
    items += [*_call_items(user, now), *_account_items(user), *_exchange_items(user, now), *_code_items(user, now)]
    items += [*_unlock_items(user, now), *_list_items(user)]
    if bridge.is_stale:
        return Overview(True, _tiles_unknown(counts), *_sorted(items))
    return Overview(
        False,
        _tiles(counts),
        *_sorted(items),
        offline=list(
            _docks(user).filter(offline).select_related("organization", "state").order_by("-state__last_seen")[:ROWS]
        ),
        organizations=list(_organizations_with_several_offline(user)) if is_platform_staff(user) else [],
    )


# --- docks ---------------------------------------------------------------------------------------


def _docks(user: Principal) -> DeviceQuerySet:
    return Device.objects.docks().filter(is_enabled=True).exclude(organization=None).visible_to(user)


def _tiles(counts: dict[str, Any]) -> list[Tile]:
    never = counts["never"]
    silent = counts["total"] - counts["online"] - counts["offline"] - never
    tiles = [
        Tile("bad" if counts["offline"] else "", counts["offline"], "docks offline", f"{DOCKS}&presence=offline"),
        Tile("good", counts["online"], "docks online", f"{DOCKS}&presence=online"),
    ]
    if silent:
        tiles.append(Tile("unknown", silent, "docks not heard yet", f"{DOCKS}&presence=unknown"))
    if never:
        tiles.append(Tile("", never, "never connected", f"{DOCKS}&presence=never"))
    return [*tiles, Tile("", counts["total"], "docks in all", DOCKS)]


def _tiles_unknown(counts: dict[str, Any]) -> list[Tile]:
    return [Tile("unknown", counts["total"], "docks, states unknown", DOCKS)]


def _offline_items(counts: dict[str, Any], now: datetime) -> list[Item]:
    offline = counts["offline"]
    if not offline:
        return []
    longest = f"the longest for {timesince(counts['longest'], now)}"
    return [
        Item(
            Level.CRITICAL,
            _plural(offline, "dock is", "docks are") + " offline",
            longest,
            DEVICES,
            f"{DOCKS}&presence=offline",
        )
    ]


def _clock_items(user: Principal) -> list[Item]:
    bound = Device.objects.filter(is_enabled=True).exclude(organization=None).visible_to(user)
    count = bound.filter(has_wrong_clock()).count()
    if not count:
        return []
    text = _plural(count, "device has", "devices have") + " a wrong clock"
    detail = "more than 5 minutes off, or never set: docks refuse commands then (319008)"
    return [Item(Level.WARNING, text, detail, DEVICES, "clock=wrong&claimed=yes&is_enabled__exact=1")]


def _organizations_with_several_offline(user: Principal) -> Iterable[Any]:
    is_dock = Q(devices__in=Device.objects.docks(), devices__is_enabled=True)
    is_offline = Q(devices__state__online=False, devices__state__last_seen__isnull=False)
    rows = Organization.objects.visible_to(user).annotate(
        docks=Count("devices", filter=is_dock), offline=Count("devices", filter=is_dock & is_offline)
    )
    return rows.filter(offline__gte=SEVERAL).order_by("-offline", "name")[:ROWS]


# --- everything else -----------------------------------------------------------------------------


def _license_items(user: Principal) -> list[Item]:
    if all((settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE)):
        return []
    without = Q(app_id="") | Q(app_key="") | Q(app_license="")
    count = Organization.objects.visible_to(user).filter(without, is_active=True).count()
    if not count:
        return [_NO_LICENSE] if is_platform_staff(user) and not Organization.objects.exists() else []
    text = _plural(count, "organization has", "organizations have") + " no DJI license"
    detail = "their docks are refused when they connect, and the server has none for all"
    return [Item(Level.CRITICAL, text, detail, ORGANIZATIONS, "license=missing&is_active__exact=1")]


_NO_LICENSE = Item(
    Level.CRITICAL,
    "The server has no DJI license",
    "every dock is refused when it connects: set DJI_APP_ID, DJI_APP_KEY and DJI_APP_LICENSE",
)


def _refused_items(lately: QuerySet[Exchange]) -> list[Item]:
    """Gateways that are refused before they come to bind, and did not succeed since."""
    items = []
    for method, successes, one, many in (
        ("config", LICENSE, "gateway was refused the DJI license", "gateways were refused the DJI license"),
        ("airport_organization_get", BINDING, "gateway was refused its code", "gateways were refused their codes"),
    ):
        success = lately.filter(
            gateway_sn=OuterRef("gateway_sn"),
            method__in=successes,
            received_at__gt=OuterRef("received_at"),
            outcome=Exchange.Outcome.ANSWERED,
            reason="",
        )
        refused = lately.filter(refusing(), ~Exists(success), method=method)
        count = refused.order_by().values("gateway_sn").distinct().count()
        if count:
            query = f"method={method}&outcome=refused"
            items.append(Item(Level.WARNING, _plural(count, one, many), "in the last 24 hours", EXCHANGES, query))
    return items


def _exchange_items(user: Principal, now: datetime) -> list[Item]:
    refused = Q(method="airport_organization_bind") & refusing()
    lately = restrict(Exchange.objects.filter(received_at__gt=now - DAY), user)
    counts = lately.aggregate(
        refused=Count("pk", filter=refused),
        quarantined=Count("pk", filter=Q(outcome=Exchange.Outcome.QUARANTINED)),
        failed=Count("pk", filter=Q(outcome=Exchange.Outcome.ERROR)),
    )
    items = _refused_items(lately)
    if counts["failed"]:
        text = _plural(counts["failed"], "message", "messages") + " failed on our side"
        items.append(Item(Level.WARNING, text, "in the last 24 hours", EXCHANGES, "outcome=error"))
    if counts["refused"]:
        text = _plural(counts["refused"], "bind was", "binds were") + " refused"
        query = "method=airport_organization_bind&outcome=refused"
        items.append(Item(Level.WARNING, text, "in the last 24 hours", EXCHANGES, query))
    if counts["quarantined"]:
        text = _plural(counts["quarantined"], "message was", "messages were") + " not understood"
        items.append(Item(Level.WARNING, text, "quarantined in the last 24 hours", EXCHANGES, "outcome=quarantined"))
    return items


def _call_items(user: Principal, now: datetime) -> list[Item]:
    visible = ServiceCall.objects.visible_to(user)
    items = []
    if waiting := unsent(visible, now).count():
        text = _plural(waiting, "command waits", "commands wait") + " to be sent"
        detail = "Is a Celery worker running?" if is_platform_staff(user) else "the platform's staff can see to it"
        items.append(Item(Level.CRITICAL, text, detail, CALLS, "state=unsent"))
    if trouble := visible.filter(in_trouble(now)).count():
        text = _plural(trouble, "command", "commands") + " did not succeed"
        detail = "failed, unanswered or not sent in the last 24 hours, and not tried again"
        items.append(Item(Level.WARNING, text, detail, CALLS, "state=trouble"))
    return items


def _account_items(user: Principal) -> list[Item]:
    status = DeviceAccount.Status.VERIFICATION_REQUIRED
    waiting = Device.objects.visible_to(user).filter(account__status=status).count()
    if not waiting:
        return []
    text = _plural(waiting, "dock waits", "docks wait") + " for a verification code"
    detail = "DJI wants one before the login goes on"
    return [Item(Level.WARNING, text, detail, DEVICES, f"account={status.value}")]


def _unlock_items(user: Principal, now: datetime) -> list[Item]:
    """Licenses whose end is near or passed, each counted once, as the list shows them."""
    over_by = {days: Q(end_time__lte=now + timedelta(days=days)) for days in (0, 7, 30)}
    rows = UnlockLicense.objects.visible_to(user).listed().filter(over_by[30], enabled=True)
    counts = rows.aggregate(
        over=Count("pk", filter=over_by[0]),
        days_7=Count("pk", filter=over_by[7] & ~over_by[0]),
        days_30=Count("pk", filter=~over_by[0]),
    )
    over, days_7, days_30 = counts["over"], counts["days_7"], counts["days_30"]
    items = []
    if over:
        text = _plural(over, "unlock license is", "unlock licenses are") + " over but still on"
        detail = "whoever counts on them is refused"
        items.append(Item(Level.WARNING, text, detail, LICENSES, "state=expired-enabled"))
    if days_7:
        text = _plural(days_7, "unlock license ends", "unlock licenses end") + " within 7 days"
        items.append(
            Item(Level.WARNING, text, "apply for new ones on DJI's FlySafe site", LICENSES, "state=expiring-7")
        )
    if days_30 > days_7:
        text = _plural(days_30, "unlock license ends", "unlock licenses end") + " within 30 days"
        items.append(Item(Level.NOTICE, text, "those of the next 7 days among them", LICENSES, "state=expiring-30"))
    return items


def _list_items(user: Principal) -> list[Item]:
    """Docks whose licenses nobody knows, or of which the dock itself says that they are not consistent."""
    counts = _docks(user).aggregate(
        **{name: Count("pk", filter=condition) for name, condition in LicenseList.conditions_on_docks().items()}
    )
    items = []
    if never := counts["never"]:
        text = _plural(never, "dock was", "docks were") + " never read for unlock licenses"
        detail = "in the aircraft, at the dock, or both"
        items.append(Item(Level.NOTICE, text, detail, DEVICES, f"{DOCKS}&licenses=never"))
    if inconsistent := counts["inconsistent"]:
        text = _plural(inconsistent, "dock reports", "docks report") + " different licenses in dock and aircraft"
        detail = "DJI's flag of consistence: update the licenses"
        items.append(Item(Level.WARNING, text, detail, DEVICES, f"{DOCKS}&licenses=inconsistent"))
    return items


def _code_items(user: Principal, now: datetime) -> list[Item]:
    visible = BindingCode.objects.visible_to(user).filter(organization__is_active=True)
    expiring = codes.in_state(visible, codes.State.EXPIRING, now).count()
    used_up = codes.in_state(visible, codes.State.USED_UP, now).count()
    items = []
    if expiring:
        text = _plural(expiring, "binding code expires", "binding codes expire") + " within 3 days"
        items.append(Item(Level.NOTICE, text, "not used up yet", CODES, "state=expiring"))
    if used_up:
        text = _plural(used_up, "binding code is", "binding codes are") + " used up"
        items.append(Item(Level.NOTICE, text, "no further dock binds with them", CODES, "state=used-up"))
    return items


def _guess_items(now: datetime) -> list[Item]:
    items = []
    locked = BindingFailure.objects.locked_out(now).count()
    if locked:
        text = _plural(locked, "gateway is", "gateways are") + " locked out after wrong codes"
        items.append(Item(Level.CRITICAL, text, "a technician may be waiting beside it", FAILURES, "locked=yes"))
    wrong = BindingFailure.objects.filter(last_at__gt=now - timedelta(hours=1)).count()
    if wrong:
        level = Level.WARNING if wrong > WRONG_CODES_PER_HOUR else Level.NOTICE
        detail = "over all gateways" + (": somebody may be guessing" if level == Level.WARNING else "")
        items.append(Item(level, _plural(wrong, "wrong code", "wrong codes") + " in the last hour", detail, FAILURES))
    return items


def _platform_items() -> list[Item]:
    items = []
    unclaimed = Device.objects.unclaimed().filter(is_enabled=True).count()
    if unclaimed:
        text = _plural(unclaimed, "device belongs", "devices belong") + " to nobody"
        items.append(Item(Level.NOTICE, text, "they spoke to us and were not bound", DEVICES, "claimed=no"))
    cap, strangers = settings.UNCLAIMED_DEVICE_CAP, Device.objects.uninvited().count()
    if strangers >= cap * NEARLY:
        text = "No room for more unknown devices" if strangers >= cap else "Little room for more unknown devices"
        detail = f"{strangers:,} of {cap:,} (UNCLAIMED_DEVICE_CAP): delete some, or new docks show only when bound"
        items.append(Item(Level.WARNING, text, detail, DEVICES, "claimed=no"))
    if not settings.DOCK_MQTT_URL:
        text = "Onboarding sheets lack the MQTT gateway address"
        items.append(Item(Level.WARNING, text, "set DOCK_MQTT_URL, DOCK_MQTT_USERNAME and DOCK_MQTT_PASSWORD"))
    return items


def _sorted(items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """Problems, the most urgent first, and notices."""
    ordered = sorted(items, key=lambda item: -item.level)
    return (
        [item for item in ordered if item.level > Level.NOTICE],
        [item for item in ordered if item.level == Level.NOTICE],
    )


def _plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
