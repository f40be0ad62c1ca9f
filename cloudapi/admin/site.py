"""The admin site: its name, the bridge's banner on every page, and the start page."""

import re
from collections.abc import Callable
from functools import partial, wraps
from typing import TypeVar, cast

from django.contrib.admin import AdminSite
from django.contrib.admin.templatetags import admin_list
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from cloudapi.admin import acknowledging_pages, closing_page, help_page, search, start_page, system_page
from cloudapi.admin.start_page import BridgeStatus
from cloudapi.attention import DOCKS_FILTER
from organizations.language import scripts
from organizations.models import Role
from organizations.people.views import SignIn, may_change_password
from organizations.tenancy import held_by

View = TypeVar("View", bound=Callable[..., HttpResponseBase])

PRODUCT = "Dock Cloud"
# What is used all day comes first; apps that are not listed here come last, under their own names.
APPS = {
    "devices": _("Devices"),
    "licenses": _("Unlock licenses"),
    "mqtt_bridge": _("Bridge"),
    "organizations": _("Organizations"),
    "auth": _("Users"),
    "axes": _("Sign-in protection"),
}
ROLES = {Role.VIEWER: _("viewer"), Role.OPERATOR: _("operator"), Role.MANAGER: _("manager")}
# How rows come into lists that nobody adds to, by the names of their add pages.
_REPORTED = _("Docks report what is in it.")
_SENT = _("It has the commands that were sent: from the page of a dock, or for docks chosen in the list of devices.")
_RECORDED = _("The server records in it what happens.")
ORIGINS = {
    "axes_accessattempt_add": _RECORDED,
    "axes_accessfailurelog_add": _RECORDED,
    "axes_accesslog_add": _RECORDED,
    "devices_dockconnection_add": _("It has the docks of the list of devices: add a device there."),
    "devices_servicecall_add": _SENT,
    "devices_servicecallbatch_add": _SENT,
    "licenses_licenseevent_add": _REPORTED,
    "licenses_licenselist_add": _REPORTED,
    "licenses_unlocklicense_add": _REPORTED,
    "mqtt_bridge_exchange_add": _RECORDED,
    "mqtt_bridge_heartbeat_add": _RECORDED,
    "organizations_auditevent_add": _RECORDED,
    "organizations_bindingfailure_add": _RECORDED,
    "organizations_filejob_add": _("It has the files of exports and imports: start one in another list."),
    "organizations_membership_add": _("Invite a person: who accepts is a member."),
}
ALL_DAY = ("Device", "UnlockLicense", "ServiceCall", "Exchange", "BindingCode", "Organization")


def _yes_or_no(value: bool | None) -> str:
    return "–" if value is None else gettext("yes") if value else gettext("no")


# The stock icon for a boolean makes a fault of a harmless "no", and has no words in Chinese.
admin_list._boolean_icon = _yes_or_no  # type: ignore[attr-defined]  # the stubs leave it out


