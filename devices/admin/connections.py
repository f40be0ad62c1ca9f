"""Who connects to the broker with what: the list of docks, and the panel on a dock's page."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, Model, OuterRef, Prefetch, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from devices.admin.credentials import may_manage
from devices.admin.filters import OptionFilter, SiteFilter
from devices.admin.importing import ImportPages
from devices.admin.panels import page_of
from devices.broker import connections
from devices.broker.connections import Remark, Way
from devices.models import BrokerAccount, Device, DockConnection
from devices.templatetags.moments import ago
from mqtt_bridge import access_list
from organizations.admin.spreadsheet import MARK, encoded
from organizations.admin.tenant import TenantFilter
from organizations.models import Role

CHUNK: Final = 500  # rows at once
OF_ORGANIZATION: Final = "organization__id__exact"  # the parameter of the list's filter
# What is on the tiles above the list; the colour is how bad it is.
TILES: Final = (
    (Way.OWN, "good", _("use their own account")),
    (Way.UNUSED, "", _("have one, not used yet")),
    (Way.ENROLMENT, "bad", _("still use an enrolment account")),
    (Way.NONE, "", _("have no account")),
    (Remark.EXPIRING, "bad", _("use a secret that ends within 3 days")),
    (Remark.REVOKED, "", _("had all accounts revoked")),
)
# Only the order asks for it: as a column it would be looked up for every dock, of which a page shows a hundred.
LAST_CONNECTED: Final = Subquery(
    BrokerAccount.objects.filter(device=OuterRef("pk"), last_connected_at__isnull=False)
    .order_by("-last_connected_at")
    .values("last_connected_at")[:1]
)
COLUMNS: Final = (
    "dock", "callsign", "organization", "connects_with", "user_name", "since", "last_connected", "last_address", "ends",
    "last_enrolment",
)  # fmt: skip


class Shown(NamedTuple):
    """How one dock connects."""

    way: Way
    account: BrokerAccount | None  # the one in use; else the newest
    others: Sequence[BrokerAccount]  # valid beside it


class WithShown(TypedDict):
    """What the list adds to each dock of its page."""

    shown: Shown


if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    ListedDock = WithAnnotations[DockConnection, WithShown]


def alive_accounts(now: datetime) -> "Prefetch[str]":
    """The valid accounts of docks, newest first, as `alive_accounts`."""
    return Prefetch("broker_accounts", BrokerAccount.objects.alive(now), to_attr="alive_accounts")


def shown(device: Device, alive: Sequence[BrokerAccount]) -> Shown:
    """How this dock connects with these valid accounts."""
    account = connections.in_use(alive)
    return Shown(connections.way_of(device, alive), account, [other for other in alive if other != account])


def connection_panel(request: HttpRequest, device: Device) -> dict[str, object]:
    """What a dock's page shows of its accounts. One query."""
    now = timezone.now()
    rows = list(BrokerAccount.objects.filter(device=device).select_related("created_by"))
    alive = [row for row in rows if row.is_alive(now)]
    found = shown(device, alive)
    return {
        "connection": found,
        "connection_ends_soon": found.account is not None and connections.is_ending(found.account, now),
        "access_list": access_list.is_kept(),
        "revoked": next((row for row in rows if row.revoked_at), None),
        "may_manage_connection": may_manage(request, device),
    }


class WayFilter(OptionFilter[Device]):
    """Docks by how they connect."""

    title = _("what it connects with")
    parameter_name = "way"
    options = {str(value): label for value, label in (*Way.choices, *Remark.choices)}

    def chosen(self, rows: QuerySet[Device], value: str) -> QuerySet[Device]:
        return rows.filter(connections.matching(value, timezone.now()))


