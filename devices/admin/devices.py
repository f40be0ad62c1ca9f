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
from devices.admin.commands import ACTIONS, CommandPages, panel
from devices.admin.device_pages import DevicePages
from devices.admin.filters import (
    AccountFilter,
    AttentionFilter,
    ClaimedFilter,
    ClockFilter,
    FirmwareFilter,
    KindFilter,
    LicenseListFilter,
    PresenceFilter,
)
from devices.diagnosis import attention, exchanges, tracing
from devices.diagnosis.onboarding import onboarding
from devices.live import broadcast
from devices.models import Device, Pairing
from devices.presence import Presence, watch
from devices.templatetags.moments import ago
from mqtt_bridge.models import Exchange, PassingEvent
from mqtt_bridge.protocol import mode_codes, model_keys
from organizations.admin.tenant import HISTORY_ROLE, TenantFilter, may, readable, roles
from organizations.models import AuditEvent, Organization, Role
from organizations.tenancy import is_platform_staff, restrict
from organizations.typed import TypedField

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
    actions = (*ACTIONS, "release_selected", "enable_selected", "disable_selected")
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
