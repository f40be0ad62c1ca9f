"""Switching licenses from the admin: one from its row or page, many from the list."""

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from devices.admin.commands import NOT_OPERATOR
from devices.admin.device_pages import KeyList
from devices.admin.forms import SendingForm
from devices.calls.batches import owner
from devices.calls.refusal import Refused
from devices.presence import watch
from licenses import switching, wording
from licenses.models import UnlockLicense
from organizations.admin.tenant import TenantAdmin, actor, may
from organizations.models import Preference, Role

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

MANY = 1000  # licenses in one batch
LIST = "admin:licenses_unlocklicense_changelist"
SIDES = {"on": True, "off": False}


class SwitchManyForm(SendingForm):
    """Which licenses, whether docks that are offline are waited for, and a note for colleagues."""

    licenses = KeyList()


class SwitchPages(TenantAdmin):
    """Adds the switch of a license, and the actions and the page that switch many."""

    actions = ("switch_on_selected", "switch_off_selected")

    def has_command_permission(self, request: HttpRequest) -> bool:
        """Whether the user may command docks of any organization; each license is checked again."""
        return may(request, Role.OPERATOR, anywhere=True)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("switch/<str:side>/", view(self.switch_many_view), name="licenses_unlocklicense_switch_many"),
            path("<int:pk>/switch/", view(require_POST(self.switch_view)), name="licenses_unlocklicense_switch"),
            *super().get_urls(),
        ]

    # --- one -----------------------------------------------------------------------------------

    def switch_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask the dock to switch one license, and redirect to the page with the button.

        Off is confirmed first, unless the user does not want to be asked.
        """
        license_ = self.get_object(request, str(pk))
        if license_ is None:
            raise Http404
        if not may(request, Role.OPERATOR, license_.device.organization_id):
            raise PermissionDenied
        enable = SIDES.get(request.POST.get("enable", ""))
        if enable is None:
            raise BadRequest(_("Switch it on or off."))
        page = reverse("admin:licenses_unlocklicense_change", args=[license_.pk])
        if "_changelist_filters" in request.GET:
            way_back = f"{reverse(LIST)}?{request.GET['_changelist_filters']}".rstrip("?")
        elif "dock" in request.GET:
            way_back = reverse("admin:devices_device_change", args=[license_.device_id]) + "#licenses"
        else:
            way_back = page
        user = actor(request).user
        if not enable and "sure" not in request.POST and (user is None or Preference.asks_before_switch_off(user.pk)):
            context = {
                **self.admin_site.each_context(request),
                "title": _("Switch {license} off?").format(license=license_),
                "opts": self.opts,
                "license": license_,
                "sentence": wording.describe(license_),
                "queue": "queue" in request.POST,
                "way_back": way_back,
            }
            return TemplateResponse(request, "admin/licenses/unlocklicense/switch_off.html", context)
        if user and "unasked" in request.POST:
            Preference.keep(user.pk, ask_before_switch_off=False)
        try:
            switching.switch(license_, enable=enable, actor=actor(request), queue="queue" in request.POST)
        except Refused as refused:
            text = _("{license} is not switched: {reason}").format(license=license_, reason=refused)
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(way_back)
        if enable:
            text = _("The dock is asked to switch {license} on.").format(license=license_)
        else:
            said = _("The dock is asked to switch {license} off.").format(license=license_)
            text = format_html('{} <a href="{}">{}</a>', said, page, _("To undo it, switch it on again on its page."))
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(way_back)

    # --- many ----------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Switch on…"), permissions=["command"])
    def switch_on_selected(self, request: HttpRequest, queryset: QuerySet[UnlockLicense]) -> HttpResponse | None:
        return self._choose(request, queryset, "on")

    @admin.action(description=gettext_lazy("Switch off…"), permissions=["command"])
    def switch_off_selected(self, request: HttpRequest, queryset: QuerySet[UnlockLicense]) -> HttpResponse | None:
        return self._choose(request, queryset, "off")

    def _choose(self, request: HttpRequest, queryset: QuerySet[UnlockLicense], side: str) -> HttpResponse | None:
        rows = list(queryset.select_related("device__organization", "device__state")[: MANY + 1])
        return self._confirm(request, rows, side)

    def switch_many_view(self, request: HttpRequest, side: str) -> HttpResponse:
        """POST starts the batch, or shows the form again with its errors; GET redirects to the list."""
        if side not in SIDES:
            raise Http404
        if not self.has_command_permission(request):
            raise PermissionDenied
        form = SwitchManyForm(request.POST)
        if request.method != "POST" or "licenses" not in form.data or not form.is_valid():
            self.message_user(request, _("Choose the licenses to switch from the list."), messages.WARNING)
            return HttpResponseRedirect(reverse(LIST))
        found = self.get_queryset(request).filter(pk__in=form.cleaned_data["licenses"])
        rows = list(found.select_related("device__organization", "device__state")[: MANY + 1])
        mine, not_mine = self._commanded(request, rows)
        if not mine or self._why_none(request, rows):
            return self._confirm(request, rows, side, form=form) or HttpResponseRedirect(reverse(LIST))
        try:
            batch = switching.switch_many(
                mine,
                enable=SIDES[side],
                actor=actor(request),
                watch=watch(),
                note=form.cleaned_data["note"],
                queue=form.cleaned_data["wait"] is not None,
                expires_in=form.cleaned_data["wait"],
                skipped=not_mine,
            )
        except Refused as refused:
            text = _("Nothing is switched: {reason}").format(reason=refused)
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(reverse(LIST))
        return HttpResponseRedirect(reverse("admin:devices_servicecallbatch_change", args=[batch.pk]))

    def _commanded(
        self, request: HttpRequest, rows: Iterable[UnlockLicense]
    ) -> tuple[list[UnlockLicense], list[tuple[UnlockLicense, "StrOrPromise"]]]:
        """The licenses that the user may switch, and the others."""
        mine, others = list[UnlockLicense](), list[tuple[UnlockLicense, "StrOrPromise"]]()
        for row in sorted(rows, key=lambda row: (row.device.callsign, row.device.sn, row.name, row.license_id)):
            if may(request, Role.OPERATOR, row.device.organization_id):
                mine.append(row)
            else:
                others.append((row, NOT_OPERATOR))
        return mine, others

    def _why_none(self, request: HttpRequest, rows: list[UnlockLicense]) -> str:
        """Why these licenses make no batch; platform staff may mix organizations."""
        if len(rows) > MANY:
            return _("Choose {count} licenses at most: narrow the list.").format(count=f"{MANY:,}")
        if not may(request, None) and rows and owner(row.device for row in rows) is None:
            return _("Choose licenses of one organization: a batch belongs to one.")
        return ""

    def _confirm(
        self, request: HttpRequest, rows: list[UnlockLicense], side: str, *, form: SwitchManyForm | None = None
    ) -> HttpResponse | None:
        """The page that asks; None with a message if there is nothing to ask."""
        if why := self._why_none(request, rows):
            self.message_user(request, why, messages.ERROR)
            return None
        mine, not_mine = self._commanded(request, rows)
        plan = switching.plan(mine, enable=SIDES[side], watch=watch())
        if side == "on":
            title = ngettext("Switch {count} license on", "Switch {count} licenses on", len(rows))
        else:
            title = ngettext("Switch {count} license off", "Switch {count} licenses off", len(rows))
        skipped = sorted([*not_mine, *plan.skipped], key=itemgetter(1))
        context = {
            **self.admin_site.each_context(request),
            "title": title.format(count=f"{len(rows):,}"),
            "opts": self.opts,
            "side": side,
            "form": form or SwitchManyForm(initial={"licenses": [row.pk for row in rows]}),
            "now": plan.now,
            "waiting": [row for row, _why in plan.waiting],
            "skipped": [(reason, [row for row, _why in group]) for reason, group in groupby(skipped, itemgetter(1))],
            "skipped_count": len(skipped),
            "unavailable": not settings.COMMANDS_AVAILABLE,
        }
        return TemplateResponse(request, "admin/licenses/unlocklicense/switch.html", context)
