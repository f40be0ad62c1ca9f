"""API keys of integrators: issue, recognise, revoke, find by state."""

import re
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from cloudapi.rest.guesses import Limit, TooManyTriesError, WrongTries, client_of, refused_tries
from mqtt_bridge.database.prepared import Parameter, Prepared
from organizations import audit
from organizations.audit import Actor
from organizations.models import Organization, OrganizationAPIKey, Role

LIFETIME: Final = timedelta(days=365)
NOTED_EVERY: Final = timedelta(minutes=1)  # how exactly `last_used` is kept
key_revoked: Final = Signal()  # with `key`
_PREFIX: Final = 8  # characters
_wrong_keys: Final = WrongTries(by_client=Limit("key", 60, 60), in_all=Limit("keys", 3000, 60))
_FORM: Final = re.compile(r"[A-Za-z0-9]{8}\.[A-Za-z0-9]{32}")
_USABLE: Final = Prepared(
    OrganizationAPIKey,
    lambda: OrganizationAPIKey.objects.get_usable_keys().filter(prefix=Parameter("prefix", models.CharField())),
)


class State(models.TextChoices):
    """What became of a key, as people sort them."""

    USABLE = "usable", _("usable")
    EXPIRED = "expired", _("expired")
    REVOKED = "revoked", _("revoked")


def in_state(
    keys: QuerySet[OrganizationAPIKey], state: str, now: datetime | None = None
) -> QuerySet[OrganizationAPIKey]:
    """The keys in this state; a revoked one is not expired too."""
    if state == State.REVOKED:
        return keys.filter(revoked=True)
    now = now or timezone.now()
    over = Q(expiry_date__lte=now) if state == State.EXPIRED else Q(expiry_date=None) | Q(expiry_date__gt=now)
    return keys.filter(over, revoked=False)


def issue(
    *, actor: Actor, organization: Organization, name: str, role: Role, expires: datetime | None = None
) -> tuple[OrganizationAPIKey, str]:
    """Make a key, audited; returns its row and the plain key, which is stored nowhere."""
    with transaction.atomic():
        row, plain = OrganizationAPIKey.objects.create_key(
            organization=organization, name=name, role=role, expiry_date=expires, created_by=actor.user
        )
        after = audit.writable({"name": name, "role": role, "expiry_date": expires})
        audit.record([audit.event(actor, "issue", row, organization_id=organization.pk, after=after)])
    return row, plain


def revoke(keys: Iterable[OrganizationAPIKey], *, actor: Actor) -> int:
    """End these keys, so that they open nothing any more, audited; returns how many were not revoked before."""
    with transaction.atomic():
        locked = OrganizationAPIKey.objects.select_for_update().order_by("pk")
        rows = list(locked.filter(pk__in=[key.pk for key in keys], revoked=False))
        OrganizationAPIKey.objects.filter(pk__in=[row.pk for row in rows]).update(revoked=True)
        audit.record(audit.event(actor, "revoke", row, organization_id=row.organization_id) for row in rows)
        for row in rows:
            key_revoked.send(OrganizationAPIKey, key=row)
    return len(rows)


def recognise(plain: str, *, address: str = "") -> OrganizationAPIKey | None:
    """The row of a key that opens something now, with its organization; None for anything else. One query.

    Raises TooManyTriesError if this client, or all together, showed too many wrong keys lately. A key whose prefix
    exists is looked at all the same, so that nobody locks a program out by what others show from its address.
    """
    client = client_of(address)
    if (wait := _wrong_keys.wait(client)) and plain[:_PREFIX] not in _prefixes.known():
        refused_tries.labels("api_key").inc()
        raise TooManyTriesError(wait)
    row: OrganizationAPIKey | None = None
    if _FORM.fullmatch(plain):
        row = next(iter(_USABLE(prefix=plain[:_PREFIX])), None)
    if row is not None and row.is_valid(plain) and row.is_active:
        return row
    _wrong_keys.note(client)
    return None


class _Prefixes:
    """The beginnings of all keys, which are no secret; read at most every five seconds."""

    EVERY: Final = 5.0  # seconds

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._until = 0.0

    def known(self) -> frozenset[str]:
        now = time.monotonic()
        if now >= self._until:
            self._until = now + self.EVERY
            self._known = frozenset(OrganizationAPIKey.objects.filter(revoked=False).values_list("prefix", flat=True))
        return self._known


_prefixes: Final = _Prefixes()


def recall(pk: int) -> OrganizationAPIKey | None:
    """The row of a key that was recognised before, if it still opens something. One query."""
    row = OrganizationAPIKey.objects.filter(pk=pk).first()
    return row if row is not None and row.is_active else None


def note_use(key: OrganizationAPIKey) -> None:
    """Note that a key is in use; writes at most once a minute."""
    now = timezone.now()
    if key.last_used is None or now - key.last_used >= NOTED_EVERY:
        unnoted = Q(last_used=None) | Q(last_used__lte=now - NOTED_EVERY)
        OrganizationAPIKey.objects.filter(unnoted, pk=key.pk).update(last_used=now)
