"""The admin of organizations and binding codes."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import PROTECT, Model, Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from mqtt_bridge import access_list
from organizations import codes, fleet
from organizations.admin import onboarding_sheet
from organizations.admin.forms import BindingCodeForm, OrganizationForm, SheetLogin, of_zone
from organizations.admin.issuing import IssuingAdmin, StateFilter
from organizations.admin.keys import OrganizationAPIKeyAdmin
from organizations.admin.tenant import TenantAdmin, TenantFilter, actor, may
from organizations.audit import Actor
from organizations.language.stored import shown as translated
from organizations.models import BindingCode, Organization, Role
from organizations.tenancy import is_platform_staff

SHOWN = 50  # rows of a table inside a page


def has_history(organization: Organization) -> bool:
    """Whether rows that outlive a deletion belong to it: devices, service calls, events of licenses."""
    return any(
        relation.related_model._default_manager.filter(**{relation.field.name: organization}).exists()
        for relation in Organization._meta.related_objects
        if relation.on_delete is PROTECT
    )


class LicenseFilter(admin.SimpleListFilter):
    """Whose DJI license the docks of an organization get."""

    title = _("DJI license")
    parameter_name = "license"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[Organization]") -> list[tuple[str, str]]:
        return [("own", gettext("its own")), ("missing", gettext("none of its own"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Organization]) -> QuerySet[Organization]:
        missing = Q(app_id="") | Q(app_key="") | Q(app_license="")
        if self.value() == "own":
            return queryset.exclude(missing)
        return queryset.filter(missing) if self.value() == "missing" else queryset


class ClosedFilter(admin.SimpleListFilter):
    """For platform staff, who alone see closed organizations: they are hidden unless asked for."""

    title = _("closed")
    parameter_name = "closed"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[Organization]") -> list[tuple[str, str]]:
        found = [("no", gettext("no")), ("yes", gettext("yes")), ("all", gettext("all"))]
        return found if is_platform_staff(request.user) else []

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Without "All", which would hide some."""
        for value, text in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: value})
            yield {"selected": (self.value() or "no") == value, "query_string": query, "display": text}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Organization]) -> QuerySet[Organization]:
        if self.value() == "all":
            return queryset
        return queryset.filter(closed_at__isnull=self.value() != "yes")


