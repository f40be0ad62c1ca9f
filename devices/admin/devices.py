"""Devices, their state, their release, and the journal, as people see them."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Case, F, Prefetch, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from devices import pairing
from devices.admin.commands import CommandPages, panel
from devices.admin.device_pages import DevicePages
from devices.admin.filters import (
    AccountFilter,
    AttentionFilter,
    ChannelFilter,
    ClaimedFilter,
    ClockFilter,
    FirmwareFilter,
    KindFilter,
    LicenseListFilter,
    MethodFilter,
    OutcomeFilter,
    PresenceFilter,
)
from devices.diagnosis import attention, exchanges, tracing
from devices.diagnosis.onboarding import onboarding
from devices.live import broadcast
from devices.models import Device, Pairing
from devices.presence import Presence, watch
from devices.templatetags.moments import ago, exact
from mqtt_bridge.models import Exchange, Heartbeat, PassingEvent
from mqtt_bridge.protocol import mode_codes, model_keys
from organizations.admin.tenant import HISTORY_ROLE, ReadOnlyAdmin, TenantFilter, may, readable, roles
from organizations.models import AuditEvent, Organization, Role
from organizations.tenancy import is_platform_staff, restrict
from organizations.typed import TypedField, typed

RECENT = 20  # exchanges and audit events on a device's page
HISTORY = 500  # audit events on the page of a device's history
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING = "–"


def device_link(device: Device) -> SafeString:
    """Callsign and serial number, linked to the device's page."""
    return format_html('<a href="{}">{}</a>', page_of(device), device)


def short_link(device: Device) -> SafeString:
    """The callsign alone, linked, the serial number on hover: for a narrow column."""
    return format_html('<a href="{}" title="{}">{}</a>', page_of(device), device.sn, device.callsign or device.sn)


def page_of(device: Device) -> str:
    return reverse("admin:devices_device_change", args=[device.pk])


# --- devices -------------------------------------------------------------------------------------


class DeviceChangeList(ChangeList):
    """One page of devices with what their rows show besides their own columns, in a constant number of queries."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        mine = Q() if is_platform_staff(request.user) else Q(organization__in=roles(request)) | Q(organization=None)
        carried = Prefetch("carried", Device.objects.filter(mine).order_by("sn"), to_attr="visibly_carried")
        remarks = Prefetch("aircraft_pairings", attention.not_adopted().select_related("aircraft"), to_attr="remarks")
        self.result_list = devices = list(self.result_list.prefetch_related(carried, remarks))
        now_watched = watch()
        visible = restrict(Exchange.objects.all(), request.user)
        refused = attention.refusals(devices, visible, now_watched.now)
        for device in devices:
            device.presence = now_watched.presence(getattr(device, "state", None))
            device.needs = attention.needs(device, refused.get(device.sn, ()), device.remarks)
            device.may_name_gateway = is_platform_staff(request.user) or (
                device.gateway is not None and device.gateway.organization_id in roles(request)
            )


class AddDeviceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A device that nobody connected yet; DJI's product is a choice, the device corrects it when it connects."""

    model_key = forms.ChoiceField(
        label="Product",
        required=False,
        choices=[
            ("", "the device will say"),
            *(
                (key, f"{name} ({key})")
                for key, name in model_keys.PRODUCTS.items()
                if model_keys.domain(key) != model_keys.PAYLOAD
            ),
        ],
    )

    is_another = forms.BooleanField(
        label="It is another device",
        required=False,
        help_text="Only where the serial number differs from a known one in nothing but the case of letters.",
    )

    class Meta:
        model = Device
        fields = ("sn", "model_key", "organization", "callsign")
        field_classes = {"sn": TypedField}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        sn = cleaned.get("sn")
        known = Device.objects.filter(sn__iexact=sn).exclude(sn=sn).first() if sn else None
        if known is not None and not cleaned.get("is_another"):
            self.add_error("sn", f"Did you mean {known.sn}? It is here already. If not, tick “It is another device”.")
        return cleaned

    def clean_organization(self) -> Organization | None:
        owner: Organization | None = self.cleaned_data["organization"]
        if owner is not None and pairing.room_in({owner.pk: owner.device_limit}).get(owner.pk, 1) < 1:
            raise forms.ValidationError("This organization has as many devices as it may have.")
        return owner


