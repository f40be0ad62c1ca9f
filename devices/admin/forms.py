"""The forms of commands: of a button, made from the service's fields (`devices/calls/methods.py`), and for when."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Self
from zoneinfo import ZoneInfo

import msgspec
from django import forms
from django.apps import apps
from django.utils import timezone
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from devices.calls.method import Button, Data, Method
from organizations import time_zones

DAY: Final = 86_400
NIGHT: Final = 2  # o'clock
WAITS: Final = {3_600: _("1 hour"), DAY: _("24 hours"), 7 * DAY: _("7 days")}  # for a dock that is offline


def waits() -> list[tuple[int, str]]:
    """For how many seconds a command may wait for its dock, each with the moment when that is over."""
    now = timezone.now()
    text = gettext("{length}, until {moment}")
    return [
        (seconds, text.format(length=length, moment=time_zones.written(now + timedelta(seconds=seconds))))
        for seconds, length in WAITS.items()
    ]


class UnechoedInput(forms.TextInput):
    """A field that comes back empty: what was typed into it never appears on a page."""

    def get_context(self, name: str, value: object, attrs: dict[str, object] | None) -> dict[str, object]:
        return super().get_context(name, None, attrs)


WIDGETS = {
    "": forms.TextInput,
    "unechoed": UnechoedInput,
    "password": forms.PasswordInput,  # comes back empty, too
}


class CommandForm(forms.Form):
    """What a person fills in to ask one dock or many; without fields it is a button."""

    def __init__(
        self,
        method: Method,
        button: Button,
        data: Mapping[str, object] | None = None,
        *,
        owner: int | None = None,
        username: str = "",
        asks_before_off: bool = False,
    ) -> None:
        """`owner` is the key of the organization whose docks are asked; None if there are several.

        With `asks_before_off` a form that switches something off comes back once, with a box to be ticked.
        """
        super().__init__(data, auto_id=f"id_{button.name}_%s", label_suffix="", initial={"username": username})
        self.button = button
        self.asks_before_off = asks_before_off
        taken = {field.name: field for field in msgspec.inspect.type_info(method.input).fields}  # type: ignore[attr-defined]
        for name in button.fields:
            self.fields[name] = _form_field(taken[name], owner)

    def clean(self) -> dict[str, object]:
        given = super().clean() or {}
        if self.asks_before_off and given.get("enable") is False and "sure" not in self.data:
            self.fields["sure"] = forms.BooleanField(label=_("Switch it off"))
            self.fields["unasked"] = forms.BooleanField(label=_("Do not ask me again"), required=False)
            self.add_error("sure", _("Without it the aircraft may not fly where only this license allows it."))
        return given

    def call_data(self) -> Data:
        """The data of the call; only of a valid form."""
        given = {name: self.cleaned_data[name] for name in self.button.fields}
        rows = {name: value.pk if hasattr(value, "pk") else value for name, value in given.items()}
        return {**self.button.given, **rows}


def _form_field(field: msgspec.inspect.Field, owner: int | None) -> forms.Field:
    """The form's field for a field of a service; its `Meta(extra=...)` has the words."""
    [kind] = [kind for kind in getattr(field.type, "types", [field.type]) if kind != msgspec.inspect.NoneType()]
    words: Mapping[str, str] = {}
    if isinstance(kind, msgspec.inspect.Metadata):
        words, kind = kind.extra or {}, kind.type
    label, help_text, wrong = (words.get(name, "") for name in ("label", "help", "wrong"))
    if "rows" in words:
        # By its name, since the app of licenses stands above this one.
        rows = apps.get_model(words["rows"])._default_manager.filter(organization=owner)
        errors = {"invalid_choice": wrong}
        return forms.ModelChoiceField(
            rows, label=label, help_text=help_text, empty_label=_("choose"), error_messages=errors
        )
    match kind:
        case msgspec.inspect.BoolType():
            on, off = pgettext_lazy("license", "on"), pgettext_lazy("license", "off")
            return forms.TypedChoiceField(
                label=label,
                help_text=help_text,
                choices=[("", _("choose")), ("on", on), ("off", off)],
                coerce=lambda side: side == "on",
            )
        case msgspec.inspect.IntType():
            number = forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})
            return forms.IntegerField(
                label=label,
                help_text=help_text,
                min_value=kind.ge,
                max_value=kind.le,
                widget=number,
                error_messages={"invalid": wrong},
            )
        case msgspec.inspect.StrType():
            widget = WIDGETS[words.get("widget", "")]
            is_password = widget is forms.PasswordInput
            return forms.CharField(
                label=label,
                help_text=help_text,
                required=field.required,
                max_length=kind.max_length,
                strip=not is_password,
                widget=widget(attrs={"autocomplete": "new-password" if is_password else "off"}),
            )
    raise TypeError(f"A form has no field for {kind!r}.")


