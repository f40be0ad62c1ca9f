"""The panels of a device's page: its state, its onboarding, and what happened to it lately."""

from datetime import datetime

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, pgettext

from devices.diagnosis import exchanges, needs, tracing
from devices.diagnosis.onboarding import onboarding
from devices.models import BrokerAccount, Device, Pairing
from devices.presence import Presence, watch
from mqtt_bridge.models import Exchange, PassingEvent
from mqtt_bridge.protocol import model_keys
from organizations.admin.tenant import HISTORY_ROLE, may, readable, roles
from organizations.models import AuditEvent, Role
from organizations.tenancy import is_platform_staff, restrict

RECENT = 20  # exchanges, pairings and audit events, each


def device_link(device: Device) -> SafeString:
    """Callsign and serial number, linked to the device's page."""
    return format_html('<a href="{}">{}</a>', page_of(device), device)


def page_of(device: Device) -> str:
    return reverse("admin:devices_device_change", args=[device.pk])


def presence_word(device: Device, presence: Presence) -> SafeString:
    """The presence as a coloured word with a mark that does not need the colour.

    An aircraft that is offline is switched off in its dock, as it is most of the time. That is no reason for alarm.
    """
    if presence == Presence.OFFLINE and device.is_aircraft:
        return format_html('<span class="presence">{}</span>', pgettext("aircraft", "switched off"))
    return format_html('<span class="presence presence-{}">{}</span>', presence.value, presence.label)


def device_page(request: HttpRequest, device: Device) -> dict[str, object]:
    """What a device's page shows beside the form, as far as this user may see it."""
    now_watched = watch()
    state = getattr(device, "state", None)
    visible = restrict(Exchange.objects.all(), request.user)
    visible_devices = restrict(Device.objects.all(), request.user)
    is_aircraft = device.is_aircraft
    gateway = visible_devices.filter(pk=device.gateway_id).first() if device.gateway_id else None
    refused = needs.refusals([device], visible, now_watched.now).get(device.sn, ())
    remarks = needs.not_adopted().filter(dock=device).select_related("aircraft")
    return {
        "state": state,
        "presence": presence_word(device, now_watched.presence(state)),
        "connected_since": connected_since(device, visible),
        "bridge_alive": now_watched.bridge_alive,
        "needs": needs.needs(device, refused, remarks),
        "mode": model_keys.describe_mode(state.mode_code, device.model_key, get_language() or "en")
        if state and state.mode_code is not None
        else "",
        "position": f"{state.latitude:.6f}, {state.longitude:.6f}" if state and state.latitude is not None else "",
        "map_query": f"mlat={state.latitude}&mlon={state.longitude}" if state and state.latitude is not None else "",
        "clock": clock(state.clock_skew_ms) if state else "",
        "gateway": device_link(gateway) if gateway else "",
        "carried": [
            (device_link(aircraft), presence_word(aircraft, now_watched.presence(getattr(aircraft, "state", None))))
            for aircraft in visible_devices.filter(gateway=device).select_related("state").order_by("sn")
        ],
        "pairings": pairings_of(request, device),
        "is_aircraft": is_aircraft,
        "onboarding": None if is_aircraft else onboarding(device.sn, device=device, visible=visible),
        "recent": [
            (row, exchanges.WORDS.get(row.became, row.became))
            for row in visible.filter(gateway_sn=device.sn).defer("payload", "reply")[:RECENT]
        ],
        "passing": [
            (event, exchanges.pretty(event.payload))
            for event in restrict(PassingEvent.objects.filter(gateway_sn=device.sn), request.user)
        ],
        "traced_until": tracing.traced_until(device),
        "may_trace": may(request, Role.OPERATOR, device.organization_id),
        "events": audit_trail(request, device)[:RECENT],
        "properties": exchanges.indented(state.properties) if state and state.properties else "",
        "may_release": device.is_bound and may(request, Role.MANAGER, device.organization_id),
        "may_retire": device.retired_at is None and may(request, Role.MANAGER, device.organization_id),
        "may_group": device.is_bound and may(request, Role.OPERATOR, device.organization_id),
        "labels": device.labels.all(),
        "shown_at": now_watched.now,
    }


def connected_since(device: Device, exchanges: QuerySet[Exchange]) -> datetime | None:
    """When it connected last, as far as anything shows it; `exchanges` are those that the user may see.

    A dock that restarts is back before anybody notices its silence: then only what it does first shows it, its sign-in
    at the broker and its request for the DJI license.
    """
    state = getattr(device, "state", None)
    moments = [state.connected_since] if state is not None else []
    if not device.is_aircraft:
        asked = exchanges.filter(gateway_sn=device.sn, method="config", channel="requests", by_enrolment=False)
        moments.append(asked.order_by("-received_at").values_list("received_at", flat=True).first())
        moments += BrokerAccount.objects.filter(device=device).values_list("last_connected_at", flat=True)
    return max((moment for moment in moments if moment is not None), default=None)


def pairings_of(request: HttpRequest, device: Device) -> list[tuple[Pairing, SafeString | str]]:
    """The newest pairings of a device, each with the other side, linked where this user may see it.

    A pairing that ended before the device was bound is a former owner's: only platform staff sees it. The owner of a
    dock sees the serial number of whatever the dock names; a dock of another owner is not named.
    """
    staff = is_platform_staff(request.user)
    rows = Pairing.objects.filter(Q(dock=device) | Q(aircraft=device)).select_related("dock", "aircraft")
    if not staff:
        rows = rows.filter(Q(until=None) | Q(until__gt=device.bound_at or timezone.now()))
    found: list[tuple[Pairing, SafeString | str]] = []
    for row in rows[:RECENT]:
        other = row.aircraft if row.dock_id == device.pk else row.dock
        if staff or other.organization_id in roles(request):
            found.append((row, device_link(other)))
        elif row.dock_id == device.pk:
            found.append((row, other.sn))
    return found


def audit_trail(request: HttpRequest, device: Device) -> QuerySet[AuditEvent]:
    """What was done to this device while it belonged to organizations that this user manages."""
    events = readable(AuditEvent.objects.select_related("user", "api_key"), request, HISTORY_ROLE)
    return events.filter(object_type=device._meta.label, object_id=str(device.pk))


def clock(skew_ms: int | None) -> str:
    """How exact the device's clock is, in words; empty if it never sent the time."""
    if skew_ms is None:
        return ""
    exact = gettext("{seconds} s ahead") if skew_ms > 0 else gettext("{seconds} s behind")
    return needs.clock_error(skew_ms) or exact.format(seconds=f"{abs(skew_ms) / 1000:.1f}")