@admin.register(Device)
class DeviceAdmin(CommandPages, DevicePages):
    """The list an operator looks at all day, and a device's page. Platform staff add, operators rename.

    Whoever may add a serial number may claim another's dock before it connects, and learn which ones exist.
    """

    add_role = None
    change_role = Role.OPERATOR

    list_display = (
        "last_seen", "device", "attention", "owner", "product", "carriage", "bound_since",
    )  # fmt: skip
    list_display_links = ("device",)
    list_filter = (
        PresenceFilter, AttentionFilter, ClockFilter, KindFilter, ClaimedFilter, ("organization", TenantFilter),
        AccountFilter, LicenseListFilter, FirmwareFilter,
    )  # fmt: skip
    list_select_related = ("organization", "state", "gateway")
    list_per_page = 100
    list_max_show_all = 1000
    show_full_result_count = False
    search_fields = ("sn", "callsign", "organization__name", "organization__organization_id")
    search_help_text = "Serial number, callsign or organization"
    ordering = (
        Case(When(organization=None, then=2), When(model_key__startswith="3-", then=0), default=1).asc(),
        "callsign",
        "sn",
    )
    actions = (
        "read_aircraft_selected", "read_dock_selected", "update_selected", "update_file_selected",
        "switch_selected",
        "release_selected", "enable_selected", "disable_selected",
    )  # fmt: skip
    readonly_fields = ("sn", "organization", "bound_at", "bound_with", "created")

    class Media:
        css = {"all": ["devices/devices.css", "devices/commands.css", "licenses/licenses.css"]}
        js = [Script("devices/refresh.js", type="module"), Script("devices/commands.js", type="module")]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeviceChangeList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Devices", **(extra_context or {})})

    # --- columns -------------------------------------------------------------------------------

    @admin.display(description="presence, last seen", ordering=Coalesce(F("state__last_seen"), Value(EPOCH)))
    def last_seen(self, device: Any) -> SafeString:
        seen = device.state.seen if hasattr(device, "state") else None
        return format_html("{} <small>{}</small>", presence_word(device, device.presence), ago(seen) if seen else "")

    @admin.display(description="device", ordering="callsign")
    def device(self, device: Device) -> SafeString:
        if device.callsign in ("", device.sn):
            return format_html('<span class="device-name">{}</span>', device.sn)
        return format_html('<span class="device-name">{}</span> <small>{}</small>', device.callsign, device.sn)

    @admin.display(description="product, firmware", ordering="model_key")
    def product(self, device: Device) -> SafeString:
        version = device.state.firmware_version if hasattr(device, "state") else ""
        return format_html("{} <small>{}</small>", device.model_name, version)

    @admin.display(description="organization", ordering="organization__name")
    def owner(self, device: Device) -> str:
        return device.organization.name if device.organization else "unclaimed"

    @admin.display(description="aircraft / dock")
    def carriage(self, device: Any) -> SafeString | str:
        if device.gateway is not None:
            return format_html("in {}", short_link(device.gateway)) if device.may_name_gateway else "in a dock"
        bound = [aircraft for aircraft in device.visibly_carried if aircraft.is_bound]
        return format_html_join(", ", "{}", ((short_link(aircraft),) for aircraft in bound)) or NOTHING

    @admin.display(description="needs attention")
    def attention(self, device: Any) -> SafeString:
        return format_html_join(
            "", '<span class="needs" title="{}">{}</span>', ((need.detail, need.words) for need in device.needs)
        )

    @admin.display(description="bound", ordering=Coalesce(F("bound_at"), Value(EPOCH)))
    def bound_since(self, device: Device) -> SafeString:
        return ago(device.bound_at)

    # --- one device ------------------------------------------------------------------------------

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs if change else {**kwargs, "form": AddDeviceForm})

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ("sn", "is_another", "model_key", "organization", "callsign")
        return ("callsign", "is_enabled", *self.readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ()
        managed = may(request, Role.MANAGER, obj.organization_id)
        return self.readonly_fields if managed else (*self.readonly_fields, "is_enabled")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change and obj.organization_id is not None:
            obj.bound_at, obj.claim = timezone.now(), Device.Claim.PERSON
        super().save_model(request, obj, form, change)
        broadcast.tell_device([obj])

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Platform staff may delete what nobody owns; everything else is released first."""
        return super().has_delete_permission(request, obj) and getattr(obj, "organization_id", None) is None

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        deleted, counts, missing, protected = super().get_deleted_objects(objs, request)
        bound = [format_html("{} is bound: release it first", device) for device in objs if device.is_bound]
        return deleted, counts, set() if bound else missing, [*protected, *bound]

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The audit trail: the admin's own log does not know whose device it was then."""
        device = self.get_object(request, unquote(object_id))
        if device is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        if not self.may_read_history(request, device):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": f"Who did what to {device}",
            "opts": self.opts,
            "object": device,
            "events": audit_trail(request, device)[:HISTORY],
        }
        return TemplateResponse(request, "admin/devices/device/history.html", context)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if context.get("original") is not None:
            context.update(device_page(request, context["original"]))
            if not context["is_aircraft"]:
                context.update(panel(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)


def presence_word(device: Device, presence: Any) -> SafeString:
    """The presence as a coloured word with a mark that does not need the colour.

    An aircraft that is offline is switched off in its dock, as it is most of the time: no reason for alarm.
    """
    if presence == Presence.OFFLINE and device.is_aircraft:
        return format_html('<span class="presence">{}</span>', "switched off")
    return format_html('<span class="presence presence-{}">{}</span>', presence.value, presence.label)


def device_page(request: HttpRequest, device: Device) -> dict[str, Any]:
    """What a device's page shows beside the form, as far as this user may see it."""
    now_watched = watch()
    state = getattr(device, "state", None)
    visible = restrict(Exchange.objects.all(), request.user)
    visible_devices = restrict(Device.objects.all(), request.user)
    is_aircraft = device.is_aircraft
    gateway = visible_devices.filter(pk=device.gateway_id).first() if device.gateway_id else None
    refused = attention.refusals([device], visible, now_watched.now)
    return {
        "state": state,
        "presence": presence_word(device, now_watched.presence(state)),
        "bridge_alive": now_watched.bridge_alive,
        "needs": attention.needs(
            device, refused.get(device.sn, ()), attention.not_adopted().filter(dock=device).select_related("aircraft")
        ),
        "mode": mode_codes.describe(state.mode_code, device.model_key) if state and state.mode_code is not None else "",
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
        "recent": visible.filter(gateway_sn=device.sn).defer("payload", "reply")[:RECENT],
        "passing": [
            (event, exchanges.pretty(event.payload))
            for event in restrict(PassingEvent.objects.filter(gateway_sn=device.sn), request.user)
        ],
        "traced_until": tracing.traced_until(device),
        "may_trace": may(request, Role.OPERATOR, device.organization_id),
        "events": audit_trail(request, device)[:RECENT],
        "properties": exchanges.indented(state.properties) if state and state.properties else "",
        "may_release": device.is_bound and may(request, Role.MANAGER, device.organization_id),
        "shown_at": now_watched.now,
    }


def pairings_of(request: HttpRequest, device: Device) -> list[tuple[Pairing, SafeString | str]]:
    """The newest pairings of a device, each with the other side, linked where this user may see it.

    What ended before the device was bound is a former owner's: platform staff sees that, and nobody else. The owner of
    a dock reads the serial number of whatever the dock names; a dock that is somebody else's is not named.
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
    """What was done to this device, as far as it concerned organizations that this user manages."""
    events = readable(AuditEvent.objects.select_related("user", "api_key"), request, HISTORY_ROLE)
    return events.filter(object_type=device._meta.label, object_id=str(device.pk))


def clock(skew_ms: int | None) -> str:
    """How right the device's clock is, in words; empty if it never sent the time."""
    if skew_ms is None:
        return ""
    side = "ahead" if skew_ms > 0 else "behind"
    return attention.clock_error(skew_ms) or f"{abs(skew_ms) / 1000:.1f} s {side}"


# --- the journal -----------------------------------------------------------------------------------


class ExchangeChangeList(ChangeList):
    """One page of the journal with the devices its gateways are now, where the user may see them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = rows = list(self.result_list)
        devices = restrict(Device.objects.filter(sn__in={row.gateway_sn for row in rows}), request.user)
        by_sn = {device.sn: device for device in devices}
        for row in rows:
            row.device = by_sn.get(row.gateway_sn)


@admin.register(Exchange)
class ExchangeAdmin(ReadOnlyAdmin):
    """The journal: what docks said and what we answered, for the organization it concerned."""

    list_display = ("received_at_shown", "gateway", "said", "became", "owner")
    list_display_links = ("received_at_shown",)
    list_filter = (
        OutcomeFilter, MethodFilter, ChannelFilter, ("received_at", admin.DateFieldListFilter),
        ("organization", TenantFilter),
    )  # fmt: skip
    list_select_related = ("organization",)
    list_per_page = 50
    list_max_show_all = 0
    search_fields = ("gateway_sn", "tid")
    search_help_text = "Serial number of the gateway, or a tid, in full"
    ordering = ("-received_at", "-pk")
    sortable_by = ()
    actions = None
    readonly_fields = ("received", "device_clock")
    fields = ("received", "device_clock", "channel", "method", "tid", "bid", "organization")

    class Media:
        css = {"all": ["devices/devices.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        listed = (
            request.resolver_match is not None and request.resolver_match.url_name == "mqtt_bridge_exchange_changelist"
        )
        return rows.defer("payload", "reply") if listed else rows

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ExchangeChangeList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Journal", **(extra_context or {})})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Exact values, which an index finds: a search for a part would read millions of rows."""
        term = typed(search_term)
        if term:
            queryset = queryset.filter(Q(gateway_sn__in={term, term.upper()}) | Q(tid=term))
        return queryset, False

    @admin.display(description="received")
    def received_at_shown(self, exchange: Exchange) -> SafeString:
        moment = exchange.received_at.astimezone(UTC)
        return format_html(
            '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact(moment), f"{moment:%Y-%m-%d %H:%M:%S}"
        )

    @admin.display(description="received")
    def received(self, exchange: Exchange) -> str:
        return exact(exchange.received_at)

    @admin.display(description="by the device's clock")
    def device_clock(self, exchange: Exchange) -> str:
        return exact(exchange.device_time)

    @admin.display(description="gateway")
    def gateway(self, exchange: Any) -> SafeString | str:
        return device_link(exchange.device) if exchange.device else exchange.gateway_sn

    @admin.display(description="method")
    def said(self, exchange: Exchange) -> SafeString | str:
        return exchange.method or format_html("<em>{}</em>", exchange.channel)

    @admin.display(description="outcome and reason")
    def became(self, exchange: Exchange) -> SafeString:
        return format_html("{} {}", outcome_word(exchange), exchange.reason)

    @admin.display(description="organization")
    def owner(self, exchange: Exchange) -> str:
        return exchange.organization.name if exchange.organization else NOTHING

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if context.get("original") is not None:
            context.update(exchange_page(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)


def outcome_word(exchange: Exchange) -> SafeString:
    """What became of the message, as a coloured word."""
    return format_html('<span class="outcome outcome-{0}">{0}</span>', exchange.became)


def exchange_page(request: HttpRequest, exchange: Exchange) -> dict[str, Any]:
    """What the page of one journal row shows."""
    device = restrict(Device.objects.select_related("state", "organization"), request.user)
    found = device.filter(sn=exchange.gateway_sn).first()
    visible = restrict(Exchange.objects.all(), request.user)
    return {
        "title": f"{exchange.method or exchange.channel} from {exchange.gateway_sn}",
        "outcome": outcome_word(exchange),
        "gateway": device_link(found) if found else exchange.gateway_sn,
        "said": exchanges.pretty(exchange.payload),
        "answered": exchanges.pretty(exchange.reply),
        "said_codes": exchanges.codes(exchange.payload),
        "answered_codes": exchanges.codes(exchange.reply),
        # Where the gateway itself may not be seen, this is the only place that tells how far it came.
        "onboarding": None if found else onboarding(exchange.gateway_sn, device=None, visible=visible),
    }


@admin.register(Heartbeat)
class HeartbeatAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The bridge's pulse, for platform staff."""

    list_display = ("instance", "is_alive", "beat_at", "started_at", "round_trip")

    @admin.display(description="alive", boolean=True)
    def is_alive(self, heartbeat: Heartbeat) -> bool:
        return not heartbeat.is_stale()

    @admin.display(description="round trip", ordering="round_trip_ms")
    def round_trip(self, heartbeat: Heartbeat) -> str:
        return f"{heartbeat.round_trip_ms:.1f} ms"

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_platform_staff(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Heartbeat | None = None) -> bool:
        return is_platform_staff(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Heartbeat | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Heartbeat | None = None) -> bool:
        return False
