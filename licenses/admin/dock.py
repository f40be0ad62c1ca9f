"""The licenses of one dock: what is approved for it beside what its aircraft has."""

from typing import Any, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from devices.models import Device
from devices.presence import watch
from licenses import catalog, switching, validity, wording
from licenses.admin import cells
from licenses.admin.cells import Shown
from licenses.catalog import Comparison, Pair, Side
from licenses.models import Inventory, UnlockLicense
from organizations.admin.tenant import TenantAdmin, may
from organizations.models import Role
from organizations.tenancy import restrict

ROWS = 500  # licenses on a dock's page; the list has them all


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
        devices = restrict(Device.objects.select_related("organization", "state"), request.user)
        device = devices.filter(pk=pk).first()
        if device is None or device.is_aircraft or not self.has_view_permission(request):
            raise Http404
        context = dock_page(request, device)
        if "fragment" in request.GET:
            return TemplateResponse(request, "admin/licenses/dock.html", context)
        context |= {**self.admin_site.each_context(request), "title": f"Licenses of {device}", "opts": self.opts}
        return TemplateResponse(request, "admin/licenses/dock_page.html", context)


def dock_page(request: HttpRequest, device: Device) -> dict[str, Any]:
    """What the comparison shows to this user."""
    watched = watch()
    compared = catalog.compare(device, now=watched.now)
    pairs = sorted(compared.pairs, key=lambda pair: not pair.differences)
    attempts = switching.attempts(pair.any for pair in pairs[:ROWS])
    may_switch = may(request, Role.OPERATOR, device.organization_id)
    sides = {Inventory.AIRCRAFT: compared.aircraft, Inventory.DOCK: compared.dock}
    lines = []
    for pair in pairs[:ROWS]:
        row = pair.any
        row.device = device
        seen = validity.as_of(row, _listed_at(sides[Inventory(row.device_model_domain)]))
        attempt = attempts.get((device.pk, row.license_id))
        why = [cells.why_not(row, side, attempt, watched) if may_switch else "" for side in (True, False)]
        twin = pair.dock if row is pair.aircraft else pair.aircraft
        is_stale = validity.is_stale(seen, watched.now)
        shown = Shown(row, watched.now, twin, pair.differences, attempt, seen, is_stale, may_switch, *why)
        sentence = wording.describe(row)
        lines.append(Line(pair, shown, sentence, _side(pair.dock), _side(pair.aircraft)))
    return {
        "dock": device,
        "compared": compared,
        "sides": [_told(compared.dock), _told(compared.aircraft)],
        "verdict": _verdict(compared),
        "said": _said(compared),
        "lines": lines,
        "more": len(pairs) - len(lines),
        "source": f"{reverse('admin:licenses_unlocklicense_dock', args=[device.pk])}?fragment",
        "list": f"{reverse('admin:licenses_unlocklicense_changelist')}?device={device.pk}",
        "map": f"{reverse('admin:licenses_unlocklicense_map')}?device={device.pk}",
        "commands": f"{reverse('admin:devices_device_change', args=[device.pk])}#commands",
        "lists": f"{reverse('admin:licenses_licenselist_changelist')}?q={device.sn}",
    }


def _listed_at(side: Side) -> Any:
    """When the row's list was read, if it was complete; an incomplete one says nothing of those it lacks."""
    return side.applied.fetched_at if side.applied is not None and side.applied.complete else None


def _side(row: UnlockLicense | None) -> tuple[str, str]:
    """A license as one inventory has it: on or off, and its window."""
    if row is None:
        return "", ""
    return "not told whether on" if row.enabled is None else "on" if row.enabled else "off", validity.window(row)


def _told(side: Side) -> dict[str, Any]:
    """How much an inventory is to be trusted, in words."""
    latest = side.latest
    kept = side.is_known and side.is_incomplete and latest is not side.applied
    return {
        "label": side.inventory.label,
        "is_known": side.is_known,
        "at": side.applied.fetched_at if side.applied else None,
        "count": side.applied.count if side.applied else None,
        "is_stale": side.is_known and side.is_stale,
        "is_incomplete": side.is_incomplete,
        "incomplete_at": latest.fetched_at if latest is not None and side.is_incomplete else None,
        "kept": kept,
    }


def _verdict(compared: Comparison) -> tuple[str, str]:
    """What our comparison found: its kind and a sentence."""
    if not compared.is_comparable:
        return "unsure", "Not known: both inventories must be read first."
    different = sum(1 for pair in compared.pairs if pair.differences)
    old = " by lists that are old or incomplete" if _is_doubtful(compared) else ""
    if different:
        return "bad", f"{different} of {len(compared.pairs)} licenses differ{old}."
    return ("unsure" if old else "good"), f"Both inventories are the same{old}."


def _is_doubtful(compared: Comparison) -> bool:
    return any(side.is_stale or side.is_incomplete for side in (compared.aircraft, compared.dock))


def _said(compared: Comparison) -> tuple[str, str]:
    """DJI's own word on it."""
    if compared.consistence is None:
        return "unsure", "The dock has not told."
    return ("good", "The same.") if compared.consistence else ("bad", "Not the same.")
