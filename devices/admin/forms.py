"""The form of a button that asks for a service, made from the service's own fields (`devices/calls/methods.py`)."""

from collections.abc import Mapping

import msgspec
from django import forms
from django.apps import apps

from devices.calls.method import Button, Data, Method


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
    ) -> None:
        """`owner` is the key of the organization whose docks are asked; None if there are several."""
        super().__init__(data, auto_id=f"id_{button.name}_%s", label_suffix="", initial={"username": username})
        self.button = button
        taken = {field.name: field for field in msgspec.inspect.type_info(method.input).fields}  # type: ignore[attr-defined]
        for name in button.fields:
            self.fields[name] = _form_field(taken[name], owner)

    def call_data(self) -> Data:
        """The data of the call; only of a valid form."""
        rows = {name: value.pk if hasattr(value, "pk") else value for name, value in self.cleaned_data.items()}
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
            rows, label=label, help_text=help_text, empty_label="choose", error_messages=errors
        )
    match kind:
        case msgspec.inspect.BoolType():
            sides = [("", "choose"), ("on", "on"), ("off", "off")]
            return forms.TypedChoiceField(
                label=label, help_text=help_text, choices=sides, coerce=lambda side: side == "on"
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
