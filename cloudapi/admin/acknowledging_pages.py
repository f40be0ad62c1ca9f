"""The pages on which a person acknowledges a problem of the start page, and ends that."""

from datetime import timedelta
from typing import Final

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cloudapi.attention import KINDS, Visit, acknowledging, look
from devices.models import Acknowledgement
from organizations import rights
from organizations.audit import Actor
from organizations.models import AuditEvent

NAMED: Final = 20  # devices on the page
HOURS: Final = (
    (4, _("4 hours")),
    (24, _("1 day")),
    (72, _("3 days")),
    (168, _("7 days")),
    (720, _("30 days")),
)


class AcknowledgeForm(forms.Form):
    """Why a problem needs nobody, and for how long."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=200,
        widget=forms.TextInput(attrs={"class": "vTextField", "autofocus": True}),
        help_text=_("Such as: power is off until Friday. The others read it on the start page."),
    )
    hours = forms.TypedChoiceField(label=_("For"), coerce=int, choices=HOURS, initial=24)


def acknowledge(request: HttpRequest, name: str, visit: Visit, context: dict[str, object]) -> HttpResponse:
    """Ask why and until when, then hide the problem."""
    kind = KINDS.get(name)
    if kind is None or (kind.for_staff and not visit.is_staff):
        raise Http404
    if not rights.in_request(request).may(acknowledging.ROLE, anywhere=True):
        raise PermissionDenied
    item = next((item for item in look(visit).items if item.kind == name), None)
    form = AcknowledgeForm(request.POST or None)
    if item is not None and form.is_valid():
        until = timezone.now() + timedelta(hours=form.cleaned_data["hours"])
        reason = form.cleaned_data["reason"]
        count = acknowledging.acknowledge(
            name, item.total, visit=visit, actor=_actor(request), reason=reason, until=until
        )
        if count:
            messages.success(request, gettext("Acknowledged: {problem}.").format(problem=kind.words(count)))
            return redirect("admin:index")
        item = None
    if item is None:
        messages.info(request, gettext("There is nothing to acknowledge: it is over, or somebody knows of it already."))
        return redirect("admin:index")
    devices = list(acknowledging.uncovered(name, visit)) if kind.is_of_devices else []
    more = {
        "title": gettext("Acknowledge"),
        "item": item,
        "form": form,
        "is_of_devices": kind.is_of_devices,
        "devices": devices[:NAMED],
        "others": max(0, len(devices) - NAMED),
    }
    return TemplateResponse(request, "admin/acknowledge.html", context | more)


def end(request: HttpRequest, pk: int, visit: Visit) -> HttpResponse:
    """Show the problem on the start page again."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    row = get_object_or_404(Acknowledgement.objects.visible_to(request.user), pk=pk)
    if not rights.in_request(request).may(acknowledging.ROLE, row.organization_id):
        raise PermissionDenied
    if acknowledging.end(row, visit=visit, actor=_actor(request)):
        messages.success(request, gettext("The start page shows this problem again."))
    return redirect("admin:index")


def _actor(request: HttpRequest) -> Actor:
    """As in `organizations/admin/tenant.py`, whose pages need the site to be there."""
    assert isinstance(request.user, User)  # noqa: S101  # who has no permission does not come here
    return Actor(AuditEvent.Through.ADMIN, request.user)
