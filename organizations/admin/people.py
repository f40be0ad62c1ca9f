"""The admin of the platform's users: also who has a second factor, and what to do about a lost phone or laptop."""

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, SetUnusablePasswordMixin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from organizations import audit
from organizations.admin.tenant import actor, audit_trail_page
from organizations.people import second_factor, sessions
from organizations.people.models import SecondFactor, UserSession
from organizations.tenancy import is_platform_staff

# Rights come from Membership.role, never from Django's groups or permissions.
admin.site.unregister([User, Group])


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[type-arg]  # no generic at run time
    """The stock form, whose help text is not translated."""

    usable_password_help_text = format_lazy(  # type: ignore[assignment]  # Django shows both
        '{}<ul id="id_unusable_warning" class="messagelist"><li class="warning">{}</li></ul>',
        SetUnusablePasswordMixin.usable_password_help_text,
        _("If disabled, the current password for this user will be lost."),
    )


@admin.register(User)
class PlatformUserAdmin(UserAdmin):  # type: ignore[type-arg]
    """Everybody who may sign in; platform staff only."""

    list_display = (
        "username",
        "email",
        "is_active",
        "platform_staff",
        "organizations",
        "has_second_factor",
        "open_sessions",
        "last_login",
    )
    actions = ("remove_second_factor", "end_sessions")
    list_filter = ("is_active", "is_superuser", "memberships__role")
    filter_horizontal = ()
    change_password_form = PasswordForm
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        (
            _("Rights"),
            {
                "description": _("Everything else follows from the memberships."),
                "fields": ("is_active", "is_staff", "is_superuser", "organizations"),
            },
        ),
        (_("Sign-in"), {"fields": ("has_second_factor", "open_sessions", "last_login", "date_joined")}),
    )
    readonly_fields = ("organizations", "has_second_factor", "open_sessions", "last_login", "date_joined")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_platform_staff(request.user)

    has_add_permission = has_module_permission

    def has_view_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return is_platform_staff(request.user)

    has_change_permission = has_delete_permission = has_view_permission

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        confirmed = SecondFactor.objects.filter(user=OuterRef("pk")).exclude(confirmed_at=None)
        is_open = UserSession.objects.filter(user=OuterRef("pk"), expire_date__gt=timezone.now())
        count = is_open.order_by().values("user").annotate(count=Count("pk")).values("count")
        rows: QuerySet[User] = super().get_queryset(request).prefetch_related("memberships__organization")
        return rows.annotate(second=Exists(confirmed), open=Coalesce(Subquery(count), 0))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The audit trail of this person's account, for the stock page knows only what forms changed."""
        user = self.get_object(request, unquote(object_id))
        if user is None:
            raise Http404
        if not self.has_view_permission(request, user):
            raise PermissionDenied
        return audit_trail_page(self, request, user)

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

    @admin.display(description=_("member of"))
    def organizations(self, obj: User) -> str:
        return ", ".join(membership.organization.name for membership in obj.memberships.all())

    @admin.display(boolean=True, ordering="is_superuser", description=_("platform staff"))
    def platform_staff(self, obj: User) -> bool:
        return is_platform_staff(obj)

    @admin.display(boolean=True, ordering="second", description=_("second factor"))
    def has_second_factor(self, obj: User) -> bool:
        return bool(obj.second)  # type: ignore[attr-defined]  # of `get_queryset`

    @admin.display(ordering="open", description=_("sessions"))
    def open_sessions(self, obj: User) -> int:
        return int(obj.open)  # type: ignore[attr-defined]  # of `get_queryset`

    @admin.action(description=_("Remove the second factor of selected users"), permissions=["change"])
    def remove_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = second_factor.remove(queryset, actor=actor(request))
        text = gettext("{count} removed. A user who needs one sets it up at the next sign-in.")
        self.message_user(request, text.format(count=count))

    @admin.action(description=_("End all sessions of selected users"), permissions=["change"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = sessions.end(queryset, actor=actor(request))
        text = ngettext("{count} session ended.", "{count} sessions ended.", count)
        self.message_user(request, text.format(count=count))
