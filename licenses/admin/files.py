"""The admin of license files: upload, list, download log."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from licenses import files, views
from licenses.models import LicenseFile
from organizations.admin.tenant import TenantAdmin, TenantFilter, actor
from organizations.models import Role

SHOWN = 50  # of a file's downloads


class LicenseFileForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """A file for the docks of an organization."""

    upload = forms.FileField(
        label=_("File"), help_text=_("An offline license file from DJI's FlySafe site. Docks get it byte for byte.")
    )

    class Meta:
        model = LicenseFile
        fields = ["organization", "upload"]

    def clean_upload(self) -> "UploadedFile[bytes]":
        upload: UploadedFile[bytes] = self.cleaned_data["upload"]
        files.read(upload)
        return upload


@admin.register(LicenseFile)
class LicenseFileAdmin(TenantAdmin):
    """License files: uploaded by operators, never changed, deleted by managers while no dock needs them."""

    add_role = Role.OPERATOR
    delete_role = Role.MANAGER
    actions = None  # each deletion is asked about by itself

    list_display = ("name", "fetch", "size_shown", "owner", "uploader", "created", "fetched", "md5")
    list_filter = (("organization", TenantFilter), "created")
    list_select_related = ("organization", "uploaded_by", "uploaded_with")
    search_fields = ("name", "=md5", "organization__name")
    search_help_text = _("Name, organization, or the whole MD5")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LicenseFile]:
        return super().get_queryset(request).with_downloads()  # type: ignore[attr-defined,no-any-return]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_form(
        self, request: HttpRequest, obj: LicenseFile | None = None, change: bool = False, **kwargs: object
    ) -> type["forms.ModelForm[LicenseFile]"]:
        if not change:
            kwargs["form"] = LicenseFileForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: LicenseFile | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("organization", "upload")
        return ("name", "organization", "size_shown", "md5", "uploader", "created", "fetch", "log")

    def get_readonly_fields(self, request: HttpRequest, obj: LicenseFile | None = None) -> tuple[str, ...]:
        return self.get_fields(request, obj) if obj else ()

    def get_urls(self) -> list[URLPattern]:
        download = path(
            "<int:pk>/download/", self.admin_site.admin_view(self.download), name="licenses_licensefile_download"
        )
        return [download, *super().get_urls()]

    # --- upload --------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Any, form: "forms.ModelForm[LicenseFile]", change: bool) -> None:
        stored = files.store(organization=obj.organization, upload=form.cleaned_data["upload"], actor=actor(request))
        obj.pk, obj.name, obj.already_there = stored.pk, stored.name, stored.already_there

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except ValidationError as error:  # known only when it was to be stored
            self.message_user(request, " ".join(error.messages), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:licenses_licensefile_add"))

    def response_add(
        self, request: HttpRequest, obj: LicenseFile, post_url_continue: str | None = None
    ) -> HttpResponse:
        if not obj.already_there:
            return super().response_add(request, obj, post_url_continue)
        said = gettext("This file is here already, under the name of its first upload: {file}.")
        text = said.format(file=obj)
        self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:licenses_licensefile_change", args=[obj.pk]))

    def log_addition(self, request: HttpRequest, obj: LicenseFile, message: object) -> Any:
        return None if obj.already_there else super().log_addition(request, obj, message)

    # --- delete --------------------------------------------------------------------------------

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        files.delete(obj, actor=actor(request))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except files.FileInUseError as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:licenses_licensefile_change", args=[object_id]))

    # --- download --------------------------------------------------------------------------------

    @method_decorator(require_safe)
    def download(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The file itself; 404 for a user who may not see it."""
        file = self.get_object(request, str(pk))
        if file is None or not self.has_view_permission(request, file):
            raise Http404
        return views.send(request, file, user=request.user)

    @admin.display(description=_("file"))
    def fetch(self, obj: LicenseFile) -> SafeString:
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:licenses_licensefile_download", args=[obj.pk]), gettext("Download")
        )

    @admin.display(ordering="uploaded_by", description=_("uploaded by"), empty_value="–")
    def uploader(self, obj: LicenseFile) -> str | None:
        who = obj.uploaded_by or obj.uploaded_with
        return str(who) if who else None

    @admin.display(ordering="size", description=_("size"))
    def size_shown(self, obj: LicenseFile) -> SafeString:
        return format_html(
            '<span title="{}">{}</span>',
            ngettext("{count} byte", "{count} bytes", obj.size).format(count=obj.size),
            filesizeformat(obj.size),
        )

    @admin.display(ordering="finished", description=_("finished downloads"))
    def fetched(self, obj: LicenseFile) -> int:
        return obj.finished

    @admin.display(description=_("downloads"))
    def log(self, obj: LicenseFile) -> SafeString:
        rows = obj.downloads.select_related("call__device", "user", "api_key")[:SHOWN]
        return render_to_string("admin/licenses/licensefile/downloads.html", {"rows": rows, "shown": SHOWN})
