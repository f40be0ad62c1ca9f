"""Accounts of the broker for docks in the admin: issue, rotate, revoke, one or many, and the sheets of secrets."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Final, NamedTuple

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from devices.admin.device_pages import NOT_MANAGER, KeyList
from devices.broker import accounts, connections
from devices.models import BrokerAccount, Device, DeviceQuerySet
from organizations.admin.issuing import IssuedForms, new_form_id
from organizations.admin.onboarding_sheet import QRCode, Value, enrolment_address, languages, qr_of
from organizations.admin.spreadsheet import MARK, encoded
from organizations.admin.tenant import TenantAdmin, actor, may
from organizations.models import Role
from organizations.typed import in_groups

HAS_NONE: Final = _("has no account")
UNPROVEN: Final = _("another dock named it; it has not proven yet whose it is")
MOST_NAMES: Final = 10  # of docks in one message
OVERLAPS: Final = {"0": _("at once"), "1": _("in a day"), "7": _("in 7 days"), "30": _("in 30 days")}


class Deed(NamedTuple):
    """Something to do with the accounts of docks, in words."""

    title: str | Promise
    button: str | Promise


DEEDS: Final = {
    "issue": Deed(_("Give docks an account of their own"), _("Issue and show")),
    "rotate": Deed(_("Rotate secrets"), _("Rotate and show")),
    "revoke": Deed(_("Revoke accounts"), _("Revoke")),
}


class CredentialForm(forms.Form):
    """What to do with which docks. `form_id` is new each time the form is shown, so that a reload is recognised."""

    devices = KeyList()
    deed = forms.ChoiceField(choices=[(name, name) for name in DEEDS], widget=forms.HiddenInput)
    form_id = forms.CharField(widget=forms.HiddenInput, initial=new_form_id, required=False, max_length=64)
    old_ends = forms.ChoiceField(
        label=_("The old secret ends"), choices=list(OVERLAPS.items()), initial="7", required=False
    )


@dataclass(frozen=True)
class Sheet:
    """What a technician types into Pilot 2 beside one dock, and the same as a QR code."""

    account: BrokerAccount
    values: list[Value]

    @property
    def qr(self) -> QRCode:
        return qr_of(self.values)


def address_for(account: BrokerAccount) -> str:
    """Where a dock connects with this account."""
    is_own = account.kind == BrokerAccount.Kind.DOCK
    return settings.DOCK_MQTT_URL if is_own else enrolment_address()


def sheet(account: BrokerAccount) -> Sheet:
    """The sheet of a dock's account that was just issued."""
    values = [
        Value(_("MQTT gateway address"), address_for(account)),
        Value(_("MQTT account"), account.username),
        Value(_("MQTT password"), account.plain, in_groups(account.plain)),
    ]
    return Sheet(account, values)


@sensitive_variables()
def as_csv(sheets: Iterable[Sheet]) -> str:
    """A link's address that holds the file itself: the server keeps nothing that it could serve later."""
    rows = [("sn", "username", "password", "callsign", "organization", "mqtt_address")]
    for one in sheets:
        device, owner = one.account.device, one.account.organization
        rows.append((
            device.sn if device else "", one.account.username, one.account.plain, device.callsign if device else "",
            owner.name if owner else "", address_for(one.account),
        ))  # fmt: skip
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(MARK + encoded(rows)).decode()


def sheets_page(
    request: HttpRequest, context: dict[str, object], rows: Sequence[BrokerAccount], **more: object
) -> HttpResponse:
    """The page that shows secrets, once."""
    sheets = [sheet(row) for row in rows]
    context |= {
        "sheets": sheets,
        "languages": languages(),
        "csv": as_csv(sheets),
        "address_missing": not all(map(address_for, rows)),
        **more,
    }
    return TemplateResponse(request, "admin/devices/device/credential_sheets.html", context)


class Choice(NamedTuple):
    """The docks that something is done with, each with its valid accounts, and those skipped, each with the reason."""

    taken: list[Device]
    skipped: list[tuple[Device, str]]


