"""The admin of wrong codes, of the audit trail and of the platform's users."""

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from organizations import audit, credentials
from organizations.admin.tenant import HISTORY_ROLE, ReadOnlyAdmin, TenantFilter, actor
from organizations.models import AuditEvent, BindingFailure
from organizations.tenancy import is_platform_staff


class LockedOutFilter(admin.SimpleListFilter):
    """Gateways that must wait."""

    title = "lock-out"
    parameter_name = "locked"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[BindingFailure]") -> list[tuple[str, str]]:
        return [("yes", "locked out now")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[BindingFailure]) -> QuerySet[BindingFailure]:
        return queryset.filter(Q(is_locked=True)) if self.value() == "yes" else queryset


@admin.register(BindingFailure)
class BindingFailureAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no generic at run time
    """Wrong codes, for platform staff: they belong to no organization."""

    list_display = ("gateway_sn", "by_enrolment", "is_locked_out", "organization_id_tried", "first_at", "last_at")
    list_filter = (LockedOutFilter, "by_enrolment", "last_at")
    search_fields = ("gateway_sn", "organization_id_tried")
    actions = ("clear_lockout",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[BindingFailure]:
        rows: QuerySet[BindingFailure] = super().get_queryset(request)
        locked_out = BindingFailure.objects.locked_out(timezone.now())
        same = locked_out.filter(gateway_sn=OuterRef("gateway_sn"), by_enrolment=OuterRef("by_enrolment"))
        return rows.annotate(is_locked=Exists(same))

    @admin.display(boolean=True, ordering="is_locked", description="gateway locked out")
    def is_locked_out(self, obj: BindingFailure) -> bool:
        return bool(obj.is_locked)  # type: ignore[attr-defined]  # of `get_queryset`

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

    @admin.action(description="Let these gateways try again (clear lock-out)", permissions=["view"])
    def clear_lockout(self, request: HttpRequest, queryset: QuerySet[BindingFailure]) -> None:
        cleared = credentials.clear_lockouts(queryset.values_list("gateway_sn", flat=True), actor=actor(request))
        self.message_user(request, f"{cleared} gateway(s) may try again.", messages.SUCCESS)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who did what, for platform staff and for the managers of the organization."""

    view_role = HISTORY_ROLE

    list_display = ("at", "who", "through", "action", "object_name", "object_kind", "organization")
    list_filter = ("at", "through", ("organization", TenantFilter))
    list_select_related = ("user", "api_key", "organization")
    search_fields = ("action", "object_name", "=object_id", "user__username", "api_key__name", "=api_key__prefix")
    fields = (*list_display, "object_id", "before", "after", "same_request")
    readonly_fields = ("who", "object_kind", "same_request")

    @admin.display(ordering=Coalesce("user__username", "api_key__name"))
    def who(self, obj: AuditEvent) -> str:
        return str(obj.who) if obj.user_id or obj.api_key_id else ""

    @admin.display(ordering="object_type", description="what")
    def object_kind(self, obj: AuditEvent) -> str:
        return obj.object_type.rpartition(".")[2]

    @admin.display(description="same action")
    def same_request(self, obj: AuditEvent) -> SafeString:
        address = reverse("admin:organizations_auditevent_changelist")
        return format_html('<a href="{}?request_id={}">all rows of this action</a>', address, obj.request_id)


# Rights come from Membership.role, never from Django's groups or permissions.
admin.site.unregister([User, Group])


@admin.register(User)
class PlatformUserAdmin(UserAdmin):  # type: ignore[type-arg]
    """Everybody who may sign in; platform staff only."""

    list_display = ("username", "email", "is_active", "is_superuser", "last_login", "organizations")
    list_filter = ("is_active", "is_superuser", "memberships__role")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        (
            "Rights",
            {
                "description": "Everything else follows from the memberships.",
                "fields": ("is_active", "is_staff", "is_superuser"),
            },
        ),
        ("Times", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_platform_staff(request.user)

    has_add_permission = has_module_permission

    def has_view_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return is_platform_staff(request.user)

    has_change_permission = has_delete_permission = has_view_permission

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("memberships__organization")

    def log_addition(self, request: HttpRequest, obj: User, message: object) -> LogEntry:
        self._audit(request, "add", obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: User, message: object) -> LogEntry:
        self._audit(request, "change", obj, message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[User]) -> list[LogEntry]:
        for user in queryset:
            self._audit(request, "delete", user)
        return super().log_deletions(request, queryset)

    def _audit(self, request: HttpRequest, action: str, user: User, message: object = None) -> None:
        after = {"changed": message} if message else {}
        audit.record([audit.event(actor(request), action, user, organization_id=None, after=after)])

    @admin.display(description="member of")
    def organizations(self, obj: User) -> str:
        return ", ".join(membership.organization.name for membership in obj.memberships.all())
