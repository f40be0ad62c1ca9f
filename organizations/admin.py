"""The admin of organizations, members and binding codes; `admin_records` has the rest."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from organizations import admin_records as admin_records  # registers them
from organizations import codes, fleet, members, onboarding
from organizations.forms import BindingCodeForm, MembershipForm, OrganizationForm, RoleForm
from organizations.models import BindingCode, Membership, Organization, Role
from organizations.tenancy import is_platform_staff
from organizations.tenant_admin import TenantAdmin, TenantFilter, actor

ISSUED = "issued_codes"  # in the session: the code that each form has issued
REMEMBERED = 20  # forms
SHOWN = 50  # rows of a table inside a page


class LicenseFilter(admin.SimpleListFilter):
    """Whose DJI license the docks of an organization get."""

    title = "DJI license"
    parameter_name = "license"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[Any]") -> list[tuple[str, str]]:
        return [("own", "its own"), ("missing", "none of its own")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        missing = Q(app_id="") | Q(app_key="") | Q(app_license="")
        if self.value() == "own":
            return queryset.exclude(missing)
        return queryset.filter(missing) if self.value() == "missing" else queryset


@admin.register(Organization)
class OrganizationAdmin(TenantAdmin):
    """Customers: platform staff may everything, a manager the name and how often licenses are read."""

    change_role = Role.MANAGER

    list_display = ("name", "organization_id", "is_active", "docks", "docks_online", "aircraft", "limit")
    list_filter = ("is_active", LicenseFilter)
    search_fields = ("name", "organization_id")
    staff_fieldsets = (
        (None, {"fields": ("name", "organization_id", "is_active", "device_limit", "license_sync_hours")}),
        (
            "Own DJI license",
            {
                "description": "Only if this organization has its own app at DJI; else leave all three empty.",
                "fields": ("license_state", "app_id", "app_key", "app_license", "clear_license"),
            },
        ),
    )
    overview = ("Members and binding codes", {"fields": ("members", "binding_codes")})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return fleet.with_counts(super().get_queryset(request))

    def get_fieldsets(self, request: HttpRequest, obj: Organization | None = None) -> Any:
        if is_platform_staff(request.user):
            return (*self.staff_fieldsets, *([self.overview] if obj else []))
        fields = ("name", "organization_id", "is_active", "device_limit", "license_sync_hours", "license_state")
        return ((None, {"fields": fields}), self.overview)

    def get_readonly_fields(self, request: HttpRequest, obj: Organization | None = None) -> Any:
        computed = ("license_state", "members", "binding_codes")
        if not is_platform_staff(request.user):
            return (*computed, "organization_id", "is_active", "device_limit")
        return (*computed, "organization_id") if obj else computed

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        # The secrets are fields of staff's form only, so that nobody else can post them.
        if is_platform_staff(request.user):
            kwargs["form"] = OrganizationForm
        return super().get_form(request, obj, change, **kwargs)

    @admin.display(ordering="docks")
    def docks(self, obj: Any) -> int:
        return int(obj.docks)

    @admin.display(ordering="docks_online", description="online")
    def docks_online(self, obj: Any) -> str:
        return str(obj.docks_online) if obj.is_bridge_alive else "unknown"

    @admin.display(ordering="aircraft")
    def aircraft(self, obj: Any) -> int:
        return int(obj.aircraft)

    @admin.display(ordering="device_limit", description="device limit")
    def limit(self, obj: Organization) -> str:
        return "none" if obj.device_limit is None else str(obj.device_limit)

    @admin.display(description="DJI license")
    def license_state(self, obj: Organization) -> str:
        if obj.app_license:
            return "Its own."
        if all((settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE)):
            return "The one of the server's settings."
        return "None: docks are refused until there is one here or in the server's settings."

    @admin.display(description="members")
    def members(self, obj: Organization) -> SafeString:
        rows = obj.memberships.select_related("user").order_by("user__username")[:SHOWN]
        return render_to_string("admin/organizations/organization/members.html", {"rows": rows, "organization": obj})

    @admin.display(description="binding codes")
    def binding_codes(self, obj: Organization) -> SafeString:
        rows = obj.binding_codes.select_related("organization")[:SHOWN]
        now = timezone.now()
        context = {"rows": [(row, row.why_unusable(now)) for row in rows], "organization": obj}
        return render_to_string("admin/organizations/organization/binding_codes.html", context)


@admin.register(Membership)
class MembershipAdmin(TenantAdmin):
    """Who belongs to an organization. A manager keeps the last manager; platform staff may remove her too."""

    add_role = change_role = delete_role = Role.MANAGER
    actions = None  # a bulk deletion could take all managers at once

    list_filter = ("role", ("organization", TenantFilter))
    list_select_related = ("user", "organization")
    search_fields = ("user__username", "organization__name")
    change_form_template = "admin/organizations/membership/change_form.html"

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """A user may be a member elsewhere: when she signs in is for platform staff to know."""
        shown = ("user", "organization", "role")
        return (*shown, "last_sign_in") if is_platform_staff(request.user) else shown

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if not change:
            return super().get_form(request, obj, change, form=MembershipForm, **kwargs)
        form: Any = super().get_form(request, obj, change, form=RoleForm, **kwargs)
        form.keeps_manager = not is_platform_staff(request.user)
        return form

    def get_fields(self, request: HttpRequest, obj: Membership | None = None) -> Any:
        return self.get_list_display(request) if obj else ("username", "organization", "role")

    def get_readonly_fields(self, request: HttpRequest, obj: Membership | None = None) -> Any:
        return ("user", "organization", "last_sign_in") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed = super().has_delete_permission(request, obj)
        kept = obj is not None and not is_platform_staff(request.user) and members.is_last_manager(obj)
        return allowed and not kept

    def get_urls(self) -> list[URLPattern]:
        invite = path(
            "<int:pk>/invite/", self.admin_site.admin_view(self.invite), name="organizations_membership_invite"
        )
        return [invite, *super().get_urls()]

    def save_model(self, request: HttpRequest, obj: Any, form: "ModelForm[Any]", change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        added = members.add(
            actor=actor(request), organization=obj.organization, username=form.cleaned_data["username"], role=obj.role
        )
        obj.pk = added.pk
        obj.user = added.user

    def response_add(self, request: HttpRequest, obj: Membership, post_url_continue: Any = None) -> HttpResponse:
        if members.may_invite(actor(request), obj.user):
            return self._invitation(request, obj)
        return super().response_add(request, obj, post_url_continue)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        membership = self.get_object(request, object_id)
        invitable = (
            membership is not None
            and self.has_change_permission(request, membership)
            and members.may_invite(actor(request), membership.user)
        )
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "invitable": invitable})

    @method_decorator(require_POST)
    def invite(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Answer with a fresh link to set a first password."""
        membership = _object_or_404(self, request, pk)
        if not (
            self.has_change_permission(request, membership) and members.may_invite(actor(request), membership.user)
        ):
            raise PermissionDenied
        return self._invitation(request, membership)

    def _invitation(self, request: HttpRequest, membership: Membership) -> HttpResponse:
        link = members.invite(membership.user, actor=actor(request), organization=membership.organization)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Invite {membership.user}",
            "opts": self.opts,
            "membership": membership,
            "link": link,
            "days": settings.PASSWORD_RESET_TIMEOUT // timedelta(days=1).total_seconds(),
        }
        return TemplateResponse(request, "admin/organizations/membership/invitation.html", context)

    @admin.display(ordering="user__last_login", description="last sign-in")
    def last_sign_in(self, obj: Membership) -> Any:
        return obj.user.last_login or ("never" if obj.user.has_usable_password() else "invited, no password yet")


