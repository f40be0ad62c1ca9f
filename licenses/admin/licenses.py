"""Unlock licenses as people see them: the list, and the page of one."""

import json
from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from devices.admin.calls import words
from devices.presence import Watch, watch
from licenses import switching, validity, wording
from licenses.admin import cells
from licenses.admin.cells import Shown
from licenses.admin.changelist import NEXT_END, LicenseChangeList, TimelinePaginator, UrgencyPaginator, urgency
from licenses.admin.dock import DockPages
from licenses.admin.filters import DockFilter, InventoryFilter, StateFilter, TypeFilter, UserOnlyFilter
from licenses.admin.map import MapPages
from licenses.admin.switching import SwitchPages
from licenses.admin.timeline import TIMELINE, TimelinePages
from licenses.models import Inventory, LicenseEvent, UnlockLicense
from organizations.admin.tenant import CappedPaginator, TenantFilter
from organizations.models import Role
from organizations.tenancy import restrict
from organizations.typed import typed

HISTORY = 100  # events on a license's page
CORNERS = 30  # of a polygon on it


@admin.register(UnlockLicense)
class UnlockLicenseAdmin(SwitchPages, TimelinePages, DockPages, MapPages):
    """DJI's fields are the dock's; operators write notes, and ask the dock to switch."""

    change_role = Role.OPERATOR

    list_display = ("license", "kind", "dock", "owner", "validity", "switched", "found_in", "as_of")
    list_display_links = ("license",)
    list_filter = (
        StateFilter, TypeFilter, InventoryFilter, UserOnlyFilter, DockFilter, ("device__organization", TenantFilter),
    )  # fmt: skip
    list_select_related = ("device__organization", "device__state")
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count all licenses
    search_fields = ("device__sn",)
    search_help_text = "Dock, license name, license ID, or the serial number that it is bound to"
    fields = ("note",)  # the template shows the dock's own

    class Media:
        css = {"all": ["devices/devices.css", "devices/commands.css", "licenses/licenses.css"]}
        js = [Script("devices/refresh.js", type="module"), Script("devices/commands.js", type="module")]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LicenseChangeList

    def get_ordering(self, request: HttpRequest) -> Any:
        return (urgency(timezone.now(), over_and_on=0), *NEXT_END)

    def get_paginator(self, request: HttpRequest, queryset: Any, per_page: int, *args: Any, **kwargs: Any) -> Any:
        if ORDER_VAR in request.GET or queryset.model is not UnlockLicense:  # the page of the history has one too
            return CappedPaginator(queryset, per_page, request)
        is_timeline = request.resolver_match is not None and request.resolver_match.url_name == TIMELINE
        return (TimelinePaginator if is_timeline else UrgencyPaginator)(queryset, per_page, request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Unlock licenses", **(extra_context or {})})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Parts of names, and whole numbers."""
        term = typed(search_term)
        if term:
            queryset = queryset.matching(term)  # type: ignore[attr-defined]
        return queryset, False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    # --- columns -------------------------------------------------------------------------------

    @admin.display(description="license", ordering="name")
    def license(self, row: UnlockLicense) -> SafeString:
        return cells.name_cell(row)

    @admin.display(description="type", ordering="type")
    def kind(self, row: UnlockLicense) -> SafeString:
        return cells.type_cell(row)

    @admin.display(description="dock", ordering="device__callsign")
    def dock(self, row: UnlockLicense) -> SafeString:
        return cells.dock_cell(row)

    @admin.display(description="organization", ordering="device__organization__name")
    def owner(self, row: UnlockLicense) -> str:
        return row.device.organization.name if row.device.organization else "unclaimed"

    @admin.display(description="validity", ordering="end_time")
    def validity(self, row: Any) -> SafeString:
        return cells.validity_cell(row.shown)

    @admin.display(description="switched", ordering="enabled")
    def switched(self, row: Any) -> SafeString:
        return cells.switch_cell(row.shown, row.way_back)

    @admin.display(description="found in")
    def found_in(self, row: Any) -> SafeString:
        return cells.found_cell(row.shown)

    @admin.display(description="as of")
    def as_of(self, row: Any) -> SafeString:
        return cells.as_of_cell(row.shown)

    # --- one license -----------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).select_related("device__organization", "device__state")
        return rows

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if context.get("original") is not None:
            context.update(license_page(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)


FIELDS = {
    "license_id": "License ID",
    "name": "Name",
    "type": "Type",
    "group_id": "Group ID",
    "user_id": "User ID",
    "device_sn": "Bound to",
    "begin_time": "Begins",
    "end_time": "Ends",
    "user_only": "Only with its account",
    "enabled": "On",
}


def license_page(request: HttpRequest, license_: UnlockLicense) -> dict[str, Any]:
    """What the page of one license shows, as far as this user may see it."""
    row = UnlockLicense.objects.select_related("device__organization", "device__state").get(pk=license_.pk)
    watched = watch()
    shown = cells.show([row], request, watched=watched)[0]
    sides = {side.device_model_domain: side for side in (row, shown.twin) if side is not None}
    events = restrict(LicenseEvent.objects.select_related("call"), request.user)
    query = f"device={row.device_id}"
    return {
        "title": row.name or f"License {row.license_id}",
        "subtitle": None,
        "shown": shown,
        "standing": cells.standing_mark(shown),
        "bar": cells.window_bar(row, shown.now, shown.standing.kind),
        "left": validity.left(row, shown.now),
        "window": validity.window(row),
        "enabled": cells.enabled_word(shown),
        "attempt": cells.attempt_note(shown),
        "sentence": wording.describe(row),
        "sides": [(Inventory(domain).label, side) for domain, side in sorted(sides.items())],
        "fields": _fields(sides),
        "details": [(name, _detail(value)) for name, value in sorted(row.details.items())],
        "raw": json.dumps(row.raw, indent=2, ensure_ascii=False),
        "events": [_event(event) for event in events.filter(device=row.device_id, license_id=row.license_id)[:HISTORY]],
        "switches": _switches(shown, watched),
        "map": f"{reverse('admin:licenses_unlocklicense_map')}?id__in={row.pk}",
        "dock_licenses": f"{reverse('admin:licenses_unlocklicense_changelist')}?{query}",
        "live_path": f"/ws/devices/{quote(row.device.sn)}/",
        **words(),
    }


def _fields(sides: dict[int, UnlockLicense]) -> list[dict[str, Any]]:
    """DJI's fields, a value for each inventory that holds the license, and whether they differ."""
    found = []
    for name, label in FIELDS.items():
        values = [_plain(getattr(side, name), name) for _, side in sorted(sides.items())]
        found.append({"label": label, "name": name, "values": values, "differs": len(set(values)) > 1})
    return found


def _plain(value: Any, name: str) -> str:
    if value is None or value == "":
        return "not told"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return f"{wording.type_name(value)} ({value})" if name == "type" else str(value)


def _detail(value: Any) -> list[str]:
    """A value of the sub-struct in lines: the corners of a polygon one by one."""
    if isinstance(value, list) and value and all(isinstance(corner, dict) for corner in value):
        shown = value[:CORNERS]
        lines = [
            ", ".join(wording.coordinate(corner.get(name)) for name in ("latitude", "longitude")) for corner in shown
        ]
        return [*lines, *([f"and {len(value) - CORNERS} more"] if len(value) > CORNERS else [])]
    if isinstance(value, list):
        return [", ".join(map(str, value))]
    return [str(value)]


EVENT_WORDS = {
    LicenseEvent.Kind.APPEARED: "appeared in the list",
    LicenseEvent.Kind.VANISHED: "vanished from the list",
    LicenseEvent.Kind.ENABLED: "switched on",
    LicenseEvent.Kind.DISABLED: "switched off",
    LicenseEvent.Kind.CHANGED: "changed",
}


def _event(event: LicenseEvent) -> dict[str, Any]:
    """One line of the history; of what appeared or vanished its values are too many for a line."""
    return {
        "row": event,
        "kind": EVENT_WORDS.get(event.kind, event.kind),  # type: ignore[call-overload]
        "inventory": event.get_device_model_domain_display(),
        "changes": changes(event),
    }


def changes(event: LicenseEvent) -> list[tuple[str, Any, Any]]:
    """What changed: (field, before, after); nothing for what appeared or vanished."""
    if event.kind != LicenseEvent.Kind.CHANGED:
        return []
    names = sorted({*event.before, *event.after})
    sides = (event.before, event.after)
    return [(FIELDS.get(name, name), *(_told(side.get(name), name) for side in sides)) for name in names]


def _told(value: Any, name: str) -> Any:
    """A value of the history; moments are kept there as text."""
    if value is None:
        return "not told"
    return str(value)[:19].replace("T", " ") + " UTC" if name in ("begin_time", "end_time") else value


def _switches(shown: Shown, watched: Watch) -> list[dict[str, Any]]:
    """The buttons that ask for a switch: the one that changes something, both if it is not told whether it is on."""
    if not shown.may_switch or (shown.attempt is not None and shown.attempt.is_open):
        return []
    found = []
    for value, enable, why in (("on", True, shown.why_not_on), ("off", False, shown.why_not_off)):
        if shown.license.enabled is enable:
            continue
        later = switching.why_not(shown.license, enable, attempt=shown.attempt, watch=watched, queue=True)
        may_wait = bool(why) and not later and why != cells.NO_WORKER
        found.append({"value": value, "why": why, "may_wait": may_wait})
    return found
