"""How a person chooses language, time zone, and which questions are asked."""

from typing import cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import site
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language, override
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from organizations import time_zones
from organizations.people.models import Preference

YEAR = 365 * 24 * 3600  # seconds


class PreferenceForm(forms.ModelForm):  # type: ignore[type-arg]
    """Language, zone and questions of one person."""

    language = forms.ChoiceField(
        label=_("Language"), required=False, choices=[("", _("as the browser asks")), *settings.LANGUAGES]
    )
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        required=False,
        choices=lambda: [("", _("as the browser's")), *((name, name) for name in sorted(time_zones.names()))],
        help_text=_("Times on all pages are in this zone. Files and the REST API have UTC."),
    )

    ask_before_switch_off = forms.BooleanField(
        label=_("Ask before a license is switched off"),
        required=False,
        help_text=_("Several licenses at once are always asked about."),
    )

    class Meta:
        model = Preference
        fields = ("language", "time_zone")


@require_POST
def set_language(request: HttpRequest) -> HttpResponse:
    """Keep the language that the switch names, for the person or else for this browser; back to the page."""
    language, back = request.POST.get("language", ""), request.POST.get("next", "")
    is_own = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    response = HttpResponseRedirect(back if is_own and back.startswith("/") else reverse("admin:index"))
    if language in dict(settings.LANGUAGES):
        if request.user.is_authenticated:
            Preference.objects.update_or_create(user=request.user, defaults={"language": language})
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            language,
            max_age=YEAR,
            secure=request.is_secure(),
            httponly=True,
            samesite="Lax",
        )
    return response


@login_required(login_url="admin:login")
@never_cache
def preferences(request: HttpRequest) -> HttpResponse:
    """The page of a person's language, zone and questions."""
    user = cast(User, request.user)
    own = Preference.objects.filter(user=user).first() or Preference(user=user)
    form = PreferenceForm(
        request.POST or None,
        instance=own,
        initial={"ask_before_switch_off": Preference.asks_before_switch_off(user.pk)},
    )
    if request.method == "POST" and form.is_valid():
        form.save()
        Preference.keep(user.pk, ask_before_switch_off=form.cleaned_data["ask_before_switch_off"])
        with override(own.language or get_language()):  # the next page is in it
            messages.success(request, str(_("Saved.")))
        return redirect("preferences")
    context = {**site.each_context(request), "title": _("Preferences"), "form": form}
    return TemplateResponse(request, "admin/people/preferences.html", context)
