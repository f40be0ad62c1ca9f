"""What the link of an invitation opens."""

from django.contrib import messages
from django.contrib.admin import site
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from organizations import invitations
from organizations.people import second_factor, sign_in


@never_cache
@sensitive_post_parameters()
def welcome(request: HttpRequest, token: str) -> HttpResponse:
    """Ask the invited person: an account that exists says yes or no, a new one chooses its password.

    Answers 410 for a link that is used up, over, or was never made.
    """
    invitation = invitations.find(token)
    page: dict[str, object] = {"site_header": site.site_header, "site_title": site.site_title, "invitation": invitation}
    if invitation is None:
        return _answer(request, page | {"title": gettext("This invitation is not valid any more")}, status=410)
    page |= {"title": gettext("Invitation to {organization}").format(organization=invitation.organization.name)}
    account = invitations.account(invitation.username)
    visitor = request.user if request.user.is_authenticated else None
    form = SetPasswordForm(account or User(username=invitation.username), request.POST or None)
    page |= {"account": account, "is_invited": visitor == account, "form": form}
    if request.method != "POST" or visitor != account:
        return _answer(request, page)
    if "decline" in request.POST:
        invitations.decline(token, user=visitor)
        return _answer(request, page | {"title": gettext("You declined"), "invitation": None, "is_declined": True})
    if account is None and not form.is_valid():
        return _answer(request, page)
    try:
        membership = invitations.accept(token, user=account, password=request.POST.get("new_password1", ""))
    except ValidationError as error:
        return _answer(request, page | {"errors": error.messages})
    said = gettext("You are a member of {organization} now.").format(organization=membership.organization.name)
    messages.success(request, said)
    if second_factor.is_required(membership.user) and second_factor.find(membership.user) is None:
        # Their password was typed, or they were signed in, a moment ago: the next page sets the second factor up.
        return sign_in.proceed(request, membership.user, reverse("admin:index"))
    return redirect("admin:index")  # a new user signs in on the way


def _answer(request: HttpRequest, page: dict[str, object], *, status: int = 200) -> HttpResponse:
    return TemplateResponse(request, "admin/organizations/invitation/welcome.html", page, status=status)
