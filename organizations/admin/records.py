"""The admin of wrong codes and of the audit trail."""

from typing import Any, Final

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from organizations import credentials
from organizations.admin.tenant import HISTORY_ROLE, ReadOnlyAdmin, TenantFilter, actor
from organizations.language.stored import shown
from organizations.models import AuditEvent, BindingFailure, Membership, Organization, OrganizationAPIKey, audit_words
from organizations.tenancy import Principal, TenantModel, is_platform_staff, restrict
from organizations.typed import typed

MOST_NAMED: Final = 1000  # objects of one name
MOST_OFFERED: Final = 50  # people in the filter


class LockedOutFilter(admin.SimpleListFilter):
    """Gateways that must wait."""

    title = _("lock-out")
    parameter_name = "locked"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[BindingFailure]") -> list[tuple[str, str]]:
        return [("yes", gettext("locked out now"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[BindingFailure]) -> QuerySet[BindingFailure]:
        return queryset.filter(Q(is_locked=True)) if self.value() == "yes" else queryset


@admin.register(BindingFailure)
class BindingFailureAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no generic at run time
    """Wrong codes, for platform staff: they belong to no organization."""

    list_display = ("gateway_sn", "by_enrolment", "is_locked_out", "organization_id_tried", "first_at", "last_at")
    list_filter = (LockedOutFilter, "by_enrolment", "last_at")
    search_fields = ("gateway_sn", "organization_id_tried")
    actions = ("clear_lockout",)
    fields = ("gateway_sn", "by_enrolment", "organization_id_tried", "why", "first_at", "last_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BindingFailure]:
        rows: QuerySet[BindingFailure] = super().get_queryset(request)
        locked_out = BindingFailure.objects.locked_out(timezone.now()).values("gateway_sn")
        # Two lists of gateways, each looked for once; a pair of columns would be looked for by each row.
        direct = Q(by_enrolment=False, gateway_sn__in=locked_out.filter(by_enrolment=False))
        enrolled = Q(by_enrolment=True, gateway_sn__in=locked_out.filter(by_enrolment=True))
        return rows.annotate(is_locked=direct | enrolled)

    @admin.display(ordering="is_locked", description=_("gateway locked out"))
    def is_locked_out(self, obj: BindingFailure) -> str:
        is_locked = obj.is_locked  # type: ignore[attr-defined]  # of `get_queryset`
        return format_html('<span class="state bad">{}</span>', gettext("yes")) if is_locked else gettext("no")

    @admin.display(description=_("reason"))
    def why(self, obj: BindingFailure) -> str:
        return shown(obj.reason)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_platform_staff(request.user)

    def has_view_permission(self, request: HttpRequest, obj: BindingFailure | None = None) -> bool:
        return is_platform_staff(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: BindingFailure | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: BindingFailure | None = None) -> bool:
        return False

    @admin.action(description=_("Let these gateways try again (clear lock-out)"), permissions=["view"])
    def clear_lockout(self, request: HttpRequest, queryset: QuerySet[BindingFailure]) -> None:
        cleared = credentials.clear_lockouts(queryset.values_list("gateway_sn", flat=True), actor=actor(request))
        text = ngettext("{count} gateway may try again.", "{count} gateways may try again.", cleared)
        self.message_user(request, text.format(count=cleared), messages.SUCCESS)


def _naming(term: str, principal: Principal) -> Q:
    """Audit rows of this action, or of an object, a user or an API key that is called so: each found by an index."""
    # By its name, for the app of devices stands above this one.
    devices: type[TenantModel] = apps.get_model("devices", "Device")
    by_sn, named = devices.objects.filter(sn=term), restrict(devices.objects.filter(callsign=term), principal)
    organizations = Organization.objects.filter(Q(name=term) | Q(organization_id=term))
    users = get_user_model().objects.filter(username=term)
    keys = OrganizationAPIKey.objects.filter(Q(name=term) | Q(prefix=term))
    found = Q(action=term) | Q(object_name=term)  # which still holds when the object is gone or has another name
    found |= Q(object_type__in=[model._meta.label for model in apps.get_models()], object_id=term)
    for model, rows in ((devices, by_sn | named), (Organization, organizations)):
        found |= Q(object_type=model._meta.label, object_id__in=[str(pk) for pk in _keys(rows)])
    return found | Q(user__in=_keys(users)) | Q(api_key__in=_keys(keys))


def _keys(rows: QuerySet[Any]) -> list[int]:
    return list(rows.order_by().values_list("pk", flat=True)[:MOST_NAMED])


class WhoFilter(admin.SimpleListFilter):
    """By person: the members of the organizations that the user sees; staff finds anybody by the search."""

    title = _("person")
    parameter_name = "user"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[AuditEvent]") -> list[tuple[str, str]]:
        users = get_user_model().objects.order_by("username")
        if is_platform_staff(request.user):
            users = users.filter(is_superuser=True)
        else:
            users = users.filter(memberships__in=restrict(Membership.objects.order_by(), request.user)).distinct()
        return [(str(pk), name) for pk, name in users.values_list("pk", "username")[:MOST_OFFERED]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        value = self.value() or ""
        return queryset.filter(user=int(value)) if value.isdecimal() and len(value) < 19 else queryset


class ActionFilter(admin.SimpleListFilter):
    """By what was done."""

    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[AuditEvent]") -> list[tuple[str, str]]:
        named = ((action, str(words).format(object="…")) for action, words in audit_words.ACTIONS.items())
        return sorted(named, key=lambda option: option[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(action=self.value()) if self.value() in audit_words.ACTIONS else queryset


class KindFilter(admin.SimpleListFilter):
    """By the kind of what it was done to."""

    title = _("object")
    parameter_name = "object_type"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[AuditEvent]") -> list[tuple[str, str]]:
        models = [model for model in admin.site._registry if not model._meta.proxy and model is not AuditEvent]
        kinds = [(model._meta.label, str(model._meta.verbose_name)) for model in models if hasattr(model, "objects")]
        return sorted(kinds, key=lambda option: option[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(object_type=self.value()) if self.value() else queryset


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who did what, for platform staff and for the managers of the organization."""

    view_role = HISTORY_ROLE

    list_display = ("at", "who", "through", "done", "organization")
    list_filter = ("at", WhoFilter, ActionFilter, KindFilter, "through", ("organization", TenantFilter))
    list_select_related = ("user", "api_key", "organization")
    sortable_by = ("at",)  # no index has years of rows in another order
    search_fields = ("action",)
    search_help_text = _("In full: a serial number or callsign, an organization, a user, an API key")
    fields = (*list_display, "object_kind", "object_name", "object_id", "changes", "same_request")
    readonly_fields = ("who", "done", "object_kind", "changes", "same_request")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEvent], search_term: str
    ) -> tuple[QuerySet[AuditEvent], bool]:
        """Exact values, which indexes find: a search for a part would read years of rows."""
        if term := typed(search_term):
            queryset = queryset.filter(_naming(term, request.user))
        return queryset, False

    @admin.display(ordering=Coalesce("user__username", "api_key__name"), description=_("who"))
    def who(self, obj: AuditEvent) -> str:
        return str(obj.who) if obj.user_id or obj.api_key_id else self.get_empty_value_display()

    @admin.display(description=_("what was done"))
    def done(self, obj: AuditEvent) -> str:
        return obj.done

    @admin.display(ordering="object_type", description=_("object"))
    def object_kind(self, obj: AuditEvent) -> str:
        return audit_words.kind_of(obj.object_type)

    @admin.display(description=_("values"))
    def changes(self, obj: AuditEvent) -> SafeString | str:
        return format_html_join("", "<div>{}</div>", ((str(change),) for change in obj.changes)) or audit_words.NOTHING

    @admin.display(description=_("same action"))
    def same_request(self, obj: AuditEvent) -> SafeString:
        address = reverse("admin:organizations_auditevent_changelist")
        link = _("all rows of this action")
        return format_html('<a href="{}?request_id={}">{}</a>', address, obj.request_id, link)
