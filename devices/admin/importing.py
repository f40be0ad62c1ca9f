"""The form that takes many serial numbers, each of which gets an account of the broker."""

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from devices.admin.credentials import CredentialPages, may_manage, sheets_page
from devices.broker import importing
from organizations.admin.issuing import IssuedForms, new_form_id
from organizations.admin.tenant import actor
from organizations.models import Organization
from organizations.tenancy import is_platform_staff


class ImportForm(forms.Form):
    """Serial numbers, as somebody copies them from a delivery note or a spreadsheet."""

    serial_numbers = forms.CharField(
        label=_("Serial numbers"),
        widget=forms.Textarea(attrs={"rows": 12, "class": "vLargeTextField", "spellcheck": "false"}),
        max_length=100 * importing.MOST,
        help_text=format_lazy(
            _("One on each line, or separated by commas or spaces; {most} at most."), most=importing.MOST
        ),
    )
    organization = forms.ModelChoiceField(
        Organization.objects.filter(closed_at=None),
        required=False,
        empty_label=_("nobody yet: the organization that binds them"),
        label=_("New docks belong to"),
        help_text=_("Docks that are not here yet are added. Docks that are here stay whose they are."),
    )
    form_id = forms.CharField(widget=forms.HiddenInput, initial=new_form_id, required=False, max_length=64)

    def clean_serial_numbers(self) -> list[str]:
        found = importing.serial_numbers(self.cleaned_data["serial_numbers"])
        if not found:
            raise forms.ValidationError(gettext("Type at least one serial number."))
        if len(found) > importing.MOST:
            text = gettext("These are {count}: {most} at most at once.")
            raise forms.ValidationError(text.format(count=len(found), most=importing.MOST))
        return found


class ImportPages(CredentialPages):
    """Adds the form beside the list."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.import_view)
        return [path("import/", view, name=f"devices_{self.opts.model_name}_import"), *super().get_urls()]

    @sensitive_variables()
    def import_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows the form, POST issues the accounts and shows their secrets once."""
        if not self.has_credentials_permission(request):
            raise PermissionDenied
        is_staff = is_platform_staff(request.user)
        form = ImportForm(request.POST if request.method == "POST" else None)
        if not is_staff:
            del form.fields["organization"]
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Accounts for many serial numbers"),
            "opts": self.opts,
            "form": form,
            "is_staff": is_staff,
        }
        if not form.is_valid():
            return TemplateResponse(request, "admin/devices/dockconnection/import.html", context)
        done_before = IssuedForms(request, "credentials")
        if form.cleaned_data["form_id"] in done_before:
            text = gettext(
                "This form was carried out already, and its secrets cannot be shown again. Lost them? Rotate."
            )
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(reverse(f"admin:devices_{self.opts.model_name}_changelist"))
        done = importing.bring_in(
            form.cleaned_data["serial_numbers"],
            actor=actor(request),
            may_manage=lambda device: may_manage(request, device),
            may_add=is_staff,
            owner=form.cleaned_data.get("organization"),
        )
        if not done.accounts:
            for sn, reason in done.skipped:
                form.add_error("serial_numbers", gettext("{about}: {text}.").format(about=sn, text=reason))
            return TemplateResponse(request, "admin/devices/dockconnection/import.html", context)
        done_before.add(form.cleaned_data["form_id"], "import")
        reasons: dict[str, list[str]] = {}
        for sn, reason in done.skipped:
            reasons.setdefault(reason, []).append(sn)
        return sheets_page(request, context, done.accounts, skipped=list(reasons.items()))