@admin.register(DockConnection)
class DockConnectionAdmin(ImportPages):
    """Docks by how they connect. What is changed here are their accounts, by actions; a row opens the dock's page."""

    view_role = Role.VIEWER
    list_display = ("dock", "connects_with", "owner", "since", "last_connected", "ends")
    list_display_links = None
    list_filter = (WayFilter, ("organization", TenantFilter), SiteFilter)
    list_select_related = ("organization",)
    list_per_page = 100
    list_max_show_all = 1000
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # the tiles have the numbers
    search_fields = ("sn", "callsign", "organization__name", "organization__organization_id")
    search_help_text = _("Serial number, callsign or organization")
    actions = ("issue_credentials", "rotate_credentials", "revoke_credentials")
    change_list_template = "admin/devices/dockconnection/change_list.html"

    class Media:
        css = {"all": ["devices/devices.css"]}

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        return connections.gateways(super().get_queryset(request))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.csv_view)
        return [path("export.csv", view, name="devices_dockconnection_csv"), *super().get_urls()]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list, with the accounts of its docks, in a constant number of queries."""
        page = super().get_changelist_instance(request)
        page.title = gettext("Who connects with what")
        page.result_list = _shown_all(page.result_list)
        return page

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        """With the tiles; they count the docks that the user may see, of one organization if that is chosen."""
        now = timezone.now()
        counted = {f"n_{way}": Count("pk", filter=connections.matching(way, now)) for way, _, _ in TILES}
        rows = connections.gateways(super().get_queryset(request))
        organization = request.GET.get(OF_ORGANIZATION, "")
        if is_chosen := re.fullmatch("[0-9]{1,18}", organization) is not None:
            rows = rows.filter(organization=int(organization))
        counts = rows.order_by().aggregate(**counted)
        tiles = [
            (way, kind if counts[f"n_{way}"] else "", words, counts[f"n_{way}"])
            for way, kind, words in TILES
            if counts[f"n_{way}"] or way not in Remark.values
        ]
        context = {
            "tiles": tiles,
            "way": request.GET.get("way", ""),
            "with_organization": f"&{urlencode({OF_ORGANIZATION: organization})}" if is_chosen else "",
            "access_list": access_list.is_kept(),
            "may_issue": self.has_credentials_permission(request),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: object = None
    ) -> HttpResponse:
        """The dock's own page."""
        device = self.get_object(request, object_id)
        if device is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        return HttpResponseRedirect(f"{page_of(device)}#connection")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @method_decorator(require_safe)
    def csv_view(self, request: HttpRequest) -> StreamingHttpResponse:
        """The filtered list, all of its pages, without secrets: nobody has those."""
        found = self.filtered(request, super().get_changelist_instance)
        keys = list(found.queryset.values_list("pk", flat=True))

        def pieces() -> Iterator[bytes]:
            yield MARK + encoded([COLUMNS])
            for start in range(0, len(keys), CHUNK):
                rows = DockConnection.objects.filter(pk__in=keys[start : start + CHUNK]).order_by("sn")
                yield encoded(_columns(dock) for dock in _shown_all(rows.select_related("organization")))

        headers = {
            "Content-Disposition": f'attachment; filename="connections-{timezone.now():%Y-%m-%d}.csv"',
            "Cache-Control": "private, no-store",
        }
        return StreamingHttpResponse(pieces(), headers=headers, content_type="text/csv; charset=utf-8")

    # --- columns ---------------------------------------------------------------------------

    @admin.display(description=_("dock"), ordering="callsign")
    def dock(self, dock: DockConnection) -> SafeString:
        small = dock.sn if dock.callsign not in ("", dock.sn) else ""
        name = dock.callsign or dock.sn
        return format_html('<a href="{}#connection">{}</a> <small>{}</small>', page_of(dock), name, small)

    @admin.display(description=_("organization"), ordering="organization__name")
    def owner(self, dock: DockConnection) -> str:
        return dock.organization.name if dock.organization else gettext("unclaimed")

    @admin.display(description=_("connects with"))
    def connects_with(self, dock: "ListedDock") -> SafeString:
        found = dock.shown
        if found.way == Way.ENROLMENT:
            last = format_html(pgettext("enrolment", "last {moment}"), moment=ago(dock.enrolled_at))
            return format_html('<span class="needs">{}</span> <small>{}</small>', found.way.label, last)
        name = found.account.username if found.account else ""
        kind = "on" if found.way == Way.OWN else "off"
        return format_html('<span class="state {}">{}</span> <small>{}</small>', kind, found.way.label, name)

    @admin.display(description=_("issued"))
    def since(self, dock: "ListedDock") -> SafeString | str:
        return ago(dock.shown.account.created) if dock.shown.account else ""

    @admin.display(description=_("last connected"), ordering=LAST_CONNECTED)
    def last_connected(self, dock: "ListedDock") -> SafeString | str:
        account = dock.shown.account
        if account is None:
            return ""
        if account.last_connected_at is None:
            return gettext("never")
        return format_html("{} <small>{}</small>", ago(account.last_connected_at), account.last_address)

    @admin.display(description=pgettext_lazy("column", "ends"))
    def ends(self, dock: "ListedDock") -> SafeString | str:
        account = dock.shown.account
        return ago(account.expires_at) if account is not None and account.expires_at else ""


def _shown_all(docks: "QuerySet[Any]") -> "list[ListedDock]":
    """These docks, each with how it connects. One query more."""
    found: list[ListedDock] = list(docks.prefetch_related(alive_accounts(timezone.now())))
    for dock in found:
        dock.shown = shown(dock, dock.alive_accounts)  # type: ignore[attr-defined]  # of the prefetch
    return found


def _columns(dock: "ListedDock") -> list[str | datetime | None]:
    account = dock.shown.account
    return [
        dock.sn,
        dock.callsign,
        dock.organization.name if dock.organization else "",
        str(dock.shown.way.label),
        account.username if account else "",
        account.created if account else None,
        account.last_connected_at if account else None,
        account.last_address if account else "",
        account.expires_at if account else None,
        dock.enrolled_at,
    ]
