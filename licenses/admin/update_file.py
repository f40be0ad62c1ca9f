"""Updating the licenses of a dock from a file, in one step from the page of the dock."""

from datetime import timedelta

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from devices.admin.forms import DAY
from devices.calls import asking, methods
from devices.calls.refusal import Refused
from devices.models import Device
from licenses import files
from organizations.admin.tenant import TenantAdmin, actor, may
from organizations.models import Role
from organizations.tenancy import restrict


class UpdateFileForm(forms.Form):
    """A file for one dock, and whether an offline dock gets it later."""

    upload = forms.FileField(error_messages={"required": gettext_lazy("Choose a file.")})
    queue = forms.BooleanField(required=False)

    def clean_upload(self) -> "UploadedFile[bytes]":
        upload: UploadedFile[bytes] = self.cleaned_data["upload"]
        files.read(upload)
        return upload


class UpdateFilePages(TenantAdmin):
    """Adds `dock/<key>/update-file/`, which takes the form of a dock's page."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.update_file_view))
        return [
            path("dock/<int:pk>/update-file/", view, name="licenses_unlocklicense_update_file"),
            *super().get_urls(),
        ]

    def update_file_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Store the file for the organization of the dock, ask the dock to import it, and go back to its page."""
        device = restrict(Device.objects.select_related("organization"), request.user).filter(pk=pk).first()
        if device is None or device.is_aircraft or device.organization is None:
            raise Http404
        if not may(request, Role.OPERATOR, device.organization_id):
            raise PermissionDenied
        way_back = HttpResponseRedirect(f"{reverse('admin:devices_device_change', args=[device.pk])}#licenses")
        form = UpdateFileForm(request.POST, request.FILES)
        who = actor(request)
        try:
            if not form.is_valid():
                raise ValidationError([text for texts in form.errors.values() for text in texts])
            file = files.store(organization=device.organization, upload=form.cleaned_data["upload"], actor=who)
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
            return way_back
        try:
            asking.issue(
                device=device,
                method=methods.UPDATE,
                data={"license_file": file.pk},
                actor=who,
                queue=form.cleaned_data["queue"],
                expires_in=timedelta(seconds=DAY) if form.cleaned_data["queue"] else None,
            )
        except Refused as refused:
            text = _("The file {file} is stored, but the dock is not asked to import it: {reason}")
            self.message_user(request, text.format(file=file, reason=refused), messages.ERROR)
            return way_back
        text = _("The file {file} is stored, and the dock is asked to import it.").format(file=file)
        self.message_user(request, text, messages.SUCCESS)
        return way_back
