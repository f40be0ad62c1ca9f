"""The pages that close an organization and open it again, for the platform's staff."""

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from devices.moving import closing, transfer
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization
from organizations.tenancy import is_platform_staff
from organizations.typed import TypedField


class CloseForm(forms.Form):
    """Where its devices go, and the organization's ID, typed again, because one click must not close it."""

    to = forms.ModelChoiceField(
        Organization.objects.filter(is_active=True, closed_at=None),
        required=False,
        empty_label=_("nobody: they are released"),
        label=_("Its devices go to"),
        help_text=_("Their names, sites, labels and license lists are deleted either way."),
    )
    keep_accounts = forms.BooleanField(
        required=False,
        initial=True,
        label=_("Docks that go there keep their MQTT accounts"),
        help_text=_("So they stay connected. The people who leave may know the secrets: rotate them soon."),
    )
    organization_id = TypedField(
        label=_("Type the organization ID to confirm"),
        max_length=64,
        widget=forms.TextInput(attrs={"autocomplete": "off", "class": "vTextField"}),
    )

    def __init__(self, organization: Organization, data: object = None) -> None:
        super().__init__(data)  # type: ignore[arg-type]  # a QueryDict
        self.organization = organization
        self.fields["to"].queryset = self.fields["to"].queryset.exclude(pk=organization.pk)  # type: ignore[attr-defined]
        self.fields["organization_id"].help_text = gettext("It is {id}.").format(id=organization.organization_id)

    def clean_organization_id(self) -> str:
        typed = str(self.cleaned_data["organization_id"])
        if typed != self.organization.organization_id:
            raise forms.ValidationError(_("This is not the ID of this organization."))
        return typed


def urls(site: AdminSite) -> list[URLPattern]:
    """Their addresses, below the page of the organization."""

    def close_view(request: HttpRequest, pk: int) -> HttpResponse:
        return close(request, _found(request, pk), site.each_context(request))

    start = "organizations/organization/<int:pk>"
    return [
        path(f"{start}/close/", site.admin_view(close_view), name="organizations_organization_close"),
        path(f"{start}/reopen/", site.admin_view(require_POST(reopen)), name="organizations_organization_reopen"),
    ]


def _found(request: HttpRequest, pk: int) -> Organization:
    """The organization, for platform staff only."""
    if not is_platform_staff(request.user):
        raise PermissionDenied
    return get_object_or_404(Organization, pk=pk)


def close(request: HttpRequest, organization: Organization, context: dict[str, object]) -> HttpResponse:
    """GET says what would happen and asks, POST closes."""
    form = CloseForm(organization, request.POST if request.method == "POST" else None)
    is_new = False
    if organization.closed_at is None and form.is_valid():
        wanted = {name: form.cleaned_data[name] for name in ("to", "keep_accounts")}
        try:
            is_new = closing.close(organization, actor=_actor(request), **wanted)
        except transfer.Refused as refused:
            form.add_error("to", str(refused))
    if organization.closed_at is None and not form.is_valid():
        more = {
            "title": _("Close organization"),
            "opts": Organization._meta,
            "organization": organization,
            "form": form,
            **counted(organization),
        }
        return TemplateResponse(request, "admin/organizations/organization/close.html", context | more)
    if is_new:
        text, level = gettext("{organization} is closed. You can open it again here."), messages.SUCCESS
    else:
        text, level = gettext("{organization} is closed already."), messages.WARNING
    messages.add_message(request, level, text.format(organization=organization))
    return HttpResponseRedirect(reverse("admin:organizations_organization_change", args=[organization.pk]))


def counted(organization: Organization) -> dict[str, object]:
    """What it has, counted, as its page and the list of organizations count it; devices of no known kind apart."""
    has = closing.belongings(organization)
    counts = has.counts()
    return {
        "counts": counts,
        "disabled": has.docks.filter(is_enabled=False).count(),  # its page leaves them out
        "others": max(0, counts["devices"] - counts["docks"] - counts["aircraft"]),
    }


def reopen(request: HttpRequest, pk: int) -> HttpResponse:
    """Open a closed organization again and go to its page."""
    organization = _found(request, pk)
    if closing.reopen(organization, actor=_actor(request)):
        text = gettext("{organization} is open again. It has no devices and no members: invite a manager.")
        messages.success(request, text.format(organization=organization))
    else:
        messages.warning(request, gettext("{organization} is not closed.").format(organization=organization))
    return HttpResponseRedirect(reverse("admin:organizations_organization_change", args=[pk]))


def _actor(request: HttpRequest) -> Actor:
    # `organizations.admin.tenant.actor` needs the admin site, which needs this module.
    return Actor(AuditEvent.Through.ADMIN, request.user if request.user.is_authenticated else None)
