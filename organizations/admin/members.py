"""The admin of members."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from organizations import rights
from organizations.admin.forms import RoleForm
from organizations.admin.tenant import TenantAdmin, TenantFilter, actor
from organizations.models import Membership, Role
from organizations.people import password_reset
from organizations.people.tasks import send_password_reset
from organizations.tenancy import is_platform_staff


@admin.register(Membership)
class MembershipAdmin(TenantAdmin):
    """Members of organizations, by invitation. Only platform staff may take the last manager away."""

    change_role = delete_role = Role.MANAGER
    actions = None  # a bulk deletion could take all managers at once
    change_form_template = "admin/organizations/membership/change_form.html"

    list_filter = ("role", ("organization", TenantFilter))
    list_select_related = ("user", "organization")
    search_fields = ("user__username", "organization__name")

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Without the last sign-in for managers: the user may be a member elsewhere."""
        shown = ("user", "organization", "role")
        return (*shown, "last_sign_in") if is_platform_staff(request.user) else shown

    def get_form(
        self, request: HttpRequest, obj: Membership | None = None, change: bool = False, **kwargs: object
    ) -> "type[ModelForm[Membership]]":
        form = super().get_form(request, obj, change, form=RoleForm, **kwargs)
        form.keeps_manager = not is_platform_staff(request.user)  # type: ignore[attr-defined]  # of every RoleForm
        return form

    def get_fields(self, request: HttpRequest, obj: Membership | None = None) -> tuple[str, ...]:
        return self.get_list_display(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Membership | None = None) -> tuple[str, ...]:
        return ("user", "organization", "last_sign_in")

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view(self.mail_password_reset), "organizations_membership_password_reset"
        return [path("<int:pk>/password-reset/", view, name=name), *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["why_no_reset"] = password_reset.why_not(context["original"].user)
        return super().render_change_form(request, context, *args, **kwargs)

    @method_decorator(require_POST)
    def mail_password_reset(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Mail a member a link to choose a new password, which nobody else sees."""
        row = self.get_object(request, str(pk))
        if row is None:  # or not the user's to see
            raise Http404
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        if reason := password_reset.note_request(row, actor=actor(request)):
            self.message_user(request, reason, messages.WARNING)
        else:
            send_password_reset.delay(row.user.email)
            text = gettext("A link to choose a new password is mailed to {user}. It works for an hour.")
            self.message_user(request, text.format(user=row.user), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:organizations_membership_change", args=[pk]))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: a person who is invited says yes, or does not."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if not super().has_delete_permission(request, obj):
            return False
        return not isinstance(obj, Membership) or is_platform_staff(request.user) or not rights.is_last_manager(obj)

    @admin.display(ordering="user__last_login", description=_("last sign-in"))
    def last_sign_in(self, obj: Membership) -> datetime | str:
        return obj.user.last_login or gettext("never")
