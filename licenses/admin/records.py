"""What docks reported about their licenses: the lists they answered with, and what became of each license."""

import json

from django.contrib import admin
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devices.templatetags.moments import ago, exact
from licenses.admin.licenses import event_words, values
from licenses.models import Inventory, LicenseEvent, LicenseList
from organizations.admin.tenant import ReadOnlyAdmin, TenantFilter
from organizations.typed import typed


class _Records(ReadOnlyAdmin):
    """History, always newest first."""

    list_per_page = 100
    list_max_show_all = 0
    sortable_by = ()
    actions = None

    class Media:
        css = {"all": ["devices/devices.css", "licenses/licenses.css"]}
        js = [Script("devices/refresh.js", type="module")]

    @admin.display(description=_("inventory"))
    def inventory(self, row: LicenseEvent | LicenseList) -> str:
        return str(Inventory(row.device_model_domain).label)

    @admin.display(description=_("command"))
    def asked_with(self, row: LicenseEvent | LicenseList) -> SafeString | str:
        if row.call_id is None:
            return "–"
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:devices_servicecall_change", args=[row.call_id]), gettext("command")
        )


@admin.register(LicenseEvent)
class LicenseEventAdmin(_Records):
    """Which licenses appeared, vanished, changed and were switched, including those that are gone."""

    list_display = ("happened", "what", "license", "dock", "inventory", "owner")
    list_display_links = ("happened",)
    list_filter = ("kind", "device_model_domain", ("organization", TenantFilter), ("at", admin.DateFieldListFilter))
    list_select_related = ("device", "organization")
    search_fields = ("device__sn",)
    search_help_text = _("Serial number of the dock, license name or license ID")
    fields = (
        "happened_exactly",
        "what",
        "name",
        "license_id",
        "dock",
        "inventory",
        "organization",
        "asked_with",
        "values",
    )
    readonly_fields = fields

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": gettext("History of licenses"), **(extra_context or {})})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LicenseEvent], search_term: str
    ) -> tuple[QuerySet[LicenseEvent], bool]:
        term = typed(search_term)
        if term.isdecimal() and len(term) < 19:
            return queryset.filter(license_id=int(term)), False
        if term:
            queryset = queryset.filter(device__sn=term.upper()) | queryset.filter(name__icontains=term)
        return queryset, False

    @admin.display(description=_("happened"))
    def happened(self, row: LicenseEvent) -> SafeString:
        return ago(row.at)

    @admin.display(description=_("happened"))
    def happened_exactly(self, row: LicenseEvent) -> str:
        return exact(row.at)

    @admin.display(description=_("what"))
    def what(self, row: LicenseEvent) -> str:
        return event_words(row)

    @admin.display(description=_("license"))
    def license(self, row: LicenseEvent) -> SafeString:
        return format_html("{} <small>{}</small>", row.name or gettext("License"), row.license_id)

    @admin.display(description=_("dock"))
    def dock(self, row: LicenseEvent) -> str:
        """A dock that now belongs to another organization is shown by its serial number alone."""
        return str(row.device) if row.device.organization_id == row.organization_id else row.device.sn

    @admin.display(description=_("organization"))
    def owner(self, row: LicenseEvent) -> str:
        return row.organization.name

    @admin.display(description=_("values"))
    def values(self, row: LicenseEvent) -> SafeString:
        sides = {"before": row.before, "after": row.after}
        raw = json.dumps(sides, indent=2, ensure_ascii=False)
        return render_to_string("admin/licenses/licenseevent/values.html", {"values": values(row), "raw": raw, **sides})


@admin.register(LicenseList)
class LicenseListAdmin(_Records):
    """The lists that docks answered with: when, how many licenses, and the dock's word on consistence."""

    list_display = ("fetched", "dock", "inventory", "count_shown", "became", "consistent", "asked_with", "owner")
    list_display_links = ("fetched",)
    list_filter = (
        "device_model_domain", "complete", "applied", "consistence", ("device__organization", TenantFilter),
        ("fetched_at", admin.DateFieldListFilter),
    )  # fmt: skip
    list_select_related = ("device__organization",)
    search_fields = ("device__sn", "device__callsign")
    search_help_text = _("Serial number or callsign of the dock")
    fields = (
        "dock",
        "inventory",
        "fetched_exactly",
        "asked_exactly",
        "count_shown",
        "became",
        "consistent",
        "asked_with",
    )
    readonly_fields = fields

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": gettext("License lists read"), **(extra_context or {})})

    @admin.display(description=_("read"))
    def fetched(self, row: LicenseList) -> SafeString:
        return ago(row.fetched_at)

    @admin.display(description=_("read"))
    def fetched_exactly(self, row: LicenseList) -> str:
        return exact(row.fetched_at)

    @admin.display(description=_("asked for"))
    def asked_exactly(self, row: LicenseList) -> str:
        return exact(row.asked_at)

    @admin.display(description=_("dock"))
    def dock(self, row: LicenseList) -> str:
        return str(row.device)

    @admin.display(description=_("organization"))
    def owner(self, row: LicenseList) -> str:
        return row.device.organization.name if row.device.organization else "–"

    @admin.display(description=_("licenses"))
    def count_shown(self, row: LicenseList) -> str:
        return gettext("no list") if row.count is None else f"{row.count:,}"

    @admin.display(description=_("outcome"))
    def became(self, row: LicenseList) -> str:
        if row.count is None:
            return gettext("incomplete: no list in the answer, nothing was changed")
        if not row.applied:
            return gettext("overtaken: a later list was read first, nothing was changed")
        if row.complete:
            return gettext("applied")
        return gettext("incomplete: licenses were added, none removed")

    @admin.display(description=_("consistent, by the dock"))
    def consistent(self, row: LicenseList) -> str:
        if row.consistence is None:
            return gettext("not reported")
        return gettext("yes") if row.consistence else gettext("no")
