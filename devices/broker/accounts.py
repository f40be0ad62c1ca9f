"""The broker's accounts: issue, rotate, revoke, one or many; what follows a dock's new owner; what each may do now.

Each step is audited. A plain secret is returned once, as `row.plain`, and stored nowhere, but encrypted until Mosquitto
has it. A row is usable or it is not (`BrokerAccountQuerySet.usable`), and the broker is kept in step with that.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from functools import wraps
from itertools import count
from operator import itemgetter
from typing import Final, NamedTuple, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devices.models import BrokerAccount, Device, Pairing
from devices.models.broker import Digest, generate_secret
from mqtt_bridge.protocol import access
from organizations import audit
from organizations.audit import Actor
from organizations.models import Organization

P = ParamSpec("P")
T = TypeVar("T")
Kind = BrokerAccount.Kind
OVERLAP: Final = timedelta(days=7)  # for so long both secrets are valid, if nobody chooses
ENROLMENT_LIFETIME: Final = timedelta(days=30)
IS_AIRCRAFT: Final = _("an aircraft connects through its dock")
IS_RESERVED: Final = _("the server itself uses this name")
HAS_ONE: Final = _("has an account already: rotate its secret instead")
# How names begin that no dock may have, whatever the settings are: those of our processes, and of enrolment accounts.
RESERVED: Final = ("dock-cloud", "admin", "enrolment")
# With a number behind it the first is of an organization; REST has something else at the address of the other.
TAKEN: Final = {"enrol", "import"}
TRIES: Final = 3  # at a user name that is free


class Issued(NamedTuple):
    """New accounts, with `plain` set, and the devices that got none, each with the reason."""

    accounts: list[BrokerAccount]
    skipped: list[tuple[Device, str]]


def _again_if_taken(step: Callable[P, T]) -> Callable[P, T]:
    """Choose a user name again if another transaction took it meanwhile; each try is all or nothing."""

    @wraps(step)
    def again(*args: P.args, **kwargs: P.kwargs) -> T:
        for left in reversed(range(TRIES)):
            try:
                with transaction.atomic():
                    return step(*args, **kwargs)
            except IntegrityError:
                if not left:
                    raise
        raise AssertionError

    return again


# --- issue -----------------------------------------------------------------------------------------


@_again_if_taken
def issue(
    *,
    actor: Actor,
    device: Device | None = None,
    organization: Organization | None = None,
    label: str = "",
    expires_at: datetime | None = None,
) -> tuple[BrokerAccount, str]:
    """Make an account; returns its row and the plain secret.

    With `device` it is that dock's own, which does not expire; else an enrolment account of `organization`, or of the
    platform without one. Raises ValidationError if the device has an account or may not have one.
    """
    if device is not None:
        done = issue_many([device], actor=actor)
        if not done.accounts:
            text = gettext("{about}: {text}.").format(about=device.sn, text=done.skipped[0][1])
            raise ValidationError(text)
        return done.accounts[0], done.accounts[0].plain
    if organization is not None:  # two who issue at once wait for each other, and get two user names
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    base = enrolment_name(organization)
    row = BrokerAccount(organization=organization, label=label, expires_at=expires_at)
    row.username = _free_name(base, _enrolling_as(base), timezone.now())
    _insert([row], "issue broker account", actor)
    return row, row.plain


@transaction.atomic
def issue_many(devices: Iterable[Device], *, actor: Actor) -> Issued:
    """Give each of these docks an account of its own; a constant number of queries."""
    locked = Device.objects.filter(pk__in=[device.pk for device in devices]).lock_in_order()
    rows = list(locked.select_related("organization"))
    known = defaultdict(list)
    for account in BrokerAccount.objects.filter(device__in=rows):
        known[account.device_id].append(account)
    now = timezone.now()
    made, skipped = [], []
    for device in rows:
        if reason := why_no_account(device, known[device.pk], now):
            skipped.append((device, reason))
        else:
            account = BrokerAccount(device=device, organization=device.speaks_for)
            account.username = _free_name(device.sn, known[device.pk], now)
            made.append(account)
    _insert(made, "issue broker account", actor)
    return Issued(made, skipped)


def why_no_account(device: Device, accounts: Iterable[BrokerAccount], now: datetime) -> str:
    """Why this device, which has these accounts, gets no first one, in words; empty if it may."""
    if device.is_aircraft:
        return str(IS_AIRCRAFT)
    if is_reserved(device.sn):
        return str(IS_RESERVED)
    return str(HAS_ONE) if any(account.is_alive(now) for account in accounts) else ""


def is_reserved(name: str) -> bool:
    """Whether this is a user name or client id of the server itself, which a dock with such a serial number would take.

    The broker of the docks takes a user name for the client id, and an enrolment account may bind any serial number.
    """
    ours = ("MQTT_URL", "MQTT_ADMIN_URL", "ENROLMENT_MQTT_ADMIN_URL", "ENROLMENT_BRIDGE_URL")
    urls = [getattr(settings, setting, "") for setting in ours]
    names = {unquote(urlsplit(url).username or "").lower() for url in urls} | {
        settings.DOCK_MQTT_USERNAME.lower(),
        *TAKEN,
    }
    return name.lower() in names - {""} or name.lower().startswith((*RESERVED, settings.MQTT_CLIENT_ID.lower()))


def enrolment_name(organization: Organization | None) -> str:
    """The first user name for enrolment; no serial number and no organization's ID has a dot in it."""
    return "enrolment" if organization is None else f"enrol.{organization.organization_id}"