def choose(request: HttpRequest, devices: DeviceQuerySet, deed: str) -> Choice:
    """Sort devices by whether this user may do this with them now. Two queries."""
    now = timezone.now()
    alive = Prefetch("broker_accounts", BrokerAccount.objects.alive(now), to_attr="alive_accounts")
    choice = Choice([], [])
    for device in devices.select_related("organization").prefetch_related(alive).order_by("sn"):
        if reason := _why_not(request, device, deed):
            choice.skipped.append((device, reason))
        else:
            choice.taken.append(device)
    return choice


def _why_not(request: HttpRequest, device: Device, deed: str) -> str:
    found: list[BrokerAccount] = device.alive_accounts  # type: ignore[attr-defined]  # of `choose`
    if device.is_aircraft:
        return str(accounts.IS_AIRCRAFT)
    if not may_manage(request, device):
        return str(UNPROVEN if device.is_unproven else NOT_MANAGER)
    if deed == "issue":
        return accounts.why_no_account(device, found, timezone.now())
    return "" if found else str(HAS_NONE)


def may_manage(request: HttpRequest, device: Device) -> bool:
    """Whether this user may issue and revoke accounts of this dock.

    Managers may for docks that bound to their organization. One that another dock only named is platform staff's: its
    real owner may be somebody else, whom such an account would keep out.
    """
    owner = device.speaks_for
    return may(request, Role.MANAGER, owner.pk if owner else None)


