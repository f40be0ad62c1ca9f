"""Devices in the admin: their list, their forms, and the page of each."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.db.models import Case, F, Prefetch, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devices import pairing
from devices.admin.commands import ACTIONS, CommandPages, panel
from devices.admin.connections import connection_panel
from devices.admin.credentials import CredentialPages
from devices.admin.filters import (
    AccountFilter,
    AttentionFilter,
    ClaimedFilter,
    ClockFilter,
    FirmwareFilter,
    KindFilter,
    LabelFilter,
    LicenseListFilter,
    PresenceFilter,
    ProductFilter,
    RetiredFilter,
    SiteFilter,
)
from devices.admin.grouping.groups import GroupingPages
from devices.admin.grouping.map import MapPages
from devices.admin.moving import MovingPages
from devices.admin.panels import device_page, page_of, presence_word
from devices.diagnosis import needs
from devices.live import broadcast
from devices.models import Device, Pairing
from devices.moving import retiring
from devices.presence import Presence, watch
from devices.templatetags.moments import ago
from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol import model_keys
from organizations.admin.tenant import TenantFilter, may, roles
from organizations.models import Organization, Role
from organizations.tenancy import is_platform_staff, restrict
from organizations.typed import TypedField

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING = "–"


def short_link(device: Device) -> SafeString:
    """The callsign alone, linked, the serial number on hover: for a narrow column."""
    return format_html('<a href="{}" title="{}">{}</a>', page_of(device), device.sn, device.callsign or device.sn)


def labels_of(device: Device) -> SafeString:
    """Its labels, each in its colour."""
    each = ((label.colour, label.name) for label in device.labels.all())
    return format_html_join(" ", '<span class="label label-{}">{}</span>', each)


# --- the list ------------------------------------------------------------------------------------


class Shown(TypedDict):
    """What the list adds to each device of its page, for the columns."""

    presence: Presence
    needs: list[needs.Need]
    visibly_carried: list[Device]
    remarks: list[Pairing]
    may_name_gateway: bool


if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    ListedDevice = WithAnnotations[Device, Shown]


class AddDeviceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A device that has not connected yet. It corrects its product when it connects."""

    model_key = forms.ChoiceField(
        label=_("Product"),
        required=False,
        choices=[
            ("", _("the device will report it")),
            *(
                (key, f"{name} ({key})")
                for key, name in model_keys.PRODUCTS.items()
                if model_keys.domain(key) != model_keys.PAYLOAD
            ),
        ],
    )

    is_another = forms.BooleanField(
        label=_("It is another device"),
        required=False,
        help_text=_("Only where the serial number differs from a known one in nothing but the case of letters."),
    )

    class Meta:
        model = Device
        fields = ("sn", "model_key", "organization", "callsign")
        field_classes = {"sn": TypedField}

    def clean(self) -> dict[str, object]:
        cleaned = super().clean() or self.cleaned_data
        sn = cleaned.get("sn")
        known = Device.objects.filter(sn__iexact=sn).exclude(sn=sn).first() if sn else None
        if known is not None and not cleaned.get("is_another"):
            self.add_error(
                "sn",
                gettext("Did you mean {sn}? It is here already. If not, tick “It is another device”.").format(
                    sn=known.sn
                ),
            )
        return cleaned

    def clean_organization(self) -> Organization | None:
        owner: Organization | None = self.cleaned_data["organization"]
        if owner is not None and pairing.room_in({owner.pk: owner.device_limit}).get(owner.pk, 1) < 1:
            raise forms.ValidationError(gettext("This organization has reached its limit of devices."))
        return owner