# --- rotate, revoke --------------------------------------------------------------------------------


@_again_if_taken
def rotate(account: BrokerAccount, *, actor: Actor, valid_for: timedelta = OVERLAP) -> tuple[BrokerAccount, str]:
    """Make an account that takes over; the old one stays valid for so long. Returns the new row and its secret.

    A dock has two accounts at most. If it has two, the newer one gives way if it was never used, so that a lost sheet
    cuts nobody off; else the older one does. Raises ValidationError for an account that is not valid any more.
    """
    device = account.device and Device.objects.lock_in_order().get(pk=account.device.pk)
    base = device.sn if device is not None else enrolment_name(account.organization)
    others = list(BrokerAccount.objects.filter(device=device).lock_in_order()) if device else _enrolling_as(base)
    now = timezone.now()
    alive = [other for other in others if other.is_alive(now)]
    if account not in alive:
        text = gettext("{name} is not valid any more: issue a new account.")
        raise ValidationError(text.format(name=account.username))
    old = next(other for other in alive if other == account)
    events = []
    if device is not None and len(alive) > 1:
        *earlier, newest = sorted(alive, key=lambda other: (other.created, other.pk))
        old = newest if newest.last_connected_at is not None else earlier[-1]
        others = [other for other in others if other == old]
        BrokerAccount.objects.filter(pk__in=[other.pk for other in alive if other != old]).delete()
        events = [_event(actor, "replace broker account", other) for other in alive if other != old]
        old.expires_at = None  # of the rotation before
    ends = now + valid_for
    old.expires_at = ends if old.expires_at is None else min(ends, old.expires_at)
    old.save(update_fields=["expires_at"])
    row = BrokerAccount(device=device, organization=old.organization, label=old.label)
    row.username = _free_name(base, others, now)
    _insert([row], "rotate broker account", actor, events, replaces=old.username, old_until=old.expires_at.isoformat())
    return row, row.plain


@transaction.atomic
def revoke(accounts: Iterable[BrokerAccount], *, actor: Actor) -> list[BrokerAccount]:
    """End these accounts; the broker throws out who uses them. Returns those that were not revoked before."""
    found = BrokerAccount.objects.filter(pk__in=[account.pk for account in accounts], revoked_at=None)
    rows = list(found.lock_in_order())
    now = timezone.now()
    for row in rows:
        row.revoked_at, row.pending = now, ""
    BrokerAccount.objects.filter(pk__in=[row.pk for row in rows]).update(revoked_at=now, pending="", applied_at=None)
    audit.record(_event(actor, "revoke broker account", row) for row in rows)
    return rows


# --- a dock's new owner ----------------------------------------------------------------------------


def end_of(device_keys: Collection[int], *, actor: Actor) -> None:
    """Revoke what these docks have: they lost an owner, whose people know the secrets."""
    revoke(BrokerAccount.objects.filter(device__in=device_keys, revoked_at=None), actor=actor)


def forget_issuers(device_keys: Collection[int]) -> None:
    """Let the accounts that these docks keep name no person of the owner who loses them; one statement."""
    BrokerAccount.objects.filter(device__in=device_keys).update(created_by=None, label="")


