"""The licenses of a dock, for the page of the dock."""

from django import template
from django.template import RequestContext

from devices.models import Device
from licenses.admin.dock import dock_page

register = template.Library()


@register.inclusion_tag("admin/licenses/dock.html", takes_context=True)
def dock_licenses(context: RequestContext, device: Device) -> dict[str, object]:
    """The comparison of its two inventories, kept current by static/devices/commands.js."""
    request = context["request"]
    return {**dock_page(request, device), "request": request, "csrf_token": context.get("csrf_token")}
