"""What the demo prints when it is ready: who can sign in, what to type, and what does not work."""

import time
from collections.abc import Iterator
from pathlib import Path

from django.contrib.auth import get_user_model
from django.utils import timezone

from cloudapi.embedded.demo_data import ADMIN, MEMBERS, ORGANIZATIONS, PASSWORD
from devices.diagnosis.onboarding import onboarding
from devices.models import Device
from mqtt_bridge.models import Exchange
from mqtt_bridge.simulator.dock import Dock, Step
from mqtt_bridge.simulator.fleet import Fleet
from organizations.models import BindingCode, Membership
from organizations.typed import digest_of


def welcome(address: str, broker_url: str, data: Path, fleet: Fleet) -> str:
    """Return the text: `address` is where the demo serves, as host:port."""
    last = fleet.docks[-1]
    if last.is_onboarded:
        what_to_do = f"{last.sn} is bound already: release it in the admin, then watch it bind again."
    else:
        what_to_do = f"{last.sn} is online and belongs to nobody yet. Watch it bind."
    lines = [
        "",
        f"Admin      http://{address}/admin/",
        f"User       {ADMIN}, password {PASSWORD} unless you changed it; members, with the same password:",
        *(f"           {username}, {roles(username)}" for username in MEMBERS),
        f"Broker     {broker_url}",
        f"Docks      {len(fleet.docks)} simulated; see Devices in the admin",
        f"Data       {data}, kept for the next start; delete this folder to start afresh",
        "",
        *_failures(fleet),
        what_to_do,
        "Be its technician: type here, as in DJI Pilot 2, the organization ID and the binding code (try a wrong one,",
        "too):",
        "",
        *(f"    {known_as} {code}        {effect(known_as, code)}" for known_as, _, code, _ in ORGANIZATIONS),
        "",
        "Ctrl-C ends it.",
    ]
    return "\n".join(f"  {line}".rstrip() for line in lines)


def roles(username: str) -> str:
    """What this person is now, in which organizations."""
    memberships = Membership.objects.filter(user__username=username).select_related("organization")
    return ", ".join(f"{each.role} of {each.organization.name}" for each in memberships) or "in no organization now"


def effect(organization_id: str, code: str) -> str:
    """What comes of typing this code."""
    row = BindingCode.objects.select_related("organization").get(
        organization__organization_id=organization_id, digest=digest_of(code)
    )
    why_not = row.why_unusable(timezone.now())
    return f"is refused now: {why_not}" if why_not else f"binds it to {row.organization.name}"


def stopped_at(dock: Dock) -> Step | None:
    """The step at which the dock waits, or from which it begins again and again. Other threads add steps."""
    return next((step for step in tuple(dock.steps) if step.outcome in ("waiting", "refused", "unanswered")), None)


def _failures(fleet: Fleet) -> Iterator[str]:
    """What does not work, because of what people did to the data."""
    for user in get_user_model().objects.filter(username__in=[ADMIN, *MEMBERS], is_active=False).order_by("pk"):
        yield f"{user.get_username()} cannot sign in: not active."
    for dock in fleet.docks:
        step = stopped_at(dock)
        if dock.is_onboarded or (step and step.outcome == "waiting"):
            continue
        device = Device.objects.filter(sn=dock.sn).select_related("organization").first()
        for _ in range(20):  # the journal is written after the dock has its answer
            found = onboarding(dock.sn, device=device, visible=Exchange.objects.all())
            if found.status == "failed":
                break
            time.sleep(0.1)
        yield f"{dock.sn} is not onboarded. {found.words}"
