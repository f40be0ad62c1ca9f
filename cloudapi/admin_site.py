"""The admin's front: its name, the bridge's banner on every page, and the dashboard."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.template.response import TemplateResponse

from cloudapi import attention
from cloudapi.attention import BridgeStatus

PRODUCT = "Dock Cloud"
# What is used all day comes first; apps that are not named here come last, under their own names.
APPS = {
    "devices": "Devices",
    "licenses": "Unlock licenses",
    "mqtt_bridge": "Bridge",
    "organizations": "Organizations",
    "auth": "Users",
    "axes": "Sign-in protection",
}
ALL_DAY = ("Device", "UnlockLicense", "ServiceCall", "Exchange", "BindingCode", "Organization")


class DockCloudAdminSite(AdminSite):
    """The stock admin under our name; apps register on it with `@admin.register` as usual."""

    site_title = PRODUCT
    site_header = PRODUCT
    site_url = None
    index_title = "What needs me now?"
    empty_value_display = "–"
    enable_nav_sidebar = False  # busy lists need its room; the menu at the top has what is used all day

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        """Every page of the admin; NUL, which PostgreSQL refuses, and huge numbers, which SQLite does, get a 400."""

        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if any("\0" in text for name, values in request.GET.lists() for text in (name, *values)):
                raise BadRequest("NUL in the query string.")
            try:
                return view(request, *args, **kwargs)
            except OverflowError:
                # SQLite's driver takes no number of more than 64 bits; nothing but an address has one.
                if not re.search(r"\d{19}", request.get_full_path()):
                    raise
                raise BadRequest("A number in the address is too large.") from None

        return super().admin_view(checked, cacheable)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        if context["has_permission"]:
            context["bridge"] = _bridge(request)
            context["all_day"] = ALL_DAY
        return context

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        overview = attention.overview(request.user, bridge=_bridge(request))
        return super().index(request, {"attention": overview, **(extra_context or {})})

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["name"] = APPS.get(app["app_label"], app["name"])
        order = list(APPS)
        return sorted(apps, key=lambda app: order.index(app["app_label"]) if app["app_label"] in APPS else len(order))


def _bridge(request: HttpRequest) -> BridgeStatus:
    """The bridge's status, asked once per request."""
    if not hasattr(request, "_bridge"):
        request._bridge = attention.bridge_status()  # type: ignore[attr-defined]
    found: BridgeStatus = request._bridge  # type: ignore[attr-defined]
    return found
