"""The licenses of one dock: what is approved for it beside what its aircraft has."""

from typing import Final, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devices.models import Device
from devices.presence import watch
from licenses import comparison, switching, validity, wording
from licenses.admin import cells
from licenses.admin.cells import Shown
from licenses.comparison import Comparison, Pair, Side
from licenses.models import Inventory, UnlockLicense
from organizations.admin.tenant import TenantAdmin, may
from organizations.models import Role
from organizations.tenancy import restrict
from organizations.time_zones import Zone

ROWS = 500  # licenses on a dock's page; the list has them all
# The dock's own word on whether the inventories are the same: its kind, as of `Standing`, and a sentence.
CONSISTENCE: Final = {
    None: ("unsure", _("Not reported.")),
    True: ("good", _("The same.")),
    False: ("bad", _("Not the same.")),
}


class Line(NamedTuple):
    """One license of the comparison."""

    pair: Pair
    shown: Shown
    sentence: str
    approved: tuple[str, str]
    imported: tuple[str, str]


class DockPages(TenantAdmin):
    """Adds `dock/<key>/` below the list: the comparison, with `?fragment` nothing but it."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.dock_view)
        return [path("dock/<int:pk>/", view, name="licenses_unlocklicense_dock"), *super().get_urls()]

    def dock_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        devices = restrict(Device.objects.select_related("organization", "site", "state"), request.user)
        device = devices.filter(pk=pk).first()
        if device is None or device.is_aircraft or not self.has_view_permission(request):
            raise Http404
        context = dock_page(request, device)
        if "fragment" in request.GET:
            return TemplateResponse(request, "admin/licenses/dock.html", context)
        context |= {
            **self.admin_site.each_context(request),
            "title": gettext("Licenses of {dock}").format(dock=device),
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/licenses/dock_page.html", context)


def dock_page(request: HttpRequest, device: Device) -> dict[str, object]:
    """What the comparison shows to this user."""
    watched = watch()
    compared = comparison.compare(device, now=watched.now)
    pairs = sorted(compared.pairs, key=lambda pair: not pair.differences)
    attempts = switching.attempts(pair.any for pair in pairs[:ROWS])
    # An incomplete list says nothing of the licenses it lacks.
    complete_at = {
        side.inventory: side.applied.fetched_at
        for side in (compared.aircraft, compared.dock)
        if side.applied is not None and side.applied.complete
    }
    lines, zone = [], validity.zone_of(device)
    for pair in pairs[:ROWS]:
        row = pair.any
        row.device = device
        shown = cells.show_one(
            row,
            request,
            pair=pair,
            watched=watched,
            attempt=attempts.get((device.pk, row.license_id)),
            complete_at=complete_at.get(Inventory(row.device_model_domain)),
        )
        lines.append(Line(pair, shown, wording.describe(row), _side(pair.dock, zone), _side(pair.aircraft, zone)))
    return {
        "dock": device,
        "compared": compared,
        "sides": [_inventory(compared.dock), _inventory(compared.aircraft)],
        "verdict": _verdict(compared),
        "said": CONSISTENCE[compared.consistence],
        "lines": lines,
        "more": len(pairs) - len(lines),
        "may_update": device.organization_id is not None and may(request, Role.OPERATOR, device.organization_id),
        "source": f"{reverse('admin:licenses_unlocklicense_dock', args=[device.pk])}?fragment",
        "list": f"{reverse('admin:licenses_unlocklicense_changelist')}?device={device.pk}",
        "map": f"{reverse('admin:licenses_unlocklicense_map')}?device={device.pk}",
        "commands": f"{reverse('admin:devices_device_change', args=[device.pk])}#commands",
        "lists": f"{reverse('admin:licenses_licenselist_changelist')}?q={device.sn}",
    }


def _side(row: UnlockLicense | None, zone: Zone) -> tuple[str, str]:
    """A license as one inventory has it: on or off, and its window."""
    if row is None:
        return "", ""
    if row.enabled is None:
        return gettext("on/off not reported"), validity.window(row, zone)
    return gettext("on") if row.enabled else gettext("off"), validity.window(row, zone)


def _inventory(side: Side) -> dict[str, object]:
    """How far an inventory can be trusted."""
    latest = side.latest
    return {
        "label": side.inventory.label,
        "is_known": side.is_known,
        "at": side.applied.fetched_at if side.applied else None,
        "count": side.applied.count if side.applied else None,
        "is_stale": side.is_known and side.is_stale,
        "is_incomplete": side.is_incomplete,
        "incomplete_at": latest.fetched_at if latest is not None and side.is_incomplete else None,
        "kept": side.is_known and side.is_incomplete and latest is not side.applied,
    }


def _verdict(compared: Comparison) -> tuple[str, str]:
    """The result of our comparison: its kind, as of `Standing`, and a sentence."""
    if not compared.is_comparable:
        return "unsure", gettext("Not known: both inventories must be read first.")
    different = sum(1 for pair in compared.pairs if pair.differences)
    is_doubtful = any(side.is_stale or side.is_incomplete for side in (compared.aircraft, compared.dock))
    total = len(compared.pairs)
    if different and is_doubtful:
        words = gettext("{count} of {total} licenses differ by lists that are old or incomplete.")
        return "bad", words.format(count=different, total=total)
    if different:
        return "bad", gettext("{count} of {total} licenses differ.").format(count=different, total=total)
    if is_doubtful:
        return "unsure", gettext("Both inventories are the same by lists that are old or incomplete.")
    return "good", gettext("Both inventories are the same.")
