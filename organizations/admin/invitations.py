"""The admin of invitations: issued with their link, revoked when they are not wanted any more."""

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from organizations import invitations
from organizations.admin.forms import InvitationForm
from organizations.admin.issuing import IssuingAdmin, StateFilter
from organizations.admin.tenant import TenantFilter, actor
from organizations.models import Invitation, Role


@admin.register(Invitation)
class InvitationAdmin(IssuingAdmin[Invitation]):
    """Invitations to become a member; nobody becomes one without saying yes."""

    steps = invitations
    issuing_form = InvitationForm
    shown = ("organization", "username", "role", "state", "created_by", "created", "expires_at", "accepted_at")
    sheet_template = "admin/organizations/invitation/sheet.html"
    add_hint = "The link is shown once, on the next page. It is for this person alone and works for 72 hours."
    revoked_means = "its link opens nothing any more."
    view_role = Role.MANAGER

    list_display = ("username", "role_name", "state", "organization__name", "created_by", "expires_at")
    list_filter = (StateFilter, ("organization", TenantFilter))
    list_select_related = ("organization", "created_by")
    search_fields = ("username", "organization__name")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, object], *args: object, **kwargs: object
    ) -> HttpResponse:
        if not kwargs.get("add"):  # nothing of it can be changed
            context |= {"show_save": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    def issue(self, request: HttpRequest, obj: Invitation, wanted: dict[str, object]) -> tuple[Invitation, str]:
        return invitations.issue(
            actor=actor(request), organization=obj.organization, username=obj.username, role=Role(obj.role)
        )

    def sheet(self, obj: Invitation, plain: str) -> dict[str, object]:
        link = f"{settings.PUBLIC_URL}{reverse('welcome', args=[plain])}"
        return {"title": "New invitation", "invitation": obj, "link": link}

    @admin.display(ordering="role", description="role")
    def role_name(self, obj: Invitation) -> str:
        return obj.role
