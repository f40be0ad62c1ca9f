"""The admin's front: its name, the bridge's banner on every page, and the dashboard."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse

from cloudapi import attention
from cloudapi.attention import BridgeStatus

PRODUCT = "Dock Cloud"


class DockCloudAdminSite(AdminSite):
    """The stock admin under our name; apps register on it with `@admin.register` as usual."""

    site_title = PRODUCT
    site_header = PRODUCT
    site_url = None
    index_title = "What needs me now?"
    empty_value_display = "–"

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        if context["has_permission"]:
            context["bridge"] = _bridge(request)
        return context

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        overview = attention.overview(request.user, bridge=_bridge(request))
        return super().index(request, {"attention": overview, **(extra_context or {})})


def _bridge(request: HttpRequest) -> BridgeStatus:
    """The bridge's status, asked once per request."""
    if not hasattr(request, "_bridge"):
        request._bridge = attention.bridge_status()  # type: ignore[attr-defined]
    found: BridgeStatus = request._bridge  # type: ignore[attr-defined]
    return found
