"""What people fill in to command docks; what a method is given is checked once more where calls are made."""

from typing import Any, NamedTuple

from django import forms
from django.apps import apps

from devices.calls import methods

LICENSE_ID_LIMIT = 2**63


class UnechoedInput(forms.TextInput):
    """A field that comes back empty: what was typed into it never appears on a page."""

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


class CommandForm(forms.Form):
    """One command to one dock or to many; without fields it is a button."""

    submit = "Send"

    def __init__(self, data: Any = None, *, command: str, owner: int | None = None, **kwargs: Any) -> None:
        """`owner` is the key of the organization whose docks are asked; None if there are several."""
        super().__init__(data, auto_id=f"id_{command}_%s", label_suffix="", **kwargs)
        self.owner = owner

    def call_data(self) -> dict[str, Any]:
        """What the service is given; only of a valid form."""
        return {}


class ReadAircraftForm(CommandForm):
    """The licenses that are imported in the aircraft."""

    def call_data(self) -> dict[str, Any]:
        return {"device_model_domain": 0}


class ReadDockForm(CommandForm):
    """The licenses that FlySafe approved for the dock."""

    def call_data(self) -> dict[str, Any]:
        return {"device_model_domain": 3}


class UpdateForm(CommandForm):
    """The newest licenses from FlySafe."""


class UpdateFromFileForm(CommandForm):
    """Licenses from a file that was uploaded for the organization."""

    submit = "Update"

    license_file: "forms.ModelChoiceField[Any]" = forms.ModelChoiceField(
        queryset=None,
        label="License file",
        empty_label="choose",
        error_messages={"invalid_choice": "Choose a file of the organization of these docks."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By its name, for the app of licenses stands above this one.
        files = apps.get_model("licenses", "LicenseFile")._default_manager
        self.fields["license_file"].queryset = files.filter(organization=self.owner)  # type: ignore[attr-defined]

    def call_data(self) -> dict[str, Any]:
        return {"license_file": self.cleaned_data["license_file"].pk}


class SwitchForm(CommandForm):
    """One license, on or off."""

    submit = "Switch"

    license_id = forms.IntegerField(
        label="License ID",
        min_value=-LICENSE_ID_LIMIT,
        max_value=LICENSE_ID_LIMIT - 1,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
        error_messages={"invalid": "A license ID is a whole number, as in the list of licenses."},
    )
    enable = forms.ChoiceField(label="Switch it", choices=[("", "choose"), ("on", "on"), ("off", "off")])

    def call_data(self) -> dict[str, Any]:
        return {"license_id": self.cleaned_data["license_id"], "enable": self.cleaned_data["enable"] == "on"}


class LoginForm(CommandForm):
    """A DJI account; password and code are never shown again."""

    submit = "Log in"

    username = forms.CharField(
        label="DJI user name", max_length=128, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    password = forms.CharField(
        label="Password",
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    verification_code = forms.CharField(
        label="Verification code",
        required=False,
        max_length=64,
        widget=UnechoedInput(attrs={"autocomplete": "off"}),
        help_text="Only after DJI has asked for one.",
    )

    def call_data(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("username", "password", "verification_code")}


class LogoutForm(CommandForm):
    """Nothing to fill in."""


class Command(NamedTuple):
    """A button or form of the pages: what it says and which service it asks for."""

    name: str
    title: str
    method: str
    form: type[CommandForm]
    help: str = ""


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command(
            "read-aircraft",
            "Read licenses in the aircraft",
            methods.LIST,
            ReadAircraftForm,
            "What is imported in the aircraft and so in force.",
        ),
        Command(
            "read-dock",
            "Read licenses at the dock",
            methods.LIST,
            ReadDockForm,
            "What FlySafe approved for this dock.",
        ),
        Command(
            "update",
            "Update licenses (newest)",
            methods.UPDATE,
            UpdateForm,
            "The dock fetches the newest licenses from FlySafe and imports them in the aircraft.",
        ),
        Command("update-file", "Update licenses from a file", methods.UPDATE, UpdateFromFileForm),
        Command("switch", "Switch a license", methods.SWITCH, SwitchForm),
        Command("login", "Log in to DJI", methods.LOGIN, LoginForm),
        Command("logout", "Log out of DJI", methods.LOGOUT, LogoutForm, "Ends a login that is under way, too."),
    )
}
