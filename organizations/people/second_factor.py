"""The second factor: who needs it, set up, check a code, recovery codes, remove.

It is a TOTP app; recovery codes replace it. Codes are limited per person, not per address: who guesses them knows the
password already.
"""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

import pyotp
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.crypto import salted_hmac
from pyotp.exceptions import OTPVerificationError

from organizations import audit
from organizations.audit import Actor
from organizations.models import AuditEvent, Membership
from organizations.people.models import RecoveryCode, SecondFactor
from organizations.typed import generate_code, normalise_code, typed

ISSUER: Final = "Dock Cloud"
RECOVERY_CODES: Final = 10
MOST_WRONG: Final = 5  # codes in a row
LOCKED_FOR: Final = timedelta(minutes=15)
TOLERANCE: Final = 1  # steps of 30 s that a phone's clock may be wrong, either way


class Verdict(Enum):
    """What came of a code."""

    RIGHT = "right"
    WRONG = "wrong"
    LOCKED = "locked"


def required_of() -> Q:
    """Users whom one of their organizations, or the server's settings, oblige to have one."""
    obliged = Q(Exists(Membership.objects.filter(user=OuterRef("pk"), organization__second_factor_required=True)))
    return obliged | Q(is_superuser=True) if settings.STAFF_SECOND_FACTOR_REQUIRED else obliged


def lacking() -> Q:
    """Users who need one and have none: they may do nothing but set it up."""
    confirmed = SecondFactor.objects.filter(user=OuterRef("pk")).exclude(confirmed_at=None)
    return required_of() & ~Q(Exists(confirmed))


def is_required(user: User) -> bool:
    """Whether this user must have one."""
    return get_user_model().objects.filter(required_of(), pk=user.pk).exists()


def find(user: User) -> SecondFactor | None:
    """The second factor that is in force."""
    return SecondFactor.objects.filter(user=user).exclude(confirmed_at=None).first()


def begin(user: User, shown: int = 0) -> SecondFactor:
    """The one to confirm: a reload shows the same secret, but only to the session that was `shown` this row before.

    Somebody else who came into the account may not leave a secret that the person confirms later.
    """
    SecondFactor.objects.filter(user=user, confirmed_at=None).exclude(pk=shown).delete()
    defaults = {"secret": pyotp.random_base32()}
    return SecondFactor.objects.get_or_create(user=user, defaults=defaults)[0]


def uri(factor: SecondFactor) -> str:
    """What an app reads from the QR code."""
    return pyotp.TOTP(factor.secret).provisioning_uri(name=factor.user.get_username(), issuer_name=ISSUER)


def confirm(user: User, code: str) -> list[str]:
    """Put the one that was begun in force if the code is right, audited; returns its recovery codes, else nothing."""
    with transaction.atomic():
        factor = SecondFactor.objects.select_for_update().filter(user=user, confirmed_at=None).first()
        if factor is None or not _is_apps(factor, typed(code)):
            return []
        factor.confirmed_at = timezone.now()
        factor.save()
        actor = Actor(AuditEvent.Through.ADMIN, user)
        audit.record([audit.event(actor, "set up second factor", user, organization_id=None)])
        return _new_codes(user)


def check(user: User, code: str) -> Verdict:
    """Judge a code of the app or a recovery code, which is used up by that; wrong ones lock the person out."""
    now = timezone.now()
    actor = Actor(AuditEvent.Through.ADMIN, user)
    with transaction.atomic():
        factor = SecondFactor.objects.select_for_update().filter(user=user).exclude(confirmed_at=None).first()
        if factor is None:
            return Verdict.WRONG
        if factor.is_locked(now):
            return Verdict.LOCKED
        if _is_apps(factor, typed(code)) or _is_recovery_code(user, code, now, actor):
            factor.wrong_codes = 0
            factor.save()
            return Verdict.RIGHT
        factor.wrong_codes += 1
        if factor.wrong_codes >= MOST_WRONG:
            factor.wrong_codes, factor.locked_until = 0, now + LOCKED_FOR
            audit.record([audit.event(actor, "lock second factor", user, organization_id=None)])
        factor.save()
        return Verdict.LOCKED if factor.is_locked(now) else Verdict.WRONG


def minutes_locked(user: User) -> int:
    """Until codes of this user, who is locked out, count again; at least 1."""
    until = SecondFactor.objects.values_list("locked_until", flat=True).get(user=user)
    return max(1, math.ceil((until - timezone.now()).total_seconds() / 60)) if until else 1


def renew_codes(user: User, *, actor: Actor) -> list[str]:
    """New recovery codes, audited; the old ones are void."""
    with transaction.atomic():
        audit.record([audit.event(actor, "new recovery codes", user, organization_id=None)])
        return _new_codes(user)


def remove(users: Iterable[User], *, actor: Actor) -> int:
    """Take it from these users, audited; returns how many had one."""
    removed = 0
    with transaction.atomic():
        for user in users:
            RecoveryCode.objects.filter(user=user).delete()
            deleted = SecondFactor.objects.filter(user=user).delete()[0]
            if deleted:
                removed += 1
                audit.record([audit.event(actor, "remove second factor", user, organization_id=None)])
    return removed


def codes_left(user: User) -> int:
    """How many recovery codes still work."""
    return RecoveryCode.objects.filter(user=user, used_at=None).count()


def _is_apps(factor: SecondFactor, code: str) -> bool:
    """Whether the app shows this code now and has not been believed with it, or a later one, before."""
    digits = "".join(code.split())
    if not (digits.isascii() and digits.isdigit()):
        return False
    now = timezone.now().timestamp()
    try:
        step = pyotp.TOTP(factor.secret).verify_and_get_timecode(digits, for_time=now, valid_window=TOLERANCE)
    except OTPVerificationError:
        return False
    if step <= factor.last_step:
        return False
    factor.last_step = step
    return True


def _is_recovery_code(user: User, code: str, now: datetime, actor: Actor) -> bool:
    unused = RecoveryCode.objects.filter(user=user, digest=_digest(user, code), used_at=None)
    if not unused.update(used_at=now):
        return False
    audit.record([audit.event(actor, "use recovery code", user, organization_id=None)])
    return True


def _new_codes(user: User) -> list[str]:
    RecoveryCode.objects.filter(user=user).delete()
    plain = [generate_code() for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create(RecoveryCode(user=user, digest=_digest(user, code)) for code in plain)
    return plain


def _digest(user: User, code: str) -> str:
    text = f"{user.pk}\n{normalise_code(code)}"
    return salted_hmac("organizations.RecoveryCode", text, algorithm="sha256").hexdigest()
