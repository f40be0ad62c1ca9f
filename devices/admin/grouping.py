"""Sites and labels in the admin."""

from typing import Any, cast

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from devices.models import Label, Site
from organizations.admin.tenant import TenantAdmin, TenantFilter
from organizations.models import Role


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
    list_display = ("name", "organization", "colour", "size")
    search_fields = ("name",)
    search_help_text = _("Name")
