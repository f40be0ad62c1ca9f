"""Unlock licenses as the rows of lists show them: what is asked of the database for a page of them, and their cells."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Exists, OuterRef, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from devices.models import Device
from devices.presence import Watch, watch
from devices.templatetags.moments import ago
from licenses import catalog, switching, validity, wording
from licenses.models import Inventory, LicenseList, UnlockLicense
from licenses.switching import Attempt
from licenses.validity import WIDTH
from organizations.admin.tenant import may
from organizations.models import Role

BOTH, AIRCRAFT_ONLY, DOCK_ONLY = "both", "aircraft only", "dock only"
NO_WORKER = "No worker sends commands here."


class Shown(NamedTuple):
    """What a row shows beside the license itself."""

    license: UnlockLicense
    now: datetime
    twin: UnlockLicense | None  # the same license in the dock's other inventory
    differences: tuple[str, ...]
    attempt: Attempt | None
    as_of: datetime
    is_stale: bool
    may_switch: bool
    why_not_on: str
    why_not_off: str

    @property
    def standing(self) -> validity.Standing:
        return validity.standing(self.license, self.now)

    @property
    def found_in(self) -> str:
        if self.twin is not None:
            return BOTH
        return AIRCRAFT_ONLY if self.license.device_model_domain == Inventory.AIRCRAFT else DOCK_ONLY


def show(rows: Sequence[UnlockLicense], request: HttpRequest, *, watched: Watch | None = None) -> list[Shown]:
    """Licenses, with their docks, as they are shown now; four queries."""
    watched = watched or watch()
    twins = _twins(rows)
    read = _read(rows)
    attempts = switching.attempts(rows)
    shown = []
    for row in rows:
        lists = read[row.device_id]
        attempt = attempts.get((row.device_id, row.license_id))
        may_switch = may(request, Role.OPERATOR, row.device.organization_id)
        why = [why_not(row, enable, attempt, watched) if may_switch else "" for enable in (True, False)]
        seen = validity.as_of(row, lists.complete_at.get(row.device_model_domain))
        twin = twins.get(_key(row))
        different = differences(row, twin, both=lists.both)
        shown.append(
            Shown(
                row,
                watched.now,
                twin,
                different,
                attempt,
                seen,
                validity.is_stale(seen, watched.now),
                may_switch,
                *why,
            )
        )
    return shown


def _key(row: UnlockLicense) -> tuple[int, int, int]:
    return row.device_id, row.license_id, row.device_model_domain


def why_not(row: UnlockLicense, enable: bool, attempt: Attempt | None, watched: Watch) -> str:
    """Why the button that switches it so is grey, "" if it is not."""
    if not settings.COMMANDS_AVAILABLE:
        return NO_WORKER
    return switching.why_not(row, enable, attempt=attempt, watch=watched)


def _twins(rows: Iterable[UnlockLicense]) -> dict[tuple[int, int, int], UnlockLicense]:
    """By the key of a row, the same license in the other inventory."""
    found = UnlockLicense.objects.filter(
        device__in={row.device_id for row in rows}, license_id__in={row.license_id for row in rows}
    )
    both = {_key(row): row for row in found.defer("raw", "details")}
    return {
        (device, license_id, other): row
        for (device, license_id, domain), row in both.items()
        for other in Inventory.values
        if other != domain
    }


class _Lists(NamedTuple):
    """What was read of a dock: by inventory when the last complete list was, and whether any was of both."""

    complete_at: dict[int, datetime]
    both: bool


def _read(rows: Iterable[UnlockLicense]) -> dict[int, _Lists]:
    """By dock, which lists were read."""
    names: dict[str, Any] = {}
    for domain in Inventory:
        lists = LicenseList.objects.filter(device=OuterRef("pk"), device_model_domain=domain, applied=True)
        newest = lists.filter(complete=True).order_by("-asked_at").values("fetched_at")
        names |= {f"at_{int(domain)}": Subquery(newest[:1]), f"any_{int(domain)}": Exists(lists)}
    docks = Device.objects.filter(pk__in={row.device_id for row in rows}).order_by().annotate(**names)
    return {
        dock["pk"]: _Lists(
            {domain: dock[f"at_{domain}"] for domain in Inventory.values if dock[f"at_{domain}"]},
            all(dock[f"any_{domain}"] for domain in Inventory.values),
        )
        for dock in docks.values("pk", *names)
    }


def differences(row: UnlockLicense, twin: UnlockLicense | None, *, both: bool) -> tuple[str, ...]:
    """In what the inventories differ about this license, in words; `both` of them were read."""
    sides = {one.device_model_domain: one for one in (row, twin) if one is not None}
    pair = catalog.pair(row.license_id, sides.get(Inventory.AIRCRAFT), sides.get(Inventory.DOCK), both=both)
    return pair.differences


# --- cells -------------------------------------------------------------------------------------------


def name_cell(row: UnlockLicense) -> SafeString:
    """The name, and beneath it what tells it from another of the same name."""
    name = row.name or f"License {row.license_id}"
    return format_html('<span class="license-name">{}</span> <small>{}</small>', name, row.license_id)


def type_cell(row: UnlockLicense) -> SafeString:
    """What it allows, on hover in full."""
    only = format_html(' <small class="user-only">{}</small>', "one account only") if row.user_only else ""
    return format_html('<span title="{}">{}</span>{}', wording.describe(row), wording.type_name(row.type), only)


def dock_cell(row: UnlockLicense) -> SafeString:
    """The dock asked, linked, and the aircraft or dock that the license is bound to if that is another."""
    page = reverse("admin:devices_device_change", args=[row.device_id])
    bound = row.device_sn if row.device_sn != row.device.sn else ""
    bound_to = format_html(" <small>for {}</small>", bound) if bound else ""
    return format_html(
        '<a href="{}#licenses" title="{}">{}</a>{}', page, row.device.sn, row.device.callsign or row.device.sn, bound_to
    )


def standing_mark(shown: Shown) -> SafeString:
    """The standing as a coloured word with a mark that does not need the colour; of an old list muted and said."""
    kind = "stale" if shown.is_stale else shown.standing.kind
    words = shown.standing.past if shown.is_stale else shown.standing.words
    return format_html('<span class="standing standing-{}">{}</span>', kind, words)


def window_bar(row: UnlockLicense, now: datetime, kind: str) -> SafeString:
    """How much of its window is over, as a picture of one bar; nothing if it has not both ends."""
    passed = validity.passed(row, now)
    if passed is None:
        return format_html("{}", "")
    return format_html(
        '<svg class="window-bar window-{}" viewBox="0 0 {} 80" preserveAspectRatio="none" role="img" aria-label="{} % '
        'of its window is over"><rect class="window-all" width="{}" height="80"></rect>'
        '<rect class="window-passed" width="{}" height="80"></rect></svg>',
        kind, WIDTH, passed * 100 // WIDTH, WIDTH, passed,
    )  # fmt: skip


def validity_cell(shown: Shown) -> SafeString:
    """The standing, the bar, what is left, and from when to when."""
    row = shown.license
    return format_html(
        '{} <span class="left">{}</span>{}<small>{}</small>',
        standing_mark(shown),
        validity.left(row, shown.now),
        window_bar(row, shown.now, "stale" if shown.is_stale else shown.standing.kind),
        validity.window(row),
    )


def enabled_word(shown: Shown) -> SafeString:
    """On or off as the dock last confirmed it; of an old list in the past tense."""
    enabled = shown.license.enabled
    if enabled is None:
        return format_html('<span class="switched switched-unknown">{}</span>', "not told")
    word = "on" if enabled else "off"
    if shown.is_stale:
        return format_html('<span class="switched switched-stale">was {}</span>', word)
    return format_html('<span class="switched switched-{}">{}</span>', word, word)


def attempt_note(shown: Shown) -> SafeString:
    """What is under way, or why the last attempt failed; "" for nothing."""
    if shown.attempt is None:
        return format_html("{}", "")
    page = reverse("admin:devices_servicecall_change", args=[shown.attempt.call.pk])
    kind = "pending" if shown.attempt.is_open else "trouble"
    return format_html('<a class="attempt attempt-{}" href="{}">{}</a>', kind, page, shown.attempt.words)


def switch_cell(shown: Shown, query: str) -> SafeString:
    """On or off, what is under way, and the button that asks for the other; `query` leads back to this list."""
    return format_html("{} {} {}", enabled_word(shown), attempt_note(shown), _button(shown, query))


def _button(shown: Shown, query: str) -> SafeString:
    row = shown.license
    is_pending = shown.attempt is not None and shown.attempt.is_open
    if not shown.may_switch or is_pending or row.device_model_domain != Inventory.AIRCRAFT:
        return format_html("{}", "")
    enable = not row.enabled
    why = shown.why_not_on if enable else shown.why_not_off
    return format_html(
        '<button type="submit" class="switch" formaction="{}?{}" name="enable" value="{}" aria-label="Switch {} {}"{}>'
        "Switch {}</button>",
        reverse("admin:licenses_unlocklicense_switch", args=[row.pk]),
        query,
        "on" if enable else "off",
        row,
        "on" if enable else "off",
        format_html(' disabled title="{}"', why) if why else "",
        "on" if enable else "off",
    )


def found_cell(shown: Shown) -> SafeString:
    """In which inventories it is, and in what they differ."""
    marks = format_html(' <small class="differs">{}</small>', ", ".join(shown.differences)) if shown.differences else ""
    return format_html("{}{}", shown.found_in, marks)


def as_of_cell(shown: Shown) -> SafeString:
    """When a list last said so."""
    old = format_html(' <small class="old">{}</small>', "old list") if shown.is_stale else ""
    return format_html("{}{}", ago(shown.as_of), old)


def page_of(row: Any) -> str:
    return reverse("admin:licenses_unlocklicense_change", args=[row.pk])
