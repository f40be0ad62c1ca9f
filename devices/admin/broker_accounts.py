"""The broker's accounts in the admin: those of docks, which are issued on their pages, and those for enrolment."""

from datetime import datetime
from functools import partial
from typing import cast

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from devices.admin.credentials import sheets_page
from devices.admin.panels import device_link
from devices.broker import accounts, states
from devices.models import BrokerAccount
from devices.templatetags.moments import ago
from organizations.admin.forms import IssuingForm, SplitDateTime, from_now, in_future
from organizations.admin.issuing import IssuingAdmin, StateFilter
from organizations.admin.tenant import TenantFilter, actor
from organizations.language import stored
from organizations.models import Role
from organizations.tenancy import is_platform_staff


class EnrolmentForm(IssuingForm):
    """A new enrolment account."""

    expires_at = forms.SplitDateTimeField(
        label=_("Expires at"),
        initial=partial(from_now, accounts.ENROLMENT_LIFETIME),
        widget=SplitDateTime(),
        help_text=_("Docks that use it then can bind no more. What they have bound stays bound."),
    )

    class Meta:
        model = BrokerAccount
        fields = ["form_id", "organization", "label", "expires_at"]
        help_texts = {"organization": _("Empty: for docks of every organization. Only platform staff may do that.")}

    def clean_expires_at(self) -> datetime | None:
        return in_future(self.cleaned_data["expires_at"])


@admin.register(BrokerAccount)
class BrokerAccountAdmin(IssuingAdmin[BrokerAccount]):
    """All accounts. Enrolment accounts are added here; a dock's own account is issued on the dock's page."""

    steps = states
    issuing_form = EnrolmentForm
    shown = (
        "username", "kind", "organization", "device", "label", "state", "created", "created_by", "expires_at",
        "revoked_at", "last_connected", "applied_at",
    )  # fmt: skip
    editable = ("label",)
    sheet_template = "admin/devices/device/credential_sheets.html"
    add_hint = _(
        "An enrolment account lets docks bind that have no account of their own yet, and nothing else. Its secret is "
        "shown once, on the next page. A sheet with a binding code can have an enrolment account made for it: issue a "
        "binding code for that. For a dock that is here already, open the dock's page and give it its own account."
    )
    revoked_means = _("the broker disconnects its users and refuses it from now on.")
    view_role = Role.VIEWER

    list_display = ("username", "kind", "of", "state", "issued", "last_connected", "expires", "label")
    list_filter = (StateFilter, "kind", ("organization", TenantFilter))
    list_select_related = ("organization", "device")
    search_fields = ("username", "label", "device__sn", "device__callsign", "organization__name")
    search_help_text = _("User name, label, dock or organization")

    class Media:
        css = {"all": ["devices/devices.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[BrokerAccount]:
        return cast("QuerySet[BrokerAccount]", super().get_queryset(request).select_related("organization", "device"))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": _("Broker accounts"), **(extra_context or {})})

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {"title": gettext("New enrolment account"), **(extra_context or {})})

    def get_form(
        self, request: HttpRequest, obj: BrokerAccount | None = None, change: bool = False, **kwargs: object
    ) -> "type[forms.ModelForm[BrokerAccount]]":
        form = super().get_form(request, obj, change, **kwargs)
        if not change:
            form.base_fields["organization"].required = not is_platform_staff(request.user)
        return form

    def issue(self, request: HttpRequest, obj: BrokerAccount, wanted: dict[str, object]) -> tuple[BrokerAccount, str]:
        return accounts.issue(
            actor=actor(request), organization=obj.organization, label=obj.label, expires_at=obj.expires_at
        )

    def response_add(
        self, request: HttpRequest, obj: BrokerAccount, post_url_continue: str | None = None
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("New enrolment account"),
        }
        return sheets_page(request, context, [obj])

    # --- columns ---------------------------------------------------------------------------

    @admin.display(description=_("of"), ordering="device__sn")
    def of(self, obj: BrokerAccount) -> SafeString | str:
        if obj.device is not None:
            return device_link(obj.device)
        return obj.organization.name if obj.organization else gettext("the platform")

    @admin.display(description=_("issued"), ordering="created")
    def issued(self, obj: BrokerAccount) -> SafeString:
        return ago(obj.created)

    @admin.display(description=_("last connected"), ordering="last_connected_at")
    def last_connected(self, obj: BrokerAccount) -> SafeString | str:
        if obj.last_connected_at is None:
            return gettext("never")
        address = format_html(pgettext("connection", "from {address}"), address=obj.last_address or gettext("unknown"))
        return format_html("{} <small>{}</small>", ago(obj.last_connected_at), address)

    @admin.display(description=_("expires"), ordering="expires_at")
    def expires(self, obj: BrokerAccount) -> SafeString | str:
        return ago(obj.expires_at) if obj.expires_at else gettext("never")

    @admin.display(description=_("state"))
    def state(self, obj: BrokerAccount) -> SafeString:
        why = stored.shown(obj.why_unusable(timezone.now()))
        waits = not why and obj.pending and not obj.applied_at
        words = why or (gettext("waits for the broker") if waits else gettext("usable"))
        return format_html('<span class="state {}">{}</span>', "off" if why or waits else "on", words)
