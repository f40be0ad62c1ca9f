"""Forms of the admin: organizations with write-only secrets, roles, invitations, binding codes, API keys."""

import re
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from django import forms
from django.conf import settings
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.exceptions import ValidationError
from django.db.models import TextChoices
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from mqtt_bridge import access_list
from organizations import rights
from organizations.api_keys import LIFETIME
from organizations.models import (
    CODE_LIFETIME,
    BindingCode,
    Invitation,
    Membership,
    Organization,
    OrganizationAPIKey,
    check_own_code,
)
from organizations.typed import TypedField

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as LazyText

MOST_CODES: Final = 100  # of one form
MOST_LABEL: Final = 100  # characters
NUMBER: Final = re.compile(r"\{n(?::0?(\d))?\}")


class SplitDateTime(AdminSplitDateTime):
    """The stock fields for a date and a time, with names that are read out."""

    def __init__(self) -> None:
        super().__init__()
        for widget, name in zip(self.widgets, (_("Date"), _("Time")), strict=True):
            widget.attrs["aria-label"] = name


def _of_zone() -> str:
    return gettext("In the time zone {zone}.").format(zone=timezone.get_current_timezone_name())


of_zone = lazy(_of_zone, str)  # in which a person types a time: their own


class WriteOnlyField(forms.CharField):
    """A secret that is typed and never shown; left empty it stays as it is."""

    def __init__(self, *, label: "str | LazyText") -> None:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"})
        help_text = _("Never shown. Leave empty to keep what is stored.")
        super().__init__(required=False, widget=widget, label=label, help_text=help_text)

    def has_changed(self, initial: object, data: object) -> bool:
        return bool(data)


class OrganizationForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """Platform staff's form of an organization."""

    app_key = WriteOnlyField(label=_("DJI app key"))
    app_license = WriteOnlyField(label=_("DJI app license"))
    clear_license = forms.BooleanField(
        label=_("Remove the own DJI license"),
        required=False,
        help_text=_("Docks of this organization then get the license in the server's settings."),
    )

    class Meta:
        model = Organization
        field_classes = {"organization_id": TypedField}
        fields = [
            "organization_id",
            "name",
            "is_active",
            "time_zone",
            "device_limit",
            "license_sync_hours",
            "second_factor_required",
            "app_id",
            "app_key",
            "app_license",
        ]

    def clean_app_key(self) -> str:
        return str(self.cleaned_data["app_key"] or self.instance.app_key)

    def clean_app_license(self) -> str:
        return str(self.cleaned_data["app_license"] or self.instance.app_license)

    def clean(self) -> dict[str, object]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("clear_license"):
            cleaned |= {"app_id": "", "app_key": "", "app_license": ""}
        return cleaned


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """A member's role; the admin clears `keeps_manager` for platform staff."""

    keeps_manager = True

    class Meta:
        model = Membership
        fields = ["role"]

    def clean_role(self) -> str:
        role: str = self.cleaned_data["role"]
        stored = Membership.objects.select_for_update().get(pk=self.instance.pk)
        if self.keeps_manager and role != stored.role and rights.is_last_manager(stored):
            raise ValidationError(_("An organization keeps its last manager. Name another one first."))
        return role


class IssuingForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """Something to issue. `form_id` is new each time the form is shown, so that a reload is recognised."""

    form_id = forms.CharField(widget=forms.HiddenInput, initial=uuid4, required=False, max_length=64)


class InvitationForm(IssuingForm):
    """A new invitation. The username is typed, not picked: nobody sees a list of the platform's users."""

    class Meta:
        model = Invitation
        fields = ["form_id", "organization", "username", "role"]
        widgets = {"username": forms.TextInput(attrs={"autocomplete": "off", "class": "vTextField"})}
        help_texts = {"username": _("The name this person signs in with here, now or later.")}

    def clean(self) -> dict[str, object]:
        cleaned = super().clean() or self.cleaned_data
        name, organization = cleaned.get("username"), cleaned.get("organization")
        if name and Membership.objects.filter(user__username__iexact=name, organization=organization).exists():
            self.add_error("username", _("This user is a member of this organization already."))
        return cleaned


class MailForm(forms.Form):
    """Where a link that is shown once is mailed to. `plain` is what the link carries."""

    plain = forms.CharField(widget=forms.HiddenInput, max_length=64)
    address = forms.EmailField(
        label=_("Mail address"), widget=forms.EmailInput(attrs={"autocomplete": "off", "class": "vTextField"})
    )
    language = forms.ChoiceField(label=_("Language of the mail"), choices=settings.LANGUAGES)


def in_future(moment: datetime | None) -> datetime | None:
    """This moment; ValidationError if it is over."""
    if moment is not None and moment <= timezone.now():
        raise ValidationError(_("This time is over already."))
    return moment


def from_now(lifetime: timedelta) -> datetime:
    """When something new expires by default, to the minute."""
    return (timezone.now() + lifetime).replace(second=0, microsecond=0)


class SheetLogin(TextChoices):
    """Which account of the broker an onboarding sheet has."""

    ENROLMENT = "enrolment", _("an enrolment account made for this sheet, which expires with the code")
    OWN = "own", _("the dock's own account: type its serial number below")
    FIXED = "fixed", _("the fixed account in the server's settings (DOCK_MQTT_USERNAME)")


def default_login() -> SheetLogin:
    """A made account is better where the broker knows it, which it does with an access list."""
    return SheetLogin.ENROLMENT if access_list.is_kept() else SheetLogin.FIXED


