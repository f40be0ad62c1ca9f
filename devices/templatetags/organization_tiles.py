"""The tiles of an organization: its docks, calls and codes, for the page of the organization."""

from django import template
from django.db.models import Count
from django.template import RequestContext
from django.utils import timezone
from django.utils.translation import ngettext

from devices.diagnosis import needs
from devices.models import Device, ServiceCall
from devices.presence import Presence, watch
from organizations import codes
from organizations.models import BindingCode, Organization

register = template.Library()
DOCKS = "kind=dock&is_enabled__exact=1"


@register.inclusion_tag("admin/organizations/organization/tiles.html", takes_context=True)
def organization_tiles(context: RequestContext, organization: Organization) -> dict[str, object]:
    """Docks, docks offline, open calls, calls that failed, usable codes; each leads to its list. Four queries."""
    now = timezone.now()
    seen = watch(now)
    mine = f"organization__id__exact={organization.pk}"
    docks = Device.objects.filter(organization=organization, is_enabled=True).docks()
    counted = docks.aggregate(all=Count("pk"), offline=Count("pk", filter=seen.matching(Presence.OFFLINE)))
    calls = ServiceCall.objects.filter(organization=organization)
    is_usable = codes.in_state(BindingCode.objects.filter(organization=organization), codes.State.USABLE, now)
    failed = calls.filter(needs.in_trouble(now)).count()
    usable = is_usable.count()
    open_calls = calls.open().count()
    offline = counted["offline"]
    devices, called = "admin:devices_device_changelist", "admin:devices_servicecall_changelist"
    tiles = [
        ("", counted["all"], ngettext("dock", "docks", counted["all"]), devices, f"{DOCKS}&{mine}"),
        (
            "bad" if offline else "",
            offline if seen.bridge_alive else "?",
            ngettext("dock offline", "docks offline", offline),
            devices,
            f"{DOCKS}&{mine}&presence=offline",
        ),
        ("", open_calls, ngettext("open command", "open commands", open_calls), called, f"{mine}&state=open&by=all"),
        (
            "bad" if failed else "",
            failed,
            ngettext("command did not succeed in 24 hours", "commands did not succeed in 24 hours", failed),
            called,
            f"{mine}&state=trouble",
        ),
        (
            "",
            usable,
            ngettext("usable code", "usable codes", usable),
            "admin:organizations_bindingcode_changelist",
            f"{mine}&state=usable",
        ),
    ]
    return {"tiles": tiles}
