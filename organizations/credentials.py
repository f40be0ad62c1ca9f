"""Checking what a technician typed: organization id and binding code, with the lock-out of guessers."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import DateTimeField, OuterRef, Subquery
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_noop

from mqtt_bridge.database import bulk
from mqtt_bridge.database.prepared import AnyOf, Parameter, Prepared, pipeline
from organizations import audit
from organizations.audit import Actor
from organizations.models import (
    CLOCK_TOLERANCE,
    BindingCode,
    BindingCodeQuerySet,
    BindingFailure,
    BindingFailureQuerySet,
    Organization,
)
from organizations.typed import digest_of, normalise_code, typed

WRONG = gettext_noop("organization ID and code do not belong together")
KEPT = timedelta(days=30)
LOCKED_OUT = gettext_noop("gateway locked out after too many wrong codes")
GUESSED = gettext_noop("codes of this organization are locked out through enrolment after too many wrong ones")
FLOODED = gettext_noop("own codes of this organization are refused while many wrong ones are tried")
# Wrong codes from all gateways, however they come in, before a code that is not strong is refused: a broker without
# access lists takes any serial number.
LIMIT_IN_ALL = 100
MOST_KEPT = 1000  # recent wrong codes that came through enrolment, for organizations that do not exist


class Credentials(NamedTuple):
    """What a gateway sent, as a person typed it: neither need be in its plain form."""

    gateway_sn: str
    organization_id: str
    code: str
    by_enrolment: bool = False


class Verdict(NamedTuple):
    """The code's row if id and code belong together, else why not; for the journal, never for the device.

    `organization_id` is the primary key of the organization that the id names, whatever the code.
    """

    code: BindingCode | None
    organization_id: int | None
    reason: str = ""


class _Failure(NamedTuple):
    gateway_sn: str
    by_enrolment: bool
    pair_digest: str


_FAILURES = Prepared(
    _Failure,
    lambda: (
        BindingFailure.objects.filter(
            AnyOf("gateway_sn", "sns"),
            # as `recent` has it
            last_at__gt=Parameter("after", DateTimeField()),
            last_at__lte=Parameter("until", DateTimeField()),
        )
        .order_by()
        .values_list("gateway_sn", "by_enrolment", "pair_digest")
    ),
)


def _codes() -> BindingCodeQuerySet:
    wanted = AnyOf("digest", "digests"), AnyOf("organization__organization_id", "organization_ids")
    codes = BindingCode.objects.filter(*wanted).select_related("organization").order_by("organization_id", "pk")
    # All but its DJI license, which takes longer to decrypt than all else to read.
    return codes.defer("organization__app_key", "organization__app_license")


_CODES = Prepared(BindingCode, _codes)
_LOCKED_CODES = Prepared(BindingCode, lambda: _codes().select_for_update(no_key=True, of=("self", "organization")))


class Judgement(NamedTuple):
    """What becomes of some attempts, and the wrong pairs among them, which are to be recorded."""

    verdicts: list[Verdict]
    failures: list[dict[str, object]]


def check(attempts: Sequence[Credentials], *, now: datetime) -> list[Verdict]:
    """Judge each pair, and record the wrong ones."""
    verdicts, failures = judge(attempts, now=now)
    record(failures)
    return verdicts


def record(failures: Sequence[Mapping[str, object]]) -> None:
    """Keep wrong pairs; of one that is there already only the time changes."""
    bulk.upsert(BindingFailure, failures, unique=["gateway_sn", "pair_digest"], changes=["last_at"])


def judge(attempts: Sequence[Credentials], *, now: datetime, lock: bool = False) -> Judgement:
    """Judge each pair in the order of arrival; a constant number of queries.

    A verdict says only that id and code belong together: whether the code still binds a new device is
    `BindingCode.why_unusable`. With `lock`, codes and organizations stay locked until the transaction ends.
    Every new wrong pair counts towards its gateway's lock-out, within one message too. What comes through enrolment
    counts apart, for it need not come from that gateway, and also towards a lock-out of the organization there. A
    strong code, which nobody guesses, knows no lock-out there; another is refused while all gateways together try many.
    """
    digests = {code: digest_of(code) for code in {attempt.code for attempt in attempts}}
    keys = [(typed(attempt.organization_id), digests[attempt.code]) for attempt in attempts]
    ids = {organization_id for organization_id, _ in keys}
    after, until = now - BindingFailureQuerySet.WINDOW, now + CLOCK_TOLERANCE
    with pipeline():
        found = (_LOCKED_CODES if lock else _CODES).ask(digests=set(digests.values()), organization_ids=ids)
        failed = _FAILURES.ask(sns={attempt.gateway_sn for attempt in attempts}, after=after, until=until)
    codes = {(code.organization.organization_id, code.digest): code for code in found()}
    unmatched = Organization.objects.filter(organization_id__in={key[0] for key in keys if key not in codes})
    named = dict(unmatched.values_list("organization_id", "pk"))  # no query if there are none
    wrong: defaultdict[tuple[str, bool], set[str]] = defaultdict(set)
    for failure in failed():
        wrong[failure.gateway_sn, failure.by_enrolment].add(failure.pair_digest)
    is_enrolment = any(attempt.by_enrolment for attempt in attempts)
    guessed = BindingFailure.objects.by_organization(now) if is_enrolment else Counter()
    weak = {organization_id for (organization_id, _), code in codes.items() if not code.is_strong}
    flooded = flooded_organizations(weak, now) if weak else set()
    verdicts, failures = [], {}
    for attempt, key in zip(attempts, keys, strict=True):
        code, known = codes.get(key), wrong[attempt.gateway_sn, attempt.by_enrolment]
        concerned, tried = code.organization_id if code else named.get(key[0]), key[0][:64]
        if code and code.is_strong and attempt.by_enrolment:
            verdicts.append(Verdict(code, concerned))  # those who invent gateways there must not lock it out
        elif len(known) >= BindingFailureQuerySet.LIMIT:
            verdicts.append(Verdict(None, concerned, LOCKED_OUT))
        elif attempt.by_enrolment and concerned and guessed[tried] >= BindingFailureQuerySet.ENROLMENT_LIMIT:
            verdicts.append(Verdict(None, concerned, GUESSED))
        elif code and not code.is_strong and key[0] in flooded:
            verdicts.append(Verdict(None, concerned, FLOODED))
        elif code:
            verdicts.append(Verdict(code, concerned))
        else:
            verdicts.append(Verdict(None, concerned, WRONG))
            is_kept = not attempt.by_enrolment or concerned or guessed.total() < MOST_KEPT
            if normalise_code(attempt.code) and is_kept:  # an empty code is no guess
                # Another one through enrolment: the same pair of the same gateway is then another row.
                parts = "\n".join([*key, "enrolment"] if attempt.by_enrolment else key)
                pair = salted_hmac("organizations.BindingFailure", parts, algorithm="sha256").hexdigest()
                if attempt.by_enrolment and pair not in known:
                    guessed[tried] += 1
                known.add(pair)
                failures[attempt.gateway_sn, pair] = {
                    "gateway_sn": attempt.gateway_sn,
                    "by_enrolment": attempt.by_enrolment,
                    "organization_id_tried": tried,
                    "pair_digest": pair,
                    "reason": WRONG,
                    "first_at": now,
                    "last_at": now,
                }
    return Judgement(verdicts, list(failures.values()))


def flooded_organizations(organization_ids: Iterable[str], now: datetime) -> set[str]:
    """Those of these organizations for which all gateways together tried too many wrong codes lately; one query."""
    tried = BindingFailure.objects.recent(now).filter(organization_id_tried=OuterRef("organization_id"))
    last = tried.order_by("-last_at").values("last_at")[LIMIT_IN_ALL - 1 : LIMIT_IN_ALL]
    found = Organization.objects.filter(organization_id__in=set(organization_ids)).annotate(last=Subquery(last))
    return set(found.exclude(last=None).values_list("organization_id", flat=True))


def clear_lockouts(gateway_sns: Iterable[str], *, actor: Actor) -> int:
    """Forget the wrong codes of these gateways, audited; returns how many gateways had any."""
    with transaction.atomic():
        failures = BindingFailure.objects.filter(gateway_sn__in=set(gateway_sns)).order_by("pk")
        rows = list(failures.select_for_update())
        pairs = Counter(row.gateway_sn for row in rows)
        latest = {row.gateway_sn: row for row in rows}
        audit.record(
            audit.event(
                actor,
                "clear lock-out",
                row,
                organization_id=None,
                before={"gateway_sn": sn, "wrong_pairs": pairs[sn], "last_at": row.last_at.isoformat()},
            )
            for sn, row in latest.items()
        )
        BindingFailure.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return len(latest)