class DockCloudAdminSite(AdminSite):
    """The stock admin under our name; apps register on it with `@admin.register` as usual."""

    site_title = PRODUCT
    site_header = PRODUCT
    site_url = None
    index_title = _("What needs me now?")
    empty_value_display = "–"
    enable_nav_sidebar = False  # busy lists need its room; the menu at the top has what is used all day

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """On every page answer 400 for NUL, which PostgreSQL refuses, and for huge numbers, which SQLite refuses.

        An add page that nobody has says how the rows come.
        """

        @wraps(view)
        def checked(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
            if any("\0" in text for name, values in request.GET.lists() for text in (name, *values)):
                raise BadRequest(gettext("NUL in the query string."))
            try:
                return view(request, *args, **kwargs)
            except PermissionDenied:
                match = request.resolver_match
                if match is None or match.url_name not in ORIGINS:
                    raise
                text = gettext("Nobody adds to this list by hand. {how}").format(how=ORIGINS[match.url_name])
                raise PermissionDenied(text) from None
            except OverflowError:
                # SQLite's driver takes no number of more than 64 bits, and only an address holds one.
                if not re.search(r"\d{19}", request.get_full_path()):
                    raise
                raise BadRequest(gettext("A number in the address is too large.")) from None

        return super().admin_view(cast(View, checked), cacheable)

    def login(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        """The stock page; a second factor and an identity provider may belong to it."""
        context = {**self.each_context(request), "title": _("Log in"), "subtitle": None, **(extra_context or {})}
        return cast(HttpResponse, SignIn.as_view(extra_context=context)(request))

    def password_change(  # type: ignore[override]  # the stubs' does not redirect either
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The stock page, for so many tries: who found an open browser does not guess the password here."""
        if not may_change_password(request):
            text = gettext("Too many tries to change the password. Try again in 15 minutes.")
            return render(request, "error.html", {"title": gettext("Too many tries"), "text": text}, status=429)
        return super().password_change(request, extra_context)

    def each_context(self, request: HttpRequest) -> dict[str, object]:
        context = super().each_context(request)
        if context["has_permission"]:
            context["bridge"] = _bridge(request)
            context["all_day"] = ALL_DAY
            context["membership"] = partial(_membership, request)  # asked for by the header alone
            context["script_texts"] = scripts.query()
            context["help_part"] = help_page.part_of(request)
        return context

    def i18n_javascript(self, request: HttpRequest, extra_context: object = None) -> HttpResponse:
        """What scripts say, in the language of the page."""
        return scripts.response(request)

    def index(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> TemplateResponse:
        overview = start_page.overview(request.user, bridge=_bridge(request))
        return super().index(request, {"attention": overview, "docks_filter": DOCKS_FILTER, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern | URLResolver]:
        # Not above: it imports the pages of the apps, which register on this site.
        from cloudapi.admin import sign_in_protection as sign_in_protection  # names its rows
        from cloudapi.admin import tables_pages

        def system(request: HttpRequest) -> HttpResponseBase:
            return system_page.system(request, self.each_context(request))

        def found(request: HttpRequest) -> HttpResponseBase:
            return search.page(request, self.each_context(request))

        def guide(request: HttpRequest) -> HttpResponseBase:
            return help_page.page(request, self.each_context(request))

        def bridge(request: HttpRequest) -> HttpResponseBase:
            # the banner alone, which every open page asks for again and again
            return TemplateResponse(request, "admin/bridge_status.html", {"bridge": _bridge(request)})

        def acknowledge(request: HttpRequest, kind: str) -> HttpResponseBase:
            visit = start_page.visit_of(request.user, _bridge(request))
            return acknowledging_pages.acknowledge(request, kind, visit, self.each_context(request))

        def end(request: HttpRequest, pk: int) -> HttpResponseBase:
            return acknowledging_pages.end(request, pk, start_page.visit_of(request.user, _bridge(request)))

        return [
            path("search/", self.admin_view(require_safe(found)), name="search"),
            path("help/", self.admin_view(require_safe(guide)), name="help"),
            path("system/", self.admin_view(system), name="system"),
            path("bridge/", self.admin_view(bridge), name="bridge"),
            path("acknowledge/<slug:kind>/", self.admin_view(acknowledge), name="acknowledge"),
            path("acknowledged/<int:pk>/end/", self.admin_view(end), name="end_acknowledgement"),
            *closing_page.urls(self),
            *tables_pages.urls(self),
            *super().get_urls(),
        ]

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, object]]:
        if app_label is None and hasattr(request, "_apps"):  # the start page asks twice
            found: list[dict[str, object]] = request._apps
            return found
        order = list(APPS)
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["name"] = APPS.get(app["app_label"], app["name"])
        apps.sort(key=lambda app: order.index(app["app_label"]) if app["app_label"] in APPS else len(order))
        if app_label is None:
            request._apps = apps  # type: ignore[attr-defined]
        return apps


def _bridge(request: HttpRequest) -> BridgeStatus:
    """The bridge's status, read once per request."""
    if not hasattr(request, "_bridge"):
        request._bridge = start_page.bridge_status()  # type: ignore[attr-defined]
    found: BridgeStatus = request._bridge  # type: ignore[attr-defined]
    return found


def _membership(request: HttpRequest) -> dict[str, object]:
    """The organization and role of the user, for the header; of several organizations their number and names."""
    held = held_by(request.user)
    if len(held) == 1:
        return {"pk": held[0].organization_id, "name": held[0].name, "role": ROLES[Role(held[0].role)], "count": 1}
    return {"count": len(held), "names": ", ".join(one.name for one in held)}