def follow_owners(device_keys: Collection[int]) -> None:
    """Let the accounts of these docks belong to whoever owns them now; one statement."""
    owner = Device.objects.filter(pk=OuterRef("device")).values("organization")
    BrokerAccount.objects.filter(device__in=device_keys, revoked_at=None).update(organization=Subquery(owner))


# --- what they may do ------------------------------------------------------------------------------


def with_access(accounts: Iterable[BrokerAccount]) -> list[tuple[BrokerAccount, access.Account]]:
    """Each row with what the broker's rules are made from: the aircraft that the dock is paired with now. One query.

    An aircraft of another owner, or a serial number that is a gateway's or has an account of its own, is not the
    dock's, whatever the dock says.
    """
    rows = list(accounts)
    carried = defaultdict(set)
    keys = {row.device_id for row in rows if row.device_id is not None}
    if keys:
        named = Pairing.objects.filter(until=None, dock__in=keys, aircraft__broker_accounts=None).order_by()
        for pairing in named.select_related("aircraft", "dock"):
            if pairing.fits and pairing.aircraft.is_aircraft:
                carried[pairing.dock_id].add(pairing.aircraft.sn)
    kind = access.Kind
    return [
        (row, access.Account(row.username, kind.DOCK, row.device.sn, tuple(sorted(carried.get(row.device.pk, ())))))
        if row.device is not None
        else (row, access.Account(row.username, kind.ENROLMENT))
        for row in rows
    ]


@transaction.atomic
def note_connections(seen: Iterable[tuple[str, datetime, str]], *kinds: str) -> None:
    """Note when and from where accounts of these kinds connected last: (user name, time, address). Two statements.

    The log of the enrolment broker says nothing of docks' own accounts: client ids are free text there, and Mosquitto
    cuts long lines, so that one could end as if another user had connected.
    """
    latest = {username: (at, address[:64]) for username, at, address in sorted(seen, key=itemgetter(1))}
    rows = []
    for row in BrokerAccount.objects.filter(username__in=latest, kind__in=kinds or Kind.values).lock_in_order():
        at, address = latest[row.username]
        if row.last_connected_at is None or row.last_connected_at < at:
            row.last_connected_at, row.last_address = at, address
            rows.append(row)
    BrokerAccount.objects.write_fields(rows, ["last_connected_at", "last_address"])


# --- shared by the steps ---------------------------------------------------------------------------


def _enrolling_as(base: str) -> list[BrokerAccount]:
    """The enrolment accounts of one organization or of the platform, locked."""
    found = BrokerAccount.objects.filter(Q(username=base) | Q(username__startswith=f"{base}."))
    return list(found.lock_in_order())


def _free_name(base: str, accounts: Iterable[BrokerAccount], now: datetime) -> str:
    """The first of base, base.2, base.3 that no account which is alive has."""
    used = {account.username for account in accounts if account.is_alive(now)}
    names = (base if number == 1 else f"{base}.{number}" for number in count(1))
    return next(name for name in names if name not in used)


def _insert(
    rows: list[BrokerAccount], action: str, actor: Actor, events: Iterable[audit.Event] = (), **after: str
) -> None:
    """Save new accounts with new secrets, in the place of dead ones with the same user names; audited.

    Raises IntegrityError if one that is alive has such a name.
    """
    for row in rows:
        row.kind = Kind.ENROLMENT if row.device is None else Kind.DOCK
        row.plain = generate_secret()
        row.digest, row.salt, row.iterations = Digest.of(row.plain)
        row.created_by_id = actor.user.pk if actor.user else None
        needed = "MQTT_ADMIN_URL" if row.kind == Kind.DOCK else "ENROLMENT_MQTT_ADMIN_URL"
        row.pending = row.plain if getattr(settings, needed, "") else ""
    alive = BrokerAccount.objects.alive(timezone.now()).values("pk")
    BrokerAccount.objects.filter(username__in=[row.username for row in rows]).exclude(pk__in=alive).delete()
    BrokerAccount.objects.bulk_create(rows)
    audit.record([*events, *(_event(actor, action, row, **after) for row in rows)])


def _event(actor: Actor, action: str, row: BrokerAccount, **after: str) -> audit.Event:
    """Of a dock's account in the dock's history."""
    subject = row.device or row
    expires = {"expires_at": row.expires_at.isoformat()} if row.expires_at and not after else {}
    return audit.event(
        actor,
        action,
        subject,
        organization_id=row.organization_id,
        after={"username": row.username, **expires, **after},
    )
