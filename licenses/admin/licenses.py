"""Unlock licenses as people see them: the list, and the page of one."""

import json
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import quote

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.db.models.expressions import Combinable
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from devices.admin.calls import words
from devices.admin.filters import SiteOfDeviceFilter
from devices.calls.refusal import NO_WORKER
from devices.presence import watch
from devices.templatetags.moments import exact
from licenses import switching, validity, wording
from licenses.admin import cells
from licenses.admin.cells import Listed
from licenses.admin.changelist import NEXT_END, urgency
from licenses.admin.dock import DockPages
from licenses.admin.export import ExportPages
from licenses.admin.filters import DockFilter, InventoryFilter, StateFilter, TypeFilter, UserOnlyFilter
from licenses.admin.map import MapPages
from licenses.admin.switching_by import SwitchByPages
from licenses.admin.timeline import TimelinePages
from licenses.admin.update_file import UpdateFilePages
from licenses.models import Inventory, LicenseEvent, UnlockLicense
from organizations.admin.tenant import TenantFilter
from organizations.models import Role
from organizations.tenancy import restrict
from organizations.typed import typed

HISTORY = 100  # events on a license's page


@admin.register(UnlockLicense)
class UnlockLicenseAdmin(SwitchByPages, TimelinePages, ExportPages, DockPages, UpdateFilePages, MapPages):
    """DJI's fields are the dock's; operators write notes, and ask the dock to switch."""

    change_role = Role.OPERATOR

    list_display = ("license", "kind", "dock", "owner", "validity", "switched", "found_in", "as_of")
    list_display_links = ("license",)
    list_filter = (
        StateFilter, TypeFilter, InventoryFilter, UserOnlyFilter, DockFilter, ("device__organization", TenantFilter),
        SiteOfDeviceFilter,
    )  # fmt: skip
    list_select_related = ("device__organization", "device__site", "device__state")
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count all licenses
    search_fields = ("device__sn",)
    search_help_text = _("Dock, license name, license ID, or the serial number that it is bound to")
    fields = ("note",)  # the template shows the dock's own

    class Media:
        css = {"all": ["devices/devices.css", "devices/commands.css", "licenses/licenses.css"]}
        js = [Script("devices/refresh.js", type="module"), Script("devices/commands.js", type="module")]

    def get_ordering(self, request: HttpRequest) -> tuple[str | Combinable, ...]:
        return (urgency(timezone.now(), over_and_on=0), *NEXT_END)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": gettext("Unlock licenses"), **(extra_context or {})})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UnlockLicense], search_term: str
    ) -> tuple[QuerySet[UnlockLicense], bool]:
        """Parts of names, and whole numbers."""
        if term := typed(search_term):
            queryset = queryset.matching(term)  # type: ignore[attr-defined]
        return queryset, False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    # --- columns -------------------------------------------------------------------------------

    @admin.display(description=_("license"), ordering="name")
    def license(self, row: UnlockLicense) -> SafeString:
        return cells.name_cell(row)

    @admin.display(description=_("type"), ordering="type")
    def kind(self, row: UnlockLicense) -> SafeString:
        return cells.type_cell(row)

    @admin.display(description=_("dock"), ordering="device__callsign")
    def dock(self, row: UnlockLicense) -> SafeString:
        return cells.dock_cell(row)

    @admin.display(description=_("organization"), ordering="device__organization__name")
    def owner(self, row: UnlockLicense) -> str:
        return row.device.organization.name if row.device.organization else gettext("unclaimed")

    @admin.display(description=_("validity"), ordering="end_time")
    def validity(self, row: Listed) -> SafeString:
        return cells.validity_cell(row.shown)

    @admin.display(description=_("switched"), ordering="enabled")
    def switched(self, row: Listed) -> SafeString:
        return cells.switch_cell(row.shown, row.way_back)

    @admin.display(description=_("found in"))
    def found_in(self, row: Listed) -> SafeString:
        return cells.found_cell(row.shown)

    @admin.display(description=_("as of"))
    def as_of(self, row: Listed) -> SafeString:
        return cells.as_of_cell(row.shown)

    # --- one license -----------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[UnlockLicense]:
        return super().get_queryset(request).select_related("device__organization", "device__site", "device__state")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, object], *args: object, **kwargs: object
    ) -> HttpResponse:
        original = context.get("original")
        if isinstance(original, UnlockLicense):
            context.update(license_page(request, original))
        return super().render_change_form(request, context, *args, **kwargs)


FIELDS: Final[dict[str, str | Promise]] = {
    "license_id": _("License ID"),
    "name": _("Name"),
    "type": _("Type"),
    "group_id": _("Group ID"),
    "user_id": _("User ID"),
    "device_sn": _("Bound to"),
    "begin_time": _("Begins"),
    "end_time": _("Ends"),
    "user_only": _("Only with its account"),
    "enabled": _("On"),
}
VALUES: Final = {**FIELDS, **wording.DETAILS, "note": _("Note")}  # what events keep


