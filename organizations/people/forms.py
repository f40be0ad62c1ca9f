"""Forms of the sign-in."""

from django import forms


class CodeInput(forms.TextInput):
    """Empty again after a wrong code: the next one is another."""

    def format_value(self, value: object) -> str | None:
        return None


class CodeForm(forms.Form):
    """A code of the app or a recovery code."""

    code = forms.CharField(
        label="Code",
        max_length=64,
        widget=CodeInput(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "class": "vTextField", "spellcheck": "false"}
        ),
    )
