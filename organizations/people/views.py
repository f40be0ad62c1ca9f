"""The pages of people: sign-in and its second step, second factor, sessions, password reset."""

from collections.abc import Mapping
from typing import Any

import segno
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import site
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm, SetPasswordForm
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from cloudapi.rest.guesses import EVERYBODY, Limit, client_of
from organizations.audit import Actor
from organizations.models import AuditEvent
from organizations.people import password_reset, provider, saved_filters, second_factor, sessions, sign_in
from organizations.people.forms import CodeForm, SavedFilterForm, SignInForm
from organizations.people.second_factor import Verdict
from organizations.people.tasks import send_password_reset

SHOWN = "second_factor"  # where a session keeps which secret it was shown
WRONG = _("This code is wrong, or was used before. Wait for the next one.")
# Requests for a mail: each is a task, and workers have docks to serve.
BY_CLIENT = Limit("reset", 10, 900)
IN_ALL = Limit("resets", 100, 900)
SENT_THERE = Limit("provider", 60, 600)  # each stores a session
OWN_PASSWORD = Limit("own", 10, 900)  # passwords that a signed-in user, or somebody at their browser, tries


@method_decorator(never_cache, name="dispatch")
class SignIn(auth_views.LoginView):
    """The admin's sign-in page."""

    template_name = "admin/login.html"
    authentication_form = SignInForm

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if request.method == "GET":
            if site.has_permission(request):
                return redirect("admin:index")
            if (user := sign_in.held_up(request)) is not None:
                return sign_in.proceed(request, user, self.get_success_url())
        return super().dispatch(request, *args, **kwargs)

    def get_default_redirect_url(self) -> str:
        return reverse("admin:index")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        found = {
            "app_path": self.request.get_full_path(),
            "username": self.request.user.get_username(),
            "provider": settings.OIDC_NAME if provider.is_configured() else "",
            "has_reset": password_reset.is_configured(),
        }
        context = {**super().get_context_data(**kwargs), **found}
        context[self.redirect_field_name] = self.get_success_url()
        return context

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user: User = form.get_user()
        return sign_in.proceed(self.request, user, self.get_success_url())


@never_cache
@sensitive_post_parameters("code")
def sign_in_code(request: HttpRequest) -> HttpResponse:
    """Ask who showed the first factor for a code."""
    person = sign_in.pending(request)
    if person is None or second_factor.find(person.user) is None:
        if sign_in.PENDING in request.session:
            messages.error(request, _("Your password counts for ten minutes only. Sign in again."))
        return redirect("admin:login")
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        before = second_factor.codes_left(person.user)
        if _is_right(form, person.user):
            sign_in.complete(request, person)
            if (left := second_factor.codes_left(person.user)) < before:
                text = ngettext(
                    "You signed in with a recovery code. {count} is left; “Second factor” makes new ones.",
                    "You signed in with a recovery code. {count} are left; “Second factor” makes new ones.",
                    left,
                )
                messages.warning(request, text.format(count=left))
            return redirect(person.next_url)
    return _page(request, "code", _("Second factor"), {"form": form})


@never_cache
@sensitive_post_parameters("code")
def set_up_second_factor(request: HttpRequest) -> HttpResponse:
    """Show a new secret and ask for a code made of it; then show the recovery codes, once."""
    person = sign_in.pending(request)
    user = person.user if person is not None else request.user
    if not isinstance(user, User) or not user.is_authenticated:
        return redirect("admin:login")
    factor = second_factor.begin(user, request.session.get(SHOWN, 0))
    if factor.confirmed_at is not None:
        return redirect("second_factor")
    request.session[SHOWN] = factor.pk
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if codes := second_factor.confirm(user, form.cleaned_data["code"]):
            if person is not None:
                sign_in.complete(request, person)
            sessions.end([user], actor=_actor(user), keep=request.session.session_key)
            return _codes_page(request, codes, person.next_url if person is not None else reverse("second_factor"))
        form.add_error("code", _("This code is wrong. Check that your phone's clock is right."))
    # without inline style, which our content security policy forbids
    uri = second_factor.uri(factor)
    qr = segno.make(uri, error="m").svg_inline(border=4, omitsize=True, svgclass="qr")
    is_required = second_factor.is_required(user)
    context = {"form": form, "factor": factor, "is_required": is_required, "uri": uri, "qr": mark_safe(qr)}  # noqa: S308  # paths only
    return _page(request, "set_up", _("Set up a second factor"), context)


@never_cache
@login_required
@sensitive_post_parameters("code")
def second_factor_page(request: HttpRequest) -> HttpResponse:
    """What the user has; new recovery codes and removal, both for a code."""
    user = _user(request)
    factor, is_required = second_factor.find(user), second_factor.is_required(user)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and factor is not None and form.is_valid():
        is_removal = "remove" in request.POST
        if is_removal and is_required:
            form.add_error(None, _("You need a second factor here; only platform staff can remove it."))
        elif _is_right(form, user):
            if not is_removal:
                codes = second_factor.renew_codes(user, actor=_actor(user))
                return _codes_page(request, codes, reverse("second_factor"))
            second_factor.remove([user], actor=_actor(user))
            messages.success(request, _("Your second factor is removed. The password alone opens your account now."))
            return redirect("second_factor")
    context = {"factor": factor, "is_required": is_required, "form": form, "left": second_factor.codes_left(user)}
    return _page(request, "second_factor", _("Second factor"), context)