@admin.register(Organization)
class OrganizationAdmin(TenantAdmin):
    """Customers: platform staff may change everything, a manager the name and how often licenses are read."""

    change_role = Role.MANAGER
    actions = None  # one that had devices is closed, on its page
    change_form_template = "admin/organizations/organization/change_form.html"

    list_display = ("name", "organization_id", "is_active", "docks", "docks_online", "aircraft", "limit")
    list_filter = ("is_active", LicenseFilter, ClosedFilter)
    search_fields = ("name", "organization_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        return fleet.with_counts(super().get_queryset(request))

    def get_fieldsets(self, request: HttpRequest, obj: Organization | None = None) -> Any:
        shown: tuple[str, ...] = (
            "name", "organization_id", "is_active", "time_zone", "device_limit", "license_sync_hours",
            "second_factor_required",
        )  # fmt: skip
        if obj and obj.closed_at:
            shown = ("closed_at", *shown)
        if is_platform_staff(request.user):
            text = gettext("Only if this organization has its own app at DJI; else leave all three empty.")
            license_ = ("license_state", "app_id", "app_key", "app_license", "clear_license")
            fieldsets = [
                (None, {"fields": shown}),
                (gettext("Own DJI license"), {"description": text, "fields": license_}),
            ]
        else:
            fieldsets = [(None, {"fields": (*shown, "license_state")})]
        if obj and may(request, OrganizationAPIKeyAdmin.view_role, obj.pk):
            overview = ("members", "binding_codes", "api_keys")
            fieldsets.append((gettext("Members, binding codes and API keys"), {"fields": overview}))
        elif obj:
            fieldsets.append((gettext("Members and binding codes"), {"fields": ("members", "binding_codes")}))
        return fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Organization | None = None) -> tuple[str, ...]:
        computed = ("license_state", "members", "binding_codes", "api_keys", "closed_at")
        if not is_platform_staff(request.user):
            return (*computed, "organization_id", "is_active", "device_limit")
        if obj and obj.closed_at:
            return (*computed, "organization_id", "is_active")
        return (*computed, "organization_id") if obj else computed

    def get_form(
        self, request: HttpRequest, obj: Organization | None = None, change: bool = False, **kwargs: object
    ) -> "type[ModelForm[Organization]]":
        # The secrets are fields of staff's form only, so that nobody else can post them.
        if is_platform_staff(request.user):
            kwargs["form"] = OrganizationForm
        return super().get_form(request, obj, change, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Not for one that has devices, or had: it is closed, and goes when the retention of its history ends."""
        if not super().has_delete_permission(request, obj):
            return False
        return not isinstance(obj, Organization) or not has_history(obj)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["may_close"] = is_platform_staff(request.user)
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(ordering="docks", description=_("docks"))
    def docks(self, obj: fleet.Counted) -> int:
        return obj.docks

    @admin.display(ordering="docks_online", description=_("online"))
    def docks_online(self, obj: fleet.Counted) -> str:
        return str(obj.docks_online) if obj.is_bridge_alive else gettext("unknown")

    @admin.display(ordering="aircraft", description=_("aircraft"))
    def aircraft(self, obj: fleet.Counted) -> int:
        return obj.aircraft

    @admin.display(ordering="device_limit", description=_("device limit"))
    def limit(self, obj: Organization) -> str:
        return gettext("none") if obj.device_limit is None else str(obj.device_limit)

    @admin.display(description=_("DJI license"))
    def license_state(self, obj: Organization) -> str:
        if obj.app_license:
            return gettext("Its own.")
        if all((settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE)):
            return gettext("The one in the server's settings.")
        return gettext("None: docks are refused until there is one here or in the server's settings.")

    @admin.display(description=_("members"))
    def members(self, obj: Organization) -> SafeString:
        rows = obj.memberships.select_related("user").order_by("user__username")[:SHOWN]
        return render_to_string("admin/organizations/organization/members.html", {"rows": rows, "organization": obj})

    @admin.display(description=_("binding codes"))
    def binding_codes(self, obj: Organization) -> SafeString:
        rows = obj.binding_codes.select_related("organization")[:SHOWN]
        now = timezone.now()
        context = {"rows": [(row, translated(row.why_unusable(now))) for row in rows], "organization": obj}
        return render_to_string("admin/organizations/organization/binding_codes.html", context)

    @admin.display(description=_("API keys"))
    def api_keys(self, obj: Organization) -> SafeString:
        now = timezone.now()
        keys = obj.api_keys.all()[:SHOWN]
        rows = [(row, translated(row.why_unusable(now)), Role(row.role).word()) for row in keys]
        return render_to_string("admin/organizations/organization/api_keys.html", {"rows": rows, "organization": obj})


@admin.register(BindingCode)
class BindingCodeAdmin(IssuingAdmin[BindingCode]):
    """Binding codes: issued with their onboarding sheet, then edited or revoked."""

    steps = codes
    issuing_form = BindingCodeForm
    shown = (
        "organization", "label", "hint", "state", "expires_at", "max_uses", "uses",
        "revoked_at", "created_by", "created", "devices",
    )  # fmt: skip
    editable = ("label", "expires_at", "max_uses")
    sheet_template = "admin/organizations/bindingcode/sheet.html"
    add_hint = _(
        "The code is shown once, on the onboarding sheet that follows. Have a printer or the technician ready."
    )
    revoked_means = _("it binds nothing any more. Bound devices stay bound.")
    delete_role = Role.MANAGER

    list_display = ("name", "state", "used", "expires_at", "owner", "ends_in")
    list_filter = (StateFilter, ("organization", TenantFilter))
    list_select_related = ("organization", "created_by")
    search_fields = ("label", "hint", "organization__name")

    def get_form(
        self, request: HttpRequest, obj: BindingCode | None = None, change: bool = False, **kwargs: object
    ) -> "type[ModelForm[BindingCode]]":
        expires = {"expires_at": " ".join([str(of_zone()), gettext("Empty: never.")])}
        form = super().get_form(request, obj, change, help_texts=expires, **kwargs)
        form.may_add_docks = is_platform_staff(request.user)  # type: ignore[attr-defined]  # of every BindingCodeForm
        return form

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        has_devices = isinstance(obj, BindingCode) and obj.devices.exists()
        return super().has_delete_permission(request, obj) and not has_devices

    def issue(self, request: HttpRequest, obj: BindingCode, wanted: dict[str, Any]) -> tuple[BindingCode, str]:
        """One code or many; they share an enrolment account, whose sheets differ in the code alone."""
        shared: dict[str, Any] = {
            "organization": obj.organization,
            "expires_at": obj.expires_at,
            "max_uses": obj.max_uses,
        }
        if len(labels := wanted["labels"]) > 1:
            made = codes.issue_many(actor=actor(request), labels=labels, **shared)
        else:
            made = [codes.issue(actor=actor(request), code=wanted["code"] or None, label=labels[0], **shared)]
        login = self._login(made[0][0], actor(request), wanted)
        obj.sheets = [onboarding_sheet.sheet(row, plain, login) for row, plain in made]  # type: ignore[attr-defined]
        return made[0]

    def sheet(self, obj: BindingCode, plain: str) -> dict[str, object]:
        sheets: list[onboarding_sheet.Sheet] = obj.sheets  # type: ignore[attr-defined]  # of `issue`
        title = ngettext("Onboarding sheet", "{count} onboarding sheets", len(sheets)).format(count=len(sheets))
        return {
            "title": title,
            "sheet": sheets[0],
            "sheets": sheets,
            "languages": onboarding_sheet.languages(),
            "access_list": access_list.is_kept(),
        }

    def _login(self, code: BindingCode, who: Actor, wanted: dict[str, object]) -> onboarding_sheet.Login:
        """The account of the broker that the form asks for."""
        logins = import_module(settings.SHEET_LOGINS)
        sn = str(wanted["serial_number"])
        match wanted["login"]:
            case SheetLogin.OWN:
                username, secret = logins.own(sn, actor=who)
                return onboarding_sheet.Login(settings.DOCK_MQTT_URL, username, secret, sn=sn)
            case SheetLogin.ENROLMENT:
                made = logins.for_enrolment(
                    code.organization, actor=who, label=code.label or str(code), expires_at=code.expires_at
                )
                return onboarding_sheet.Login(onboarding_sheet.enrolment_address(), *made)
        return onboarding_sheet.fixed_login()

    @admin.display(ordering="label", description=_("label"))
    def name(self, obj: BindingCode) -> str:
        return obj.label or gettext("no label")

    @admin.display(ordering="hint", description=_("ends in"))
    def ends_in(self, obj: BindingCode) -> str:
        return f"…{obj.hint}"

    @admin.display(ordering="uses", description=_("uses"))
    def used(self, obj: BindingCode) -> str:
        if obj.max_uses is None:
            return gettext("{uses}, no limit").format(uses=obj.uses)
        return gettext("%(uses)s of %(most)s") % {"uses": obj.uses, "most": obj.max_uses}

    @admin.display(description=_("devices bound with it"))
    def devices(self, obj: BindingCode) -> SafeString:
        context = {"devices": obj.devices.order_by("sn")[:SHOWN], "code": obj}
        return render_to_string("admin/organizations/bindingcode/devices.html", context)