def numbered(pattern: str, count: int) -> list[str]:
    """So many labels of a pattern: `{n}` is the number, `{n:02}` with zeros; without either the number comes last."""
    if count == 1 and not NUMBER.search(pattern):
        return [pattern]
    if pattern and not NUMBER.search(pattern):
        pattern += " {n}"
    parts = NUMBER.split(pattern)  # text, width, text, width, text
    texts, widths = parts[::2], [int(width or 0) for width in parts[1::2]]
    return [
        texts[0] + "".join(f"{number:0{width}}{text}" for width, text in zip(widths, texts[1:], strict=True))
        for number in range(1, count + 1)
    ]


class BindingCodeForm(IssuingForm):
    """New binding codes, one or many; the admin sets `may_add_docks` for platform staff.

    `cleaned_data["labels"]` is the label of each code; of one code alone, `[label]`.
    """

    may_add_docks = False

    count = forms.IntegerField(
        label=_("How many codes"),
        initial=1,
        required=False,
        min_value=1,
        max_value=MOST_CODES,
        help_text=_("Up to 100, each with its own sheet. {n} in the label is the number: “Pier {n:02}”."),
    )
    labels = forms.CharField(
        label=_("A label for each"),
        required=False,
        max_length=MOST_CODES * 101,
        widget=forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"}),
        help_text=_("One on each line, one code for each line. It replaces number and label above."),
    )
    code = TypedField(
        label=_("Own code"),
        required=False,
        max_length=64,
        widget=forms.TextInput(attrs={"autocomplete": "off", "class": "vTextField"}),
        help_text=_(
            "Leave empty to have one made. An own one needs 8 or more letters and digits; "
            "hyphens and case do not count. Others can guess it, so it is refused while many wrong codes are tried."
        ),
    )
    expires_at = forms.SplitDateTimeField(
        label=_("Expires at"),
        initial=partial(from_now, CODE_LIFETIME),
        required=False,
        widget=SplitDateTime(),
        help_text=format_lazy("{} {}", of_zone(), _("Empty: never.")),
    )
    max_uses = forms.IntegerField(
        label=_("How many uses"),
        initial=1,
        required=False,
        min_value=1,
        help_text=_("A dock with its aircraft is one use. Empty: no limit."),
    )

    login = forms.ChoiceField(
        label=_("MQTT account on the sheet"),
        choices=SheetLogin.choices,
        initial=default_login,
        widget=forms.RadioSelect,
        required=False,
        help_text=_("With an enrolment account the dock can bind and do nothing else, until it gets its own."),
    )
    serial_number = TypedField(
        label=_("Serial number of the dock"),
        required=False,
        max_length=64,
        widget=forms.TextInput(attrs={"autocomplete": "off", "class": "vTextField"}),
        help_text=_("Only for the dock's own account. It is on the dock's type plate."),
    )

    class Meta:
        model = BindingCode
        fields = [
            "form_id", "organization", "label", "count", "labels", "code", "expires_at", "max_uses", "login",
            "serial_number",
        ]  # fmt: skip

    def clean(self) -> dict[str, object]:
        cleaned = super().clean() or self.cleaned_data
        cleaned["login"] = login = cleaned.get("login") or default_login()
        code, organization = cleaned.get("code"), cleaned.get("organization")
        sn = cleaned.get("serial_number")
        cleaned["labels"] = cleaned.get("labels") or numbered(cleaned.get("label") or "", cleaned.get("count") or 1)
        if max(map(len, cleaned["labels"])) > MOST_LABEL:
            self.add_error("label", gettext("A label has {most} characters at most.").format(most=MOST_LABEL))
        if len(cleaned["labels"]) > 1:
            if code:
                self.add_error("code", _("Several codes cannot be the same: leave it empty to have them made."))
            if login == SheetLogin.OWN:
                self.add_error("login", _("A dock's own account is for one sheet: choose another for several codes."))
        if sn and login != SheetLogin.OWN:
            self.add_error(
                "login", _("A serial number is typed in: choose the dock's own account, or empty that field.")
            )
        elif login == SheetLogin.OWN and isinstance(organization, Organization):
            logins = import_module(settings.SHEET_LOGINS)
            if why := logins.why_no_own(sn or "", organization=organization, may_add=self.may_add_docks):
                self.add_error("serial_number", f"{why[:1].upper()}{why[1:]}.")
        if code and isinstance(organization, Organization):
            try:
                check_own_code(code, organization)
            except ValidationError as error:
                self.add_error(None, error)
        return cleaned

    def clean_labels(self) -> list[str]:
        found = [line.strip() for line in self.cleaned_data["labels"].splitlines() if line.strip()]
        if len(found) > MOST_CODES:
            text = gettext("These are {count}: {most} at most at once.")
            raise ValidationError(text.format(count=len(found), most=MOST_CODES))
        return found

    def clean_expires_at(self) -> datetime | None:
        return in_future(self.cleaned_data["expires_at"])


class ApiKeyForm(IssuingForm):
    """A new API key."""

    expiry_date = forms.SplitDateTimeField(
        label=_("Expires at"),
        initial=partial(from_now, LIFETIME),
        required=False,
        widget=SplitDateTime(),
        help_text=of_zone(),
    )
    never_expires = forms.BooleanField(
        label=_("It never expires"),
        required=False,
        help_text=_("Whatever the time above. Such a key works until somebody revokes it."),
    )

    class Meta:
        model = OrganizationAPIKey
        fields = ["form_id", "organization", "name", "role", "expiry_date"]

    def clean(self) -> dict[str, object]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("never_expires"):
            self.errors.pop("expiry_date", None)
            cleaned["expiry_date"] = None
        elif "expiry_date" in cleaned and cleaned["expiry_date"] is None:
            self.add_error("expiry_date", _("Say when it expires, or that it never does."))
        return cleaned

    def clean_expiry_date(self) -> datetime | None:
        return in_future(self.cleaned_data["expiry_date"])