@never_cache
@login_required
def sessions_page(request: HttpRequest) -> HttpResponse:
    """The user's sessions; `POST` ends all others."""
    user = _user(request)
    if request.method == "POST":
        count = sessions.end([user], actor=_actor(user), keep=request.session.session_key)
        ended = ngettext("{count} other session ended.", "{count} other sessions ended.", count).format(count=count)
        messages.success(request, ended)
        return redirect("sessions")
    rows = [(row, sessions.browser_name(row.browser)) for row in sessions.of_user(user)]
    return _page(request, "sessions", _("Sessions"), {"rows": rows, "own": request.session.session_key})


@require_POST
@login_required
def save_filter(request: HttpRequest) -> HttpResponse:
    """Keep what a list shows under a name, for the user alone."""
    form = SavedFilterForm(request.POST)
    if not form.is_valid():
        raise BadRequest(gettext("No list, or no name of at most 60 letters."))
    page, query = form.cleaned_data["page"], form.cleaned_data["query"]
    if not saved_filters.save(_user(request).pk, page=page, name=form.cleaned_data["name"], query=query):
        text = gettext("You have {most} filters of this list already: forget one of them.")
        messages.error(request, text.format(most=saved_filters.MOST))
    return redirect(f"{saved_filters.address_of(page)}?{query}")


@require_POST
@login_required
def delete_saved_filter(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget one of the user's; the list stays as it is."""
    row = get_object_or_404(_user(request).saved_filters, pk=pk)
    row.delete()
    return redirect(f"{saved_filters.address_of(row.page) or reverse('admin:index')}?{row.query}")


def may_change_password(request: HttpRequest) -> bool:
    """Count a try at the stock page, which hashes the old password."""
    return request.method != "POST" or OWN_PASSWORD.count(str(_user(request).pk)) <= OWN_PASSWORD.tries


# --- the identity provider ---------------------------------------------------------------------


@never_cache
@require_GET
def to_provider(request: HttpRequest) -> HttpResponse:
    """Send the browser to the identity provider.

    A link, not a form: browsers apply `form-action` to every redirect after a form, and a provider may pass people on
    to hosts that nobody here knows.
    """
    if not provider.is_configured():
        raise Http404
    wanted = request.GET.get("next", "")
    is_own = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    if SENT_THERE.count(client_of(request.META.get("REMOTE_ADDR", ""))) > SENT_THERE.tries:
        messages.error(request, _("Too many tries to sign in. Try again in 10 minutes."))
        return redirect("admin:login")
    try:
        return provider.send_there(request, wanted if is_own else reverse("admin:index"))
    except provider.RefusedError as refused:
        messages.error(request, str(refused))
        return redirect("admin:login")


@never_cache
@require_GET
def from_provider(request: HttpRequest) -> HttpResponse:
    """Take the browser back from the identity provider. A second factor is asked here too."""
    if not provider.is_configured():
        raise Http404
    try:
        user, next_url = provider.who_returned(request)
    except provider.RefusedError as refused:
        messages.error(request, str(refused))
        return redirect("admin:login")
    return sign_in.proceed(request, user, next_url)


# --- password reset ----------------------------------------------------------------------------


class _ResetPage:
    """The stock pages of the admin under our name; 404 while this server sends no mail."""

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not password_reset.is_configured():
            raise Http404
        return super().dispatch(request, *args, **kwargs)  # type: ignore[misc,no-any-return]  # of the view beside it

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)  # type: ignore[misc]
        return {"site_header": site.site_header, "site_title": site.site_title, **context}


class ResetPassword(_ResetPage, auth_views.PasswordResetView):
    """Ask for the address; the answer is the same for each."""

    def form_valid(self, form: Any) -> HttpResponse:
        client = client_of(self.request.META.get("REMOTE_ADDR", ""))
        if BY_CLIENT.count(client) > BY_CLIENT.tries or IN_ALL.count(EVERYBODY) > IN_ALL.tries:
            form.add_error("email", _("Too many requests. Try again in 15 minutes."))
            return self.render_to_response(self.get_context_data(form=form), status=429)
        send_password_reset.delay(form.cleaned_data["email"], get_language())
        return redirect("password_reset_done")


class ResetSent(_ResetPage, auth_views.PasswordResetDoneView):
    """It says that a mail may be on its way."""


class ChoosePassword(_ResetPage, auth_views.PasswordResetConfirmView):
    """What the link of the mail opens."""

    def form_valid(self, form: "SetPasswordForm[User]") -> HttpResponse:
        response = super().form_valid(form)
        password_reset.finish(form.user)
        return response


class PasswordChosen(_ResetPage, auth_views.PasswordResetCompleteView):
    """It leads to the sign-in."""


# --- parts -------------------------------------------------------------------------------------


def _is_right(form: CodeForm, user: User) -> bool:
    """Whether the code of this valid form is right; if not, the form says so."""
    verdict = second_factor.check(user, form.cleaned_data["code"])
    if verdict is Verdict.LOCKED:
        number = second_factor.minutes_locked(user)
        text = ngettext(
            "Too many wrong codes. Try again in {number} minute.",
            "Too many wrong codes. Try again in {number} minutes.",
            number,
        )
        form.add_error("code", text.format(number=number))
    elif verdict is Verdict.WRONG:
        form.add_error("code", WRONG)
    return verdict is Verdict.RIGHT


def _codes_page(request: HttpRequest, codes: list[str], next_url: str) -> HttpResponse:
    return _page(request, "recovery_codes", _("Recovery codes"), {"codes": codes, "next_url": next_url})


def _page(request: HttpRequest, name: str, title: str | Promise, context: Mapping[str, object]) -> HttpResponse:
    shown = {**site.each_context(request), "title": title, **context}
    return TemplateResponse(request, f"admin/people/{name}.html", shown)


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101  # of `login_required`
    return request.user


def _actor(user: User) -> Actor:
    return Actor(AuditEvent.Through.ADMIN, user)