@admin.register(Device)
class DeviceAdmin(CommandPages, MovingPages, GroupingPages, CredentialPages, MapPages):
    """The list an operator looks at all day, and a device's page. Platform staff add, operators rename.

    Nobody else may add: a user who could add serial numbers could claim another's dock before it connects, and would
    learn which ones exist.
    """

    add_role = None
    change_role = Role.OPERATOR

    list_display = (
        "last_seen", "device", "attention", "owner", "product", "carriage", "bound_since",
    )  # fmt: skip
    list_display_links = ("device",)
    list_filter = (
        PresenceFilter, AttentionFilter, ClockFilter, KindFilter, ProductFilter, ClaimedFilter,
        ("organization", TenantFilter), SiteFilter, LabelFilter, AccountFilter, LicenseListFilter, FirmwareFilter,
        RetiredFilter,
    )  # fmt: skip
    list_select_related = ("organization", "state", "gateway", "site")
    list_per_page = 100
    list_max_show_all = 1000
    show_full_result_count = False
    search_fields = ("sn", "callsign", "organization__name", "organization__organization_id")
    search_help_text = _("Serial number, callsign or organization")
    ordering = (
        Case(When(organization=None, then=2), When(model_key__startswith="3-", then=0), default=1).asc(),
        "callsign",
        "sn",
    )
    actions = (
        *ACTIONS, "group_selected", "rename_selected", "issue_credentials", "rotate_credentials", "revoke_credentials",
        "enable_selected", "disable_selected", "release_selected", "transfer_selected", "retire_selected",
        "restore_selected",
    )  # fmt: skip
    readonly_fields = ("sn", "organization", "bound_at", "bound_with", "created")

    class Media:
        css = {"all": ["devices/devices.css", "devices/commands.css", "licenses/licenses.css"]}
        js = [Script("devices/refresh.js", type="module"), Script("devices/commands.js", type="module")]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list, with what its columns show besides the row, in a constant number of queries."""
        page = super().get_changelist_instance(request)
        page.title = gettext("Devices")
        is_staff, held = is_platform_staff(request.user), roles(request)
        mine = Q() if is_staff else Q(organization__in=held) | Q(organization=None)
        carried = Prefetch("carried", Device.objects.filter(mine).order_by("sn"), to_attr="visibly_carried")
        remarks = Prefetch("aircraft_pairings", needs.not_adopted().select_related("aircraft"), to_attr="remarks")
        devices: list[ListedDevice] = list(page.result_list.prefetch_related(carried, remarks, "labels"))
        now_watched = watch()
        refused = needs.refusals(devices, restrict(Exchange.objects.all(), request.user), now_watched.now)
        for device in devices:
            gateway = device.gateway
            device.presence = now_watched.presence(getattr(device, "state", None))
            device.needs = needs.needs(device, refused.get(device.sn, ()), device.remarks)
            device.may_name_gateway = is_staff or (gateway is not None and gateway.organization_id in held)
        page.result_list = devices
        return page

    # --- columns -------------------------------------------------------------------------------

    @admin.display(description=_("presence, last seen"), ordering=Coalesce(F("state__last_seen"), Value(EPOCH)))
    def last_seen(self, device: "ListedDevice") -> SafeString:
        seen = device.state.seen if hasattr(device, "state") else None
        return format_html("{} <small>{}</small>", presence_word(device, device.presence), ago(seen) if seen else "")

    @admin.display(description=_("device"), ordering="callsign")
    def device(self, device: Device) -> SafeString:
        if device.callsign in ("", device.sn):
            return format_html('<span class="device-name">{}</span>', device.sn)
        return format_html('<span class="device-name">{}</span> <small>{}</small>', device.callsign, device.sn)

    @admin.display(description=_("product, firmware"), ordering="model_key")
    def product(self, device: Device) -> SafeString:
        version = device.state.firmware_version if hasattr(device, "state") else ""
        name = device.model_name if device.model_key else gettext("unknown model")
        return format_html("{} <small>{}</small>", name, version)

    @admin.display(description=_("organization"), ordering="organization__name")
    def owner(self, device: Device) -> SafeString:
        owner = device.organization.name if device.organization else gettext("unclaimed")
        return format_html("{} <small>{}</small>{}", owner, device.site or "", labels_of(device))

    @admin.display(description=_("aircraft / dock"))
    def carriage(self, device: "ListedDevice") -> SafeString | str:
        if device.gateway is not None:
            if not device.may_name_gateway:
                return gettext("in a dock")
            return format_html(gettext("in {dock}"), dock=short_link(device.gateway))
        bound = [aircraft for aircraft in device.visibly_carried if aircraft.is_bound]
        return format_html_join(", ", "{}", ((short_link(aircraft),) for aircraft in bound)) or NOTHING

    @admin.display(description=_("needs attention"))
    def attention(self, device: "ListedDevice") -> SafeString:
        return format_html_join(
            "",
            '<span class="{}" title="{}">{}</span>',
            ((need.css, need.detail, need.words) for need in device.needs),
        )

    @admin.display(description=_("bound"), ordering=Coalesce(F("bound_at"), Value(EPOCH)))
    def bound_since(self, device: Device) -> SafeString:
        return ago(device.bound_at)

    # --- one device ------------------------------------------------------------------------------

    def get_form(
        self, request: HttpRequest, obj: Device | None = None, change: bool = False, **kwargs: object
    ) -> "type[forms.ModelForm[Device]]":
        return super().get_form(request, obj, change, **kwargs if change else {**kwargs, "form": AddDeviceForm})

    def get_fields(self, request: HttpRequest, obj: Device | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("sn", "is_another", "model_key", "organization", "callsign")
        return ("callsign", "is_enabled", *self.readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Device | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        managed = may(request, Role.MANAGER, obj.organization_id)
        return self.readonly_fields if managed else (*self.readonly_fields, "is_enabled")

    def save_model(
        self, request: HttpRequest, obj: models.Model, form: "forms.ModelForm[Device]", change: bool
    ) -> None:
        device = form.instance
        if not change and device.organization_id is not None:
            device.bound_at, device.claim = timezone.now(), Device.Claim.PERSON
        super().save_model(request, obj, form, change)
        broadcast.tell_device([device])

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Platform staff may delete what nobody owns and has no history; everything else is released, or retired."""
        if not super().has_delete_permission(request, obj) or not isinstance(obj, Device):
            return super().has_delete_permission(request, obj)
        if not hasattr(obj, "_is_deletable"):  # asked for several times
            obj._is_deletable = not obj.is_bound and not retiring.has_history(obj)  # type: ignore[attr-defined]
        return obj._is_deletable  # type: ignore[attr-defined,no-any-return]

    def get_deleted_objects(
        self, objs: Sequence[Device] | QuerySet[Device], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        deleted, counts, missing, protected = super().get_deleted_objects(objs, request)
        bound = [
            format_html(gettext("{device} is bound: release it first"), device=device)
            for device in objs
            if device.is_bound
        ]
        return deleted, counts, set() if bound else missing, [*protected, *bound]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, object], *args: object, **kwargs: object
    ) -> HttpResponse:
        if isinstance(device := context.get("original"), Device):
            context.update(device_page(request, device))
            if not device.is_aircraft:
                context.update(panel(request, device))
                context.update(connection_panel(request, device))
        return super().render_change_form(request, context, *args, **kwargs)
