"""Words where Django gives people none: for a form that comes after its user was signed out, and for 405."""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext

API = "/api/"


def middleware(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Answer both in the site's look."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and not response.content and not request.path.startswith(API):
            return _not_allowed(request, response.headers["Allow"])
        if request.method == "POST" and isinstance(response, HttpResponseRedirect) and _leads_to_sign_in(response.url):
            messages.warning(request, gettext("You are signed out, so nothing was changed. Sign in and do it again."))
            return redirect_to_login(_page_of_form(request), reverse("admin:login"))
        return response

    return answer


def _not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    text = gettext("Nothing was changed. This address only takes what a button of another page sends.")
    page = {"title": gettext("There is no page here"), "text": text}
    response = render(request, "error.html", page, status=405)
    response.headers["Allow"] = allowed
    return response


def _leads_to_sign_in(address: str) -> bool:
    found = urlsplit(address)
    return found.path == reverse("admin:login") and f"{REDIRECT_FIELD_NAME}=" in found.query


def _page_of_form(request: HttpRequest) -> str:
    """Where the user goes on: many addresses of buttons show no page."""
    referer = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(referer, {request.get_host()}, require_https=request.is_secure()):
        return request.get_full_path()
    found = urlsplit(referer)
    return f"{found.path}?{found.query}" if found.query else found.path
