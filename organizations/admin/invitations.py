"""The admin of invitations: issued with their link, revoked when they are not wanted any more."""

from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST

from organizations import invitations
from organizations.admin.forms import InvitationForm, MailForm
from organizations.admin.issuing import IssuingAdmin, StateFilter
from organizations.admin.tenant import TenantFilter, actor
from organizations.models import Invitation, Role
from organizations.people import password_reset


@admin.register(Invitation)
class InvitationAdmin(IssuingAdmin[Invitation]):
    """Invitations to become a member; nobody becomes one without saying yes."""

    steps = invitations
    issuing_form = InvitationForm
    shown = ("organization", "username", "role", "state", "created_by", "created", "expires_at", "accepted_at")
    sheet_template = "admin/organizations/invitation/sheet.html"
    add_hint = _("The link is shown once, on the next page. It is for this person alone and works for 72 hours.")
    revoked_means = _("its link opens nothing any more.")
    view_role = Role.MANAGER

    list_display = ("username", "role_name", "state", "owner", "created_by", "expires_at")
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

    def sheet(self, obj: Invitation, plain: str, form: MailForm | None = None) -> dict[str, object]:
        link = f"{settings.PUBLIC_URL}{reverse('welcome', args=[plain])}"
        if form is None and password_reset.is_configured():
            form = MailForm(initial={"plain": plain, "language": get_language()})
        title, role = gettext("New invitation"), Role(obj.role).word()
        return {"title": title, "invitation": obj, "role": role, "link": link, "form": form}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.mail)
        return [path("<int:pk>/mail/", view, name="organizations_invitation_mail"), *super().get_urls()]

    @method_decorator([require_POST, sensitive_post_parameters("plain"), sensitive_variables()])
    def mail(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Mail the link of an invitation that was just made; if that fails, show it again."""
        row = self.get_object(request, str(pk))
        if row is None:  # or not the user's to see
            raise Http404
        form = MailForm(request.POST)
        form.full_clean()
        plain = form.cleaned_data.get("plain", "")
        page = HttpResponseRedirect(reverse("admin:organizations_invitation_change", args=[pk]))
        if not password_reset.is_configured() or invitations.find(plain) != row:
            self.message_user(request, gettext("This invitation cannot be mailed: make another."), messages.WARNING)
            return page
        if form.is_valid():
            wanted = form.cleaned_data
            reason = invitations.mail(
                plain, address=wanted["address"], language=wanted["language"], actor=actor(request)
            )
            if not reason:
                text = gettext("The link is mailed to {address}.").format(address=wanted["address"])
                self.message_user(request, text, messages.SUCCESS)
                return page
            form.add_error(None, reason)
        context = {**self.admin_site.each_context(request), "opts": self.opts, **self.sheet(row, plain, form)}
        return TemplateResponse(request, self.sheet_template, context)

    @admin.display(ordering="role", description=_("role"))
    def role_name(self, obj: Invitation) -> str:
        return Role(obj.role).word()