class Field(NamedTuple):
    """One of DJI's fields, with its value in each inventory that holds the license."""

    name: str
    label: str
    values: list[str]

    @property
    def differs(self) -> bool:
        return self.name != "enabled" and len(set(self.values)) > 1  # a switch makes no other license of it


def license_page(request: HttpRequest, license_: UnlockLicense) -> dict[str, object]:
    """What the page of one license shows, as far as this user may see it."""
    related = ("device__organization", "device__site", "device__state")
    row = UnlockLicense.objects.select_related(*related).get(pk=license_.pk)
    watched = watch()
    shown, zone = cells.show([row], request, watched=watched)[0], validity.zone_of(row.device)
    sides = sorted(filter(None, (row, shown.twin)), key=lambda side: side.device_model_domain)
    events = restrict(LicenseEvent.objects.select_related("call"), request.user)
    newest = events.filter(device=row.device_id, license_id=row.license_id)[:HISTORY]
    return {
        "title": row.name or gettext("License {id}").format(id=row.license_id),
        "subtitle": None,
        "shown": shown,
        "standing": cells.standing_mark(shown),
        "bar": cells.window_bar(row, shown.now, shown.kind),
        "left": validity.left(row, shown.now, zone),
        "window": validity.window(row, zone),
        "enabled": cells.enabled_word(shown),
        "attempt": cells.attempt_note(shown),
        "sentence": wording.describe(row),
        "sides": [(Inventory(side.device_model_domain).label, side) for side in sides],
        "fields": [
            Field(name, str(label), [_words(name, getattr(side, name)) for side in sides])
            for name, label in FIELDS.items()
        ],
        "details": [
            (name, wording.DETAILS.get(name, ""), wording.detail_lines(name, value))
            for name, value in sorted(row.details.items())
        ],
        "raw": json.dumps(row.raw, indent=2, ensure_ascii=False),
        "events": [(event, event_words(event)) for event in newest],
        "switches": [
            {
                "value": value,
                "why": why,
                "may_wait": why not in ("", NO_WORKER)
                and not switching.why_not(row, enable, attempt=shown.attempt, watch=watched, queue=True),
            }
            for value, enable, why in (("on", True, shown.why_not_on), ("off", False, shown.why_not_off))
            if shown.may_switch and not shown.is_pending and row.enabled is not enable
        ],
        "map": f"{reverse('admin:licenses_unlocklicense_map')}?id__in={row.pk}",
        "dock_licenses": f"{reverse('admin:licenses_unlocklicense_changelist')}?device={row.device_id}",
        "live_path": f"/ws/devices/{quote(row.device.sn)}/",
        **words(),
    }


def _words(name: str, value: object) -> str:
    """The value of one of DJI's fields, as the row or the history has it, which keeps moments as text."""
    if value is None or value == "":
        return gettext("not reported")
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if name in ("begin_time", "end_time"):
        return exact(value if isinstance(value, datetime) else datetime.fromisoformat(str(value)))
    if name == "type" and isinstance(value, int):
        return gettext("{name} ({number})").format(name=wording.type_name(value), number=value)
    return "; ".join(wording.detail_lines(name, value)) if name in wording.DETAILS else str(value)


EVENT_WORDS: Final[dict[str, str | Promise]] = {
    LicenseEvent.Kind.APPEARED: _("appeared in the list"),
    LicenseEvent.Kind.VANISHED: _("vanished from the list"),
    LicenseEvent.Kind.ENABLED: _("switched on"),
    LicenseEvent.Kind.DISABLED: _("switched off"),
    LicenseEvent.Kind.CHANGED: _("changed"),
}


class Value(NamedTuple):
    """What one of DJI's fields was and became, in words."""

    name: str
    label: str
    before: str
    after: str


def values(event: LicenseEvent) -> list[Value]:
    """All that is kept of an event, the parts of `details` one by one."""
    sides = [{**side, **side.get("details", {})} for side in (event.before, event.after)]
    return [
        Value(name, str(VALUES.get(name, name)), *(_words(name, side.get(name)) for side in sides))
        for name in sorted({*sides[0], *sides[1]} - {"details"})
    ]


def event_words(event: LicenseEvent) -> str:
    """What became of the license: "switched on", "changed: Begins 2026-01-01 → 2026-02-01"."""
    words = str(EVENT_WORDS.get(event.kind, event.kind))
    if event.kind != LicenseEvent.Kind.CHANGED:
        return words  # the values of other kinds are too many for a line
    changes = [f"{one.label} {one.before} → {one.after}" for one in values(event) if one.before != one.after]
    return gettext("{about}: {text}").format(about=words, text=pgettext("between two changes", "; ").join(changes))
