"""Switching licenses of many docks by what they are, since each dock has its own ids for them."""

import json
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from devices.admin.device_pages import KeyList
from licenses import wording
from licenses.admin.switching import MANY, SIDES, SwitchPages
from licenses.models import Inventory
from mqtt_bridge.database.natural_sort import natural

GROUPS = 300  # on one page


class By(models.TextChoices):
    """What makes licenses one group."""

    NAME = "name", gettext_lazy("Name, type and group")
    TYPE = "type", gettext_lazy("Type")
    GROUP = "group", gettext_lazy("Group")


FIELDS: Final = {  # that are equal in a group
    By.NAME: ("name", "type", "group_id"),
    By.TYPE: ("type",),
    By.GROUP: ("group_id",),
}


class DocksForm(forms.Form):
    """Of which docks."""

    devices = KeyList()


@dataclass(frozen=True)  # mypy ends in an error with a NamedTuple here
class Group:
    """Licenses in the aircraft of several docks that are the same."""

    key: str  # the values of its fields, as JSON
    values: dict[str, Any]  # the fields, and how many licenses, docks, on and off
    is_chosen: bool

    @property
    def type_name(self) -> str:
        return wording.type_name(self.values["type"])


class SwitchByPages(SwitchPages):
    """Adds `switch-by/`: the licenses of chosen docks in groups, of which several are switched at once."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.switch_by_view)
        return [path("switch-by/", view, name="licenses_unlocklicense_switch_by"), *super().get_urls()]

    def switch_by_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows the groups; POST leads on to the page that asks whether to switch the licenses of those chosen."""
        if not self.has_command_permission(request):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET
        form = DocksForm(given)
        if not form.is_valid():
            self.message_user(request, _("Choose the docks from the list."), messages.WARNING)
            return HttpResponseRedirect(reverse("admin:devices_device_changelist"))
        devices, wanted_by = form.cleaned_data["devices"], given.get("by")
        by = By(wanted_by) if wanted_by in By.values else By.NAME
        fields = FIELDS[by]
        rows = self.get_queryset(request).filter(device__in=devices, device_model_domain=Inventory.AIRCRAFT)
        counted = rows.order_by().values(*fields).annotate(
            licenses=Count("pk"),
            docks=Count("device", distinct=True),
            on=Count("pk", filter=Q(enabled=True)),
            off=Count("pk", filter=Q(enabled=False)),
        )  # fmt: skip
        chosen = set(request.POST.getlist("group"))
        groups = []
        for values in counted.order_by(*(natural(field) if field == "name" else field for field in fields))[:GROUPS]:
            key = json.dumps([values[field] for field in fields])
            groups.append(Group(key, values, key in chosen))
        side = request.POST.get("side", "")
        if request.method == "POST" and side in SIDES:
            wanted = Q(pk__in=[])
            for group in groups:
                if group.is_chosen:
                    wanted |= Q(**{field: group.values[field] for field in fields})
            found = list(rows.filter(wanted)[: MANY + 1])
            if found and (answer := self._confirm(request, found, side)):
                return answer
            if not found:
                self.message_user(request, _("Choose what to switch."), messages.WARNING)
        found_docks = rows.order_by().aggregate(count=Count("device", distinct=True))["count"]
        context = {
            **self.admin_site.each_context(request),
            "title": _("Switch licenses of several docks"),
            "opts": self.opts,
            "devices": form["devices"].value(),
            "by": by.value,
            "bys": [(each.value, each.label, each is by) for each in By],
            "groups": groups,
            "is_cut": len(groups) == GROUPS,
            "summary": ngettext(
                "{count} dock has licenses in its aircraft.",
                "{count} docks have licenses in their aircraft.",
                found_docks,
            ).format(count=found_docks),
        }
        return TemplateResponse(request, "admin/licenses/unlocklicense/switch_by.html", context)