class StateFilter(admin.SimpleListFilter):
    """Whether a code still binds, or why not."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[Any]") -> Any:
        return codes.State.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return codes.in_state(queryset, self.value()) if self.value() in codes.State.values else queryset  # type: ignore[arg-type]


@admin.register(BindingCode)
class BindingCodeAdmin(TenantAdmin):
    """Binding codes: made once with their onboarding sheet, then edited or revoked."""

    add_role = change_role = delete_role = Role.MANAGER

    list_display = ("name", "state", "used", "expires_at", "organization__name", "ends_in")
    list_filter = (StateFilter, ("organization", TenantFilter))
    list_select_related = ("organization", "created_by")
    search_fields = ("label", "hint", "organization__name")
    actions = ("revoke_selected",)
    form = BindingCodeForm
    change_form_template = "admin/organizations/bindingcode/change_form.html"

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if change:
            kwargs |= {"form": ModelForm, "labels": {"expires_at": "Expires at (UTC)"}}
        return super().get_form(request, obj, change, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> Any:
        """With the only organization that there is to choose, unless the address names one."""
        keys = list(self._organizations(request).values_list("pk", flat=True)[:2])
        only = {"organization": keys[0]} if len(keys) == 1 else {}
        return {**only, **super().get_changeform_initial_data(request)}

    def _organizations(self, request: HttpRequest) -> QuerySet[Organization]:
        field: Any = self.formfield_for_foreignkey(BindingCode._meta.get_field("organization"), request)
        choices: QuerySet[Organization] = field.queryset
        return choices

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """A sheet that is reloaded posts its form again: it gets no second code."""
        issued = request.session.get(ISSUED, {}).get(request.POST.get("form_id"))
        if issued is None or not BindingCode.objects.filter(pk=issued).exists():
            return super().add_view(request, form_url, extra_context)
        text = "This form has issued its code already, which cannot be shown again. Need another? Add a binding code."
        self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:organizations_bindingcode_change", args=[issued]))

    def get_fields(self, request: HttpRequest, obj: BindingCode | None = None) -> Any:
        if obj is None:
            return ("form_id", "organization", "label", "code", "expires_at", "max_uses")
        shown = ("organization", "label", "hint", "state", "expires_at", "max_uses", "uses")
        return (*shown, "revoked_at", "created_by", "created", "devices")

    def get_readonly_fields(self, request: HttpRequest, obj: BindingCode | None = None) -> Any:
        if obj is None:
            return ()
        return ("organization", "hint", "state", "uses", "revoked_at", "created_by", "created", "devices")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Revoking is offered, deleting many at once is not: the codes are the history of who bound what."""
        found = super().get_actions(request)
        found.pop("delete_selected", None)
        return found

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or not obj.devices.exists())

    def get_urls(self) -> list[URLPattern]:
        revoke = path(
            "<int:pk>/revoke/", self.admin_site.admin_view(self.revoke), name="organizations_bindingcode_revoke"
        )
        return [revoke, *super().get_urls()]

    def save_model(self, request: HttpRequest, obj: Any, form: "ModelForm[Any]", change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        wanted = form.cleaned_data
        row, plain = codes.issue(
            actor=actor(request),
            organization=obj.organization,
            code=wanted["code"] or None,
            label=obj.label,
            expires_at=wanted["expires_at"],
            max_uses=wanted["max_uses"],
        )
        obj.pk = row.pk
        obj.refresh_from_db()
        if form_id := wanted["form_id"]:
            issued = {**request.session.get(ISSUED, {}), form_id: row.pk}
            request.session[ISSUED] = dict(list(issued.items())[-REMEMBERED:])
        obj.plain = plain  # for the sheet that answers this request, and nowhere else

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Onboarding sheet",
            "opts": self.opts,
            "sheet": onboarding.sheet(obj, obj.plain),
        }
        return TemplateResponse(request, "admin/organizations/bindingcode/sheet.html", context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= {"show_save_and_add_another": False}
        if kwargs.get("add"):
            context |= {"show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description="Revoke selected codes", permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[BindingCode]) -> None:
        allowed = [code for code in queryset if self.has_change_permission(request, code)]
        self.message_user(request, f"{codes.revoke(allowed, actor=actor(request))} code(s) revoked.")

    @method_decorator(require_POST)
    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Revoke one code and go back to its page."""
        code = _object_or_404(self, request, pk)
        if not self.has_change_permission(request, code):
            raise PermissionDenied
        codes.revoke([code], actor=actor(request))
        self.message_user(request, f"{code} is revoked: it binds nothing any more. Bound devices stay bound.")
        return HttpResponseRedirect(reverse("admin:organizations_bindingcode_change", args=[pk]))

    @admin.display(ordering="label", description="label")
    def name(self, obj: BindingCode) -> str:
        return obj.label or "no label"

    @admin.display(ordering="hint")
    def ends_in(self, obj: BindingCode) -> str:
        return f"…{obj.hint}"

    @admin.display
    def state(self, obj: BindingCode) -> SafeString:
        why = obj.why_unusable(timezone.now())
        return format_html('<span class="state {}">{}</span>', "off" if why else "on", why or "usable")

    @admin.display(ordering="uses", description="uses")
    def used(self, obj: BindingCode) -> str:
        return f"{obj.uses} of {obj.max_uses}" if obj.max_uses is not None else f"{obj.uses}, no limit"

    @admin.display(description="devices bound with it")
    def devices(self, obj: BindingCode) -> SafeString:
        context = {"devices": obj.devices.order_by("sn")[:SHOWN], "code": obj}
        return render_to_string("admin/organizations/bindingcode/devices.html", context)


def _object_or_404(model_admin: "admin.ModelAdmin[Any]", request: HttpRequest, pk: int) -> Any:
    """The row if this user may see it; else 404, as if there were none."""
    found = model_admin.get_object(request, str(pk))
    if found is None:
        raise Http404
    return found