class WaitField(forms.TypedChoiceField):
    """Whether docks that are offline are waited for, and how long: a timedelta, or None for not at all."""

    def __init__(self) -> None:
        super().__init__(
            label=_("Docks that are offline"),
            required=False,
            choices=lambda: [
                ("", _("do not get it")),
                *(
                    (seconds, gettext("get it when they come online: {wait}").format(wait=wait))
                    for seconds, wait in waits()
                ),
            ],
            coerce=lambda seconds: timedelta(seconds=int(seconds)),
            empty_value=None,
        )


class SendingForm(forms.Form):
    """How commands to many docks are sent: whether offline ones are waited for, and a note."""

    wait = WaitField()
    note = forms.CharField(
        label=_("Note"),
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"placeholder": _("why, for your colleagues"), "autocomplete": "off"}),
    )


class LaterForm(forms.Form):
    """A moment in the future, in a zone of choice or in each dock's own.

    `cleaned_data["due_at"]` is that moment, by zone in `cleaned_data["due_in"]` if each dock has its own.
    """

    use_required_attribute = False  # it is part of a form that can be sent without it

    day = forms.DateField(label=_("Day"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    time = forms.TimeField(label=_("Time"), widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"))
    own_zone = forms.BooleanField(
        label=_("In the time zone of each dock"),
        required=False,
        help_text=_("One batch for each time zone; the zone below does not count."),
    )
    zone = forms.CharField(
        label=_("Time zone"),
        required=False,
        max_length=time_zones.MOST,
        validators=[time_zones.validate],
        widget=forms.TextInput(attrs={"list": "later-zones", "autocomplete": "off"}),
        help_text=_("For example Asia/Shanghai, Europe/Berlin or UTC."),
    )

    def __init__(
        self,
        data: Mapping[str, object] | None = None,
        *,
        zones: Collection[str] = (),
        initial: dict[str, object] | None = None,
    ) -> None:
        """`zones` are those of the docks; without another one than the first, there is nothing to choose."""
        super().__init__(data, auto_id="id_later_%s", label_suffix="", initial=initial)
        self.zones = sorted(set(zones))
        if len(self.zones) < 2:
            del self.fields["own_zone"]
            self.fields["zone"].required = True

    @classmethod
    def tonight(cls, zones: Sequence[str]) -> Self:
        """For the next 02:00 where the first dock is, which is over in none of the zones.

        UTC is the zone of docks that name none: for them it is 02:00 where the reader is.
        """
        first = timezone.get_current_timezone_name() if set(zones) == {"UTC"} else zones[0]
        days = []
        for zone in (first, *zones):
            now = timezone.localtime(timezone=ZoneInfo(zone))
            days.append(now.date() if now.hour < NIGHT else now.date() + timedelta(days=1))
        own_zone = len(set(zones)) > 1
        initial = {"day": max(days), "time": f"{NIGHT:02}:00", "zone": first, "own_zone": own_zone}
        return cls(zones=zones, initial=initial)

    def clean(self) -> dict[str, object]:
        given = super().clean() or {}
        is_own = given.get("own_zone")
        if not is_own and given.get("zone") == "":
            self.add_error("zone", self.fields["zone"].error_messages["required"])
        if self.errors:
            return given
        due = {}
        for zone in self.zones if is_own else [given["zone"]]:
            try:
                due[zone] = time_zones.moment(datetime.combine(given["day"], given["time"]), zone)
            except forms.ValidationError as error:
                raise forms.ValidationError(f"{zone}: {error.message}" if is_own else error.message) from None
        return {**given, "due_in": due} if is_own else {**given, "due_at": due[given["zone"]]}
