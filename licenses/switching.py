"""Switching unlock licenses: what can be switched, what is under way, one at a time and many at once."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop, override
from django.utils.translation import gettext_lazy as _

from devices.calls import asking, batches, methods, refusal, wording
from devices.calls.batches import Skipped
from devices.models import OPEN_STATUSES, ServiceCall, ServiceCallBatch
from devices.presence import Watch
from licenses.models import Inventory, UnlockLicense
from organizations.audit import Actor

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

LATELY: Final = timedelta(hours=24)  # older attempts are not shown
NOT_IMPORTED: Final = _("It is not imported in the aircraft: update the licenses of the dock first.")

Key = tuple[int, int]  # of the dock, and the license's own


class Attempt(NamedTuple):
    """The last call that was to switch a license."""

    call: ServiceCall
    enable: bool

    @property
    def is_open(self) -> bool:
        return self.call.is_open

    @property
    def words(self) -> str:
        """What became of it, in one sentence."""
        on = self.enable
        if self.is_open:
            return gettext("switching on…") if on else gettext("switching off…")
        if self.call.status == ServiceCall.Status.SUCCEEDED:
            confirmed = gettext("the dock confirmed on, but its list disagrees")
            return confirmed if on else gettext("the dock confirmed off, but its list disagrees")
        if self.call.status == ServiceCall.Status.TIMED_OUT:
            text = gettext("switch on: {outcome}") if on else gettext("switch off: {outcome}")
        else:
            text = gettext("not switched on: {outcome}") if on else gettext("not switched off: {outcome}")
        outcome = wording.describe(self.call)
        return text.format(outcome=f"{outcome[0].lower()}{outcome[1:]}")


class Plan(NamedTuple):
    """What a batch would switch now, what once the docks are online, and what not at all; with the reasons."""

    now: list[UnlockLicense]
    waiting: list[tuple[UnlockLicense, str]]
    skipped: list[tuple[UnlockLicense, str]]


def attempts(licenses: Iterable[UnlockLicense]) -> dict[Key, Attempt]:
    """What is under way or went wrong lately for these licenses, as long as it matters; one query.

    Calls of an earlier owner of the dock are left out.
    """
    rows = {(row.device_id, row.license_id): row for row in licenses if row.device_model_domain == Inventory.AIRCRAFT}
    subject = methods.METHODS[methods.SWITCH].subject
    lately = Q(status__in=OPEN_STATUSES) | Q(created__gt=timezone.now() - LATELY)
    calls = ServiceCall.objects.filter(
        lately,
        device__in={device for device, _ in rows},
        subject__in={subject({"license_id": license_id}) for _, license_id in rows},
        method=methods.SWITCH,
        organization=F("device__organization"),
    )
    found: dict[Key, Attempt] = {}
    for call in calls.order_by("created"):
        key = (call.device_id, call.data["license_id"])
        if key in rows:
            found[key] = Attempt(call, call.data["enable"])
    return {
        key: attempt for key, attempt in found.items() if attempt.is_open or rows[key].enabled is not attempt.enable
    }


def why_not(
    license_: UnlockLicense, enable: bool, *, attempt: Attempt | None, watch: Watch, queue: bool = False
) -> str:
    """Why it cannot be switched so now, in a sentence; "" if it can. No query: the dock comes with its state."""
    if license_.device_model_domain != Inventory.AIRCRAFT:
        return str(NOT_IMPORTED)
    if license_.enabled is enable:
        return gettext("It is on already.") if enable else gettext("It is off already.")
    if attempt is not None and attempt.is_open:
        return gettext("A switch of it is under way.")
    refused = refusal.why_not(license_.device, methods.METHODS[methods.SWITCH], queue=queue, watch=watch)
    return str(refused) if refused else ""


def switch(license_: UnlockLicense, *, enable: bool, actor: Actor, note: str = "", queue: bool = False) -> ServiceCall:
    """Ask the dock to switch it; raises Refused. Only the dock's answer and its next list change the row.

    With `queue` a dock that is offline is waited for, for 24 hours.
    """
    if license_.device_model_domain != Inventory.AIRCRAFT:
        raise refusal.Refused(refusal.Refused.Kind.INVALID, str(NOT_IMPORTED))
    return asking.issue(
        device=license_.device,
        method=methods.SWITCH,
        data={"license_id": license_.license_id, "enable": enable},
        actor=actor,
        note=note,
        queue=queue,
        expires_in=timedelta(hours=24) if queue else None,
    )


# --- many --------------------------------------------------------------------------------------------


def plan(licenses: Sequence[UnlockLicense], *, enable: bool, watch: Watch) -> Plan:
    """Sort licenses into those that would be switched and those that would not; a forecast, one query."""
    known = attempts(licenses)
    found = Plan([], [], [])
    for row in licenses:
        attempt = known.get((row.device_id, row.license_id))
        reason = why_not(row, enable, attempt=attempt, watch=watch)
        if not reason:
            found.now.append(row)
        elif not why_not(row, enable, attempt=attempt, watch=watch, queue=True):
            found.waiting.append((row, reason))
        else:
            found.skipped.append((row, reason))
    return found


def switch_many(
    licenses: Sequence[UnlockLicense],
    *,
    enable: bool,
    actor: Actor,
    watch: Watch,
    note: str = "",
    queue: bool = False,
    expires_in: timedelta | None = None,
    skipped: Iterable[tuple[UnlockLicense, "StrOrPromise"]] = (),
) -> ServiceCallBatch:
    """One batch with a call for each license; it records which got none and why. Raises Refused."""
    with override("en"):  # what the batch keeps
        planned = plan(licenses, enable=enable, watch=watch)
    left_out = [*skipped, *planned.skipped, *([] if queue else planned.waiting)]
    about = gettext_noop("license {id}")
    chosen = [*planned.now, *(row for row, _ in planned.waiting if queue)]
    return batches.start_each(
        requests=[(row.device, {"license_id": row.license_id, "enable": enable}) for row in chosen],
        method=methods.SWITCH,
        data={"enable": enable},
        actor=actor,
        note=note,
        queue=queue,
        expires_in=expires_in,
        skipped=[Skipped(row.device, reason, about.format(id=row.license_id)) for row, reason in left_out],
    )
