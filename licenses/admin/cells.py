"""Unlock licenses as rows of lists: what is read for a page of them, and the cells that show it."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from django.conf import settings
from django.db.models import Exists, OuterRef, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_noop

from devices.calls.refusal import NO_WORKER
from devices.models import Device
from devices.presence import Watch, watch
from devices.templatetags.moments import ago
from licenses import comparison, switching, validity, wording
from licenses.admin import bars
from licenses.models import Inventory, LicenseList, UnlockLicense
from licenses.switching import Attempt
from organizations.admin.tenant import may
from organizations.models import Role

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# Of the row in the other inventory, without its page; `comparison.pair` reads them.
COMPARED = ("device_id", "license_id", "device_model_domain", "begin_time", "end_time", "enabled")
TAIL = 14  # letters at the end of a long name that are always shown
BOTH, AIRCRAFT_ONLY, DOCK_ONLY = gettext_noop("both"), gettext_noop("aircraft only"), gettext_noop("dock only")


class Shown(NamedTuple):
    """What a row shows beside the license itself."""

    license: UnlockLicense
    now: datetime
    twin: UnlockLicense | None  # the same license in the dock's other inventory
    differences: "tuple[StrOrPromise, ...]"
    is_switched_apart: bool  # on in one inventory, off in the other
    attempt: Attempt | None
    as_of: datetime
    is_stale: bool
    may_switch: bool
    why_not_on: str  # why its button is grey, "" if it is not
    why_not_off: str

    @property
    def standing(self) -> validity.Standing:
        return validity.standing(self.license, self.now)

    @property
    def kind(self) -> str:
        """What colours and marks it: the kind of its standing, "stale" by an old list."""
        return "stale" if self.is_stale else self.standing.kind

    @property
    def words(self) -> "StrOrPromise":
        """Its standing, by an old list in the past tense."""
        return self.standing.past if self.is_stale else self.standing.words

    @property
    def found_in(self) -> str:
        if self.twin is not None:
            return BOTH
        return AIRCRAFT_ONLY if self.license.device_model_domain == Inventory.AIRCRAFT else DOCK_ONLY

    @property
    def is_pending(self) -> bool:
        """Whether a switch of it is under way."""
        return self.attempt is not None and self.attempt.is_open


class Listed(Protocol):
    """A license of the list, with what `LicenseChangeList` adds to it."""

    shown: Shown
    way_back: str  # query string that leads back to the list


def show(rows: Sequence[UnlockLicense], request: HttpRequest | None, *, watched: Watch | None = None) -> list[Shown]:
    """Licenses, with their docks, as they are shown now; four queries. Without a request none can be switched there."""
    watched = watched or watch()
    docks, ids = {row.device_id for row in rows}, {row.license_id for row in rows if row.in_other_inventory}
    others = UnlockLicense.objects.filter(device__in=docks, license_id__in=ids).exclude(pk__in=[row.pk for row in rows])
    others = others.defer("raw", "details") if request else others.only(*COMPARED)
    stored = {(row.device_id, row.license_id, row.device_model_domain): row for row in others}
    names: dict[str, Subquery | Exists] = {}  # what was read of the docks
    for domain in Inventory.values:
        lists = LicenseList.objects.filter(device=OuterRef("pk"), device_model_domain=domain, applied=True)
        newest = lists.filter(complete=True).order_by("-asked_at").values("fetched_at")
        names |= {f"complete_at_{domain}": Subquery(newest[:1]), f"read_{domain}": Exists(lists)}
    found_docks = Device.objects.filter(pk__in=docks).order_by().annotate(**names)
    read_of = {dock["pk"]: dock for dock in found_docks.values("pk", *names)}
    attempts = switching.attempts(rows) if request else {}
    shown = []
    for row in rows:
        sides = {domain: stored.get((row.device_id, row.license_id, domain)) for domain in Inventory.values}
        sides[row.device_model_domain] = row
        read = read_of[row.device_id]
        both = all(read[f"read_{domain}"] for domain in Inventory.values)
        shown.append(
            show_one(
                row,
                request,
                pair=comparison.pair(row.license_id, sides[Inventory.AIRCRAFT], sides[Inventory.DOCK], both=both),
                watched=watched,
                attempt=attempts.get((row.device_id, row.license_id)),
                complete_at=read[f"complete_at_{row.device_model_domain}"],
            )
        )
    return shown


def show_one(
    row: UnlockLicense,
    request: HttpRequest | None,
    *,
    pair: comparison.Pair,
    watched: Watch,
    attempt: Attempt | None,
    complete_at: datetime | None,
) -> Shown:
    """One of the two rows of a pair as it is shown now; `complete_at` is when its inventory was last read completely.

    No query: the dock comes with its state.
    """
    seen = validity.as_of(row, complete_at)
    why = ["", ""]
    if may_switch := request is not None and may(request, Role.OPERATOR, row.device.organization_id):
        why = [str(NO_WORKER)] * 2
        if settings.COMMANDS_AVAILABLE:
            why = [switching.why_not(row, enable, attempt=attempt, watch=watched) for enable in (True, False)]
    return Shown(
        row,
        watched.now,
        pair.dock if row is pair.aircraft else pair.aircraft,
        pair.differences,
        pair.is_switched_apart,
        attempt,
        seen,
        validity.is_stale(seen, watched.now),
        may_switch,
        *why,
    )


# --- cells -------------------------------------------------------------------------------------------


def name_cell(row: UnlockLicense) -> SafeString:
    """The name, and beneath it the id, since names repeat."""
    name = row.name or gettext("License {id}").format(id=row.license_id)
    return format_html('<span class="license-name">{}</span> <small>{}</small>', name, row.license_id)


def middle(text: object) -> SafeString:
    """Text that a narrow column cuts in its middle: long names differ at their end."""
    whole = str(text)
    if len(whole) <= 2 * TAIL:
        return format_html("{}", whole)
    halves = '<span class="middle"><span class="middle-head">{}</span><span class="middle-tail">{}</span></span>'
    return format_html(halves, whole[:-TAIL], whole[-TAIL:])


def type_cell(row: UnlockLicense) -> SafeString:
    """What it allows, on hover in full."""
    only = format_html(' <small class="user-only">{}</small>', gettext("one account only")) if row.user_only else ""
    return format_html('<span title="{}">{}</span>{}', wording.describe(row), wording.type_name(row.type), only)


def dock_cell(row: UnlockLicense) -> SafeString:
    """The dock, linked, and the device that the license is bound to if that is another."""
    page = reverse("admin:devices_device_change", args=[row.device_id])
    bound = row.device_sn if row.device_sn != row.device.sn else ""
    bound_to = format_html(" <small>{}</small>", gettext("for {device}").format(device=bound)) if bound else ""
    return format_html(
        '<a href="{}#licenses" title="{}">{}</a>{}', page, row.device.sn, row.device.callsign or row.device.sn, bound_to
    )


def last_day(row: UnlockLicense) -> str:
    """The day on which it ends, where its dock is."""
    return validity.day(row.end_time, validity.zone_of(row.device)) if row.end_time else gettext("not reported")


def standing_mark(shown: Shown) -> SafeString:
    """The standing as a coloured word with a mark that does not need the colour."""
    return format_html('<span class="standing standing-{}">{}</span>', shown.kind, shown.words)


def window_bar(row: UnlockLicense, now: datetime, kind: str) -> SafeString:
    """How much of its window is over, as one bar; nothing for a window without both ends."""
    passed = bars.passed(row, now)
    if passed is None:
        return SafeString()
    return format_html(
        '<svg class="window-bar window-{}" viewBox="0 0 {} 80" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="window-all" width="{}" height="80"></rect>'
        '<rect class="window-passed" width="{}" height="80"></rect></svg>',
        kind, bars.WIDTH,
        gettext("{percent} of its window is over").format(percent=f"{passed * 100 // bars.WIDTH} %"),
        bars.WIDTH, passed,
    )  # fmt: skip


def validity_cell(shown: Shown) -> SafeString:
    """The standing, the bar, what is left, and from when to when."""
    row, zone = shown.license, validity.zone_of(shown.license.device)
    return format_html(
        '{} <span class="left">{}</span>{}<small>{}</small>',
        standing_mark(shown),
        validity.left(row, shown.now, zone),
        window_bar(row, shown.now, shown.kind),
        validity.window(row, zone),
    )


def enabled_word(shown: Shown) -> SafeString:
    """On or off as the dock last confirmed it, by an old list in the past tense."""
    enabled = shown.license.enabled
    if enabled is None:
        return format_html('<span class="switched switched-unknown">{}</span>', gettext("not reported"))
    word = gettext_noop("on") if enabled else gettext_noop("off")
    if shown.is_stale:
        was = gettext("was on") if enabled else gettext("was off")
        return format_html('<span class="switched switched-stale">{}</span>', was)
    return format_html('<span class="switched switched-{}">{}</span>', word, gettext(word))


def attempt_note(shown: Shown) -> SafeString:
    """What is under way, or why the last attempt failed; "" for nothing."""
    if shown.attempt is None:
        return SafeString()
    page = reverse("admin:devices_servicecall_change", args=[shown.attempt.call.pk])
    kind = "pending" if shown.is_pending else "trouble"
    return format_html('<a class="attempt attempt-{}" href="{}">{}</a>', kind, page, shown.attempt.words)


def switch_cell(shown: Shown, query: str) -> SafeString:
    """On or off, what is under way, and the button that asks for the other; `query` leads back to this list."""
    row = shown.license
    button = SafeString()
    if shown.may_switch and not shown.is_pending and row.device_model_domain == Inventory.AIRCRAFT:
        if row.enabled:
            value, why, text = "off", shown.why_not_off, gettext("Switch off")
            name = gettext("Switch off {license} of {dock}")
        else:
            value, why, text = "on", shown.why_not_on, gettext("Switch on")
            name = gettext("Switch on {license} of {dock}")
        button = format_html(
            '<button type="submit" class="switch" formaction="{}?{}" name="enable" value="{}" '
            'aria-label="{}"{}>{}</button>',
            reverse("admin:licenses_unlocklicense_switch", args=[row.pk]),
            query,
            value,
            name.format(license=f"{row} ({row.license_id})", dock=row.device),
            format_html(' disabled title="{}"', why) if why else "",
            text,
        )
    return format_html("{} {} {}", enabled_word(shown), attempt_note(shown), button)


def found_cell(shown: Shown) -> SafeString:
    """In which inventories it is, and in what they differ."""
    found, differences = gettext(shown.found_in), ", ".join(map(str, shown.differences))
    marks = format_html(' <small class="differs">{}</small>', differences) if differences else ""
    return format_html("{}{} {}", found, marks, apart_note(shown))


def apart_note(shown: Shown) -> SafeString:
    """A quiet word where one inventory has it on and the other off; "" for nothing."""
    if not shown.is_switched_apart:
        return SafeString()
    return format_html(
        '<small class="apart" title="{}">{}</small>',
        gettext("A switch changes the license in the aircraft only: the inventories are the same."),
        gettext("switched differently"),
    )


def as_of_cell(shown: Shown) -> SafeString:
    """When a list last held it in this form."""
    old = format_html(' <small class="old">{}</small>', gettext("old list")) if shown.is_stale else ""
    return format_html("{}{}", ago(shown.as_of), old)
