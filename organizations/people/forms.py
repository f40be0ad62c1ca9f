"""Forms of the sign-in and of saved filters."""

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from organizations.people import saved_filters


class SignInForm(AdminAuthenticationForm):
    """Name and password."""

    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": _(
            "User name or password is wrong, or the account may not sign in here. Upper and lower case matter."
        ),
    }


class CodeInput(forms.TextInput):
    """Empty again after a wrong code: the next one is another."""

    def format_value(self, value: object) -> str | None:
        return None


class CodeForm(forms.Form):
    """A code of the app or a recovery code."""

    code = forms.CharField(
        label=_("Code"),
        max_length=64,
        widget=CodeInput(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "class": "vTextField", "spellcheck": "false"}
        ),
    )


class SavedFilterForm(forms.Form):
    """What the strip above a list sends; nobody sees its errors, for the page sends nothing else."""

    page = forms.CharField(max_length=100)
    name = forms.CharField(max_length=60)
    query = forms.CharField(max_length=2000)

    def clean_page(self) -> str:
        page: str = self.cleaned_data["page"]
        if saved_filters.address_of(page) is None:
            raise ValidationError(page)
        return page

    def clean_query(self) -> str:
        return saved_filters.kept(QueryDict(self.cleaned_data["query"]))
