"""Sites and labels in the admin, and the page that puts devices there."""

from collections.abc import Sequence
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devices.admin.device_pages import KeyList, named
from devices.grouping import assigning, renaming
from devices.models import Device, Label, Site
from organizations.admin.tenant import TenantAdmin, TenantFilter, actor, may
from organizations.models import Organization, Role


class GroupingForm(ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """A name that the organization has already is refused, also while the organization is not a field of the form."""

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = type(self.instance)._default_manager.exclude(pk=self.instance.pk)
        if others.filter(organization=self.instance.organization_id, name=name).exists():
            raise ValidationError(_("This organization has one of this name already."))
        return name


class GroupingAdmin(TenantAdmin):
    """What devices are grouped by. It stays with its organization, or a device's group would be another's."""

    form = GroupingForm
    add_role = Role.OPERATOR
    change_role = Role.OPERATOR
    delete_role = Role.MANAGER

    ordering = ("name", "pk")  # that of the model does not count for rows with a count
    list_filter = (("organization", TenantFilter),)
    list_select_related = ("organization",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return cast("QuerySet[Any]", super().get_queryset(request).annotate(size=Count("devices")))

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Tell how many devices lose it. The stock list names them with a query for each, or not at all."""
        rows = list(objs)
        counts = {
            str(self.opts.verbose_name_plural): len(rows),
            gettext("devices that lose it"): sum(row.size for row in rows),
        }
        may_delete = all(self.has_delete_permission(request, row) for row in rows)
        return [str(row) for row in rows], counts, set() if may_delete else {str(self.opts.verbose_name)}, []

    def get_readonly_fields(self, request: HttpRequest, obj: Site | Label | None = None) -> tuple[str, ...]:
        return ("organization",) if obj else ()

    @admin.display(description=_("devices"), ordering="size")
    def size(self, obj: Any) -> int:
        count: int = obj.size
        return count


@admin.register(Site)
class SiteAdmin(GroupingAdmin):
    """Where devices stand."""

    fields = ("organization", "name", "place", ("latitude", "longitude"), "time_zone")
    list_display = ("name", "organization", "place", "time_zone", "size")
    search_fields = ("name", "place")
    search_help_text = _("Name or place")


@admin.register(Label)
class LabelAdmin(GroupingAdmin):
    """Words on devices."""

    fields = ("organization", "name", "colour")
    list_display = ("name", "organization", "in_colour", "size")
    search_fields = ("name",)
    search_help_text = _("Name")

    class Media:
        css = {"all": ["devices/devices.css"]}

    @admin.display(description=_("colour"), ordering="colour")
    def in_colour(self, obj: Label) -> SafeString:
        """As the label is on a device."""
        return format_html('<span class="label label-{}">{}</span>', obj.colour, obj.get_colour_display())


# --- the page for devices ------------------------------------------------------------------------


class AssignForm(forms.Form):
    """The site and the labels that devices of one organization get and lose."""

    devices = KeyList()
    site = forms.ChoiceField(label=_("Site"), required=False)
    add = forms.ModelMultipleChoiceField(
        Label.objects.none(), label=_("Add labels"), required=False, widget=forms.CheckboxSelectMultiple
    )
    remove = forms.ModelMultipleChoiceField(
        Label.objects.none(), label=_("Take off labels"), required=False, widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, *args: Any, organization: Organization | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sites = {str(site.pk): site for site in Site.objects.filter(organization=organization)}
        sites = [
            (key, f"{site} ({site.time_zone})" if site.time_zone else str(site)) for key, site in self.sites.items()
        ]
        field = cast("forms.ChoiceField", self.fields["site"])
        field.choices = [("", _("as it is")), ("none", _("no site")), *sites]
        for name in ("add", "remove"):
            cast("forms.ModelMultipleChoiceField[Label]", self.fields[name]).queryset = Label.objects.filter(
                organization=organization
            )


class RenameForm(forms.Form):
    """Which devices, and the pattern of their names."""

    devices = KeyList()
    pattern = forms.CharField(
        label=_("Pattern"),
        max_length=200,
        help_text=_(
            "{n} is a number, {n:02} one of two digits. {organization}, {site}, {product}, {sn} and {callsign} are the "
            "device's own."
        ),
    )
    first = forms.IntegerField(label=_("First number"), min_value=0, max_value=9999, initial=1)


class GroupingPages(TenantAdmin):
    """Putting devices at a site, and labels and names on them, for operators."""

    def has_group_permission(self, request: HttpRequest) -> bool:
        """Whether the user is an operator of any organization; each device is asked about again."""
        return may(request, Role.OPERATOR, anywhere=True)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("grouping/", view(self.grouping_view), name="devices_device_grouping"),
            path("rename/", view(self.rename_view), name="devices_device_rename"),
            *super().get_urls(),
        ]

    @admin.action(description=_("Change site and labels of selected devices"), permissions=["group"])
    def group_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        keys = ",".join(str(key) for key in queryset.values_list("pk", flat=True))
        return HttpResponseRedirect(f"{reverse('admin:devices_device_grouping')}?devices={keys}")

    @admin.action(description=_("Rename selected devices by a pattern"), permissions=["group"])
    def rename_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        keys = ",".join(str(key) for key in queryset.values_list("pk", flat=True))
        return HttpResponseRedirect(f"{reverse('admin:devices_device_rename')}?devices={keys}")

    def rename_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows the names that `?devices=1,2` get by `&pattern=`, POST gives them."""
        if not self.has_group_permission(request):
            raise PermissionDenied
        data = request.POST if request.method == "POST" else request.GET
        is_asked = "pattern" in data
        form = RenameForm(data if is_asked else {"devices": data.get("devices", ""), "first": "1"})
        form.is_valid()
        visible: QuerySet[Device] = self.get_queryset(request).filter(pk__in=form.cleaned_data.get("devices", []))
        rows = visible.select_related("organization", "site").order_by("sn")
        devices = [device for device in rows if may(request, Role.OPERATOR, device.organization_id)]
        if not devices:
            self.message_user(request, gettext("Choose the devices to rename from the list."), messages.WARNING)
            return HttpResponseRedirect(reverse("admin:devices_device_changelist"))
        wanted: list[str] = []
        if form.is_valid():
            given = form.cleaned_data
            try:
                wanted = renaming.names(devices, given["pattern"], first=given["first"])
            except ValidationError as error:
                form.add_error("pattern", error)
        if wanted and request.method == "POST":
            changed = renaming.rename(devices, wanted, actor=actor(request))
            text = gettext("Renamed: {devices}.").format(devices=named(changed)) if changed else _("Nothing changed.")
            self.message_user(request, str(text), messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:devices_device_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Rename devices"),
            "opts": self.opts,
            "form": form,
            "is_asked": is_asked,
            "wanted": list(zip(devices, wanted or [""] * len(devices), strict=True)),
            "is_ready": bool(wanted),
        }
        return TemplateResponse(request, "admin/devices/device/rename.html", context)

    def grouping_view(self, request: HttpRequest) -> HttpResponse:
        """GET asks what `?devices=1,2`, all of one organization, get; POST assigns it."""
        if not self.has_group_permission(request):
            raise PermissionDenied
        data = request.POST if request.method == "POST" else request.GET
        chosen = AssignForm({"devices": data.get("devices", "")})
        keys = chosen.cleaned_data["devices"] if chosen.is_valid() else []
        visible: QuerySet[Device] = (
            self.get_queryset(request).filter(pk__in=keys).select_related("organization", "site")
        )
        devices = [
            device
            for device in visible.prefetch_related("labels")
            if may(request, Role.OPERATOR, device.organization_id)
        ]
        owners = {device.organization for device in devices}
        owner = owners.pop() if len(owners) == 1 else None
        if owner is None:
            self.message_user(request, gettext("Choose devices of one organization from the list."), messages.WARNING)
            return HttpResponseRedirect(reverse("admin:devices_device_changelist"))
        if request.method == "POST":
            form = AssignForm(request.POST, organization=owner)
            if form.is_valid():
                given = form.cleaned_data
                changed = assigning.assign(
                    devices,
                    organization=owner,
                    actor=actor(request),
                    site={"": "", "none": None, **form.sites}[given["site"]],
                    add=given["add"],
                    remove=given["remove"],
                )
                text = (
                    gettext("Changed: {devices}.").format(devices=named(changed))
                    if changed
                    else gettext("Nothing changed.")
                )
                self.message_user(request, text, messages.SUCCESS)
                address = reverse("admin:devices_device_change", args=[devices[0].pk]) if len(devices) == 1 else ""
                return HttpResponseRedirect(address or reverse("admin:devices_device_changelist"))
        else:
            form = AssignForm(initial={"devices": [device.pk for device in devices]}, organization=owner)
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Site and labels"),
            "opts": self.opts,
            "form": form,
            "devices": devices,
            "organization": owner,
            "has_labels": form.fields["add"].queryset.exists(),  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/devices/device/grouping.html", context)