class CredentialPages(TenantAdmin):
    """Actions on lists of docks, and the page that asks before they are carried out."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.credentials_view)
        return [path("credentials/", view, name=f"devices_{self.opts.model_name}_credentials"), *super().get_urls()]

    def has_credentials_permission(self, request: HttpRequest) -> bool:
        """Whether the user manages any organization; each dock is asked about again."""
        return may(request, Role.MANAGER, anywhere=True)

    @admin.action(description=_("Give selected docks an account of their own"), permissions=["credentials"])
    def issue_credentials(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        return self._ask(request, list(queryset.values_list("pk", flat=True)), "issue")

    @admin.action(description=_("Rotate the secrets of selected docks"), permissions=["credentials"])
    def rotate_credentials(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        return self._ask(request, list(queryset.values_list("pk", flat=True)), "rotate")

    @admin.action(description=_("Revoke the accounts of selected docks"), permissions=["credentials"])
    def revoke_credentials(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        return self._ask(request, list(queryset.values_list("pk", flat=True)), "revoke")

    @sensitive_variables()
    def credentials_view(self, request: HttpRequest) -> HttpResponse:
        """GET asks for confirmation of `?devices=1,2&deed=issue`; POST does it, and shows the secrets once."""
        if not self.has_credentials_permission(request):
            raise PermissionDenied
        form = CredentialForm(request.POST if request.method == "POST" else request.GET)
        if not form.is_valid():
            self.message_user(request, gettext("Choose the docks from the list."), messages.WARNING)
            return self._back(request)
        deed, keys = form.cleaned_data["deed"], form.cleaned_data["devices"]
        if request.method != "POST":
            return self._ask(request, keys, deed)
        old_ends = int(form.cleaned_data["old_ends"] or accounts.OVERLAP.days)
        forms_done = IssuedForms(request, "credentials")
        if form.cleaned_data["form_id"] in forms_done:
            text = gettext(
                "This form was carried out already, and its secrets cannot be shown again. Lost them? Rotate."
            )
            self.message_user(request, text, messages.WARNING)
            return self._back(request)
        with transaction.atomic():
            choice = choose(request, self._visible(request, keys), deed)
            made, skipped = self._carry_out(request, choice, deed, timedelta(days=old_ends))
        forms_done.add(form.cleaned_data["form_id"], deed)
        if deed == "revoke" or not made:
            if made:
                text = ngettext("{count} account revoked: {names}.", "{count} accounts revoked: {names}.", len(made))
                names = some([row.username for row in made])
                self.message_user(request, text.format(count=len(made), names=names), messages.SUCCESS)
            self._tell_skipped(request, skipped)
            return self._back(request, keys)
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Accounts of the broker"),
            "opts": self.opts,
        }
        device_keys = {row.device_id for row in made}
        back = device_keys.pop() if len(device_keys) == 1 else None
        return sheets_page(
            request,
            context,
            made,
            skipped=by_reason(skipped),
            back=back,
            old_ends=old_ends,
            deed=deed,
        )

    def _carry_out(
        self, request: HttpRequest, choice: Choice, deed: str, valid_for: timedelta
    ) -> tuple[list[BrokerAccount], list[tuple[Device, str]]]:
        """What was made or ended, and the devices that were skipped."""
        who = actor(request)
        if deed == "issue":
            made, late = accounts.issue_many(choice.taken, actor=who)
            return made, choice.skipped + late
        alive = {device: device.alive_accounts for device in choice.taken}  # type: ignore[attr-defined]  # of `choose`
        if deed == "revoke":
            return accounts.revoke([row for rows in alive.values() for row in rows], actor=who), choice.skipped
        newest = (max(rows, key=lambda row: row.pk) for rows in alive.values())
        return [accounts.rotate(row, actor=who, valid_for=valid_for)[0] for row in newest], choice.skipped

    def _visible(self, request: HttpRequest, keys: list[int]) -> DeviceQuerySet:
        visible = self.get_queryset(request).filter(pk__in=keys)
        return Device.objects.filter(pk__in=visible.values("pk"))

    def _ask(self, request: HttpRequest, keys: list[int], deed: str) -> HttpResponse:
        choice = choose(request, self._visible(request, keys), deed)
        if not choice.taken:
            self._tell_skipped(request, choice.skipped)
            return self._back(request, keys)
        form = CredentialForm(initial={"devices": [device.pk for device in choice.taken], "deed": deed})
        context = {
            **self.admin_site.each_context(request),
            "title": DEEDS[deed].title,
            "opts": self.opts,
            "form": form,
            "deed": deed,
            "button": DEEDS[deed].button,
            "taken": [(device, connections.in_use(device.alive_accounts)) for device in choice.taken],  # type: ignore[attr-defined]  # of `choose`
            "skipped": by_reason(choice.skipped),
            "action": reverse(f"admin:devices_{self.opts.model_name}_credentials"),
        }
        return TemplateResponse(request, "admin/devices/device/credentials.html", context)

    def _tell_skipped(self, request: HttpRequest, skipped: Iterable[tuple[Device, str]]) -> None:
        for reason, names in by_reason(skipped):
            count = len(names)
            text = ngettext(
                "Skipped {count} dock, {reason}: {names}.", "Skipped {count} docks, {reason}: {names}.", count
            )
            self.message_user(request, text.format(count=count, reason=reason, names=some(names)), messages.WARNING)

    def _back(self, request: HttpRequest, keys: Sequence[int] = ()) -> HttpResponse:
        """To the page of the only dock, if the user may see it; else to the list."""
        if len(keys) == 1 and self._visible(request, list(keys)).exists():
            return HttpResponseRedirect(f"{reverse('admin:devices_device_change', args=keys)}#connection")
        return HttpResponseRedirect(reverse(f"admin:devices_{self.opts.model_name}_changelist"))


def some(names: Sequence[str]) -> str:
    """The first of these names, and how many there are beside them: 200 would hide the page."""
    more = len(names) - MOST_NAMES
    shown = ", ".join(names[:MOST_NAMES])
    return gettext("{names} and {count} more").format(names=shown, count=more) if more > 0 else shown


def by_reason(skipped: Iterable[tuple[Device, str]]) -> list[tuple[str, list[str]]]:
    """The names of the devices that were left out, grouped by why."""
    ordered = sorted(((str(reason), str(device)) for device, reason in skipped))
    return [(reason, [name for _, name in group]) for reason, group in groupby(ordered, lambda left: left[0])]
