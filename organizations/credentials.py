"""Checking what a technician typed: organization id and binding code, with the lock-out of guessers."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.utils.crypto import salted_hmac

from organizations.models import (
    BindingCode,
    BindingFailure,
    BindingFailureQuerySet,
    Organization,
    digest_of,
    normalise_code,
)

WRONG = "organization ID and code do not belong together"
LOCKED_OUT = "gateway locked out after too many wrong codes"


class Credentials(NamedTuple):
    """What a gateway sent; the id counts as it is but for white space around it, the code is normalised."""

    gateway_sn: str
    organization_id: str
    code: str


class Verdict(NamedTuple):
    """The code's row if id and code belong together, else why not (for the journal, never for the device)."""

    code: BindingCode | None
    reason: str = ""


def check(attempts: Sequence[Credentials], *, now: datetime, lock: bool = False) -> list[Verdict]:
    """Judge each pair in the order of arrival; a constant number of queries.

    A verdict says only that id and code belong together: whether the code still binds a new device is
    `BindingCode.why_unusable`. With `lock`, codes and organizations stay locked until the transaction ends.
    Every new wrong pair counts towards its gateway's lock-out, within one message too.
    """
    codes = _find_codes(attempts, lock=lock)
    wrong = _recent_failures({attempt.gateway_sn for attempt in attempts}, now)
    verdicts, failures = [], []
    for attempt in attempts:
        key = (attempt.organization_id.strip(), digest_of(attempt.code))
        known = wrong[attempt.gateway_sn]
        if len(known) >= BindingFailureQuerySet.LIMIT:
            verdicts.append(Verdict(None, LOCKED_OUT))
        elif key in codes:
            verdicts.append(Verdict(codes[key]))
        else:
            verdicts.append(Verdict(None, WRONG))
            if normalise_code(attempt.code):  # nothing typed is no guess
                known.add(pair := _pair_digest(*key))
                failures.append(_failure(attempt, pair, now))
    _record(failures)
    return verdicts


def _find_codes(attempts: Iterable[Credentials], *, lock: bool) -> dict[tuple[str, str], BindingCode]:
    rows = (
        BindingCode.objects.filter(
            digest__in={digest_of(attempt.code) for attempt in attempts},
            organization__organization_id__in={attempt.organization_id.strip() for attempt in attempts},
        )
        .select_related("organization")
        .order_by("organization_id", "pk")
    )
    if lock:
        rows = rows.select_for_update(no_key=True, of=("self", "organization"))
    return {(row.organization.organization_id, row.digest): row for row in rows}


def _recent_failures(gateways: set[str], now: datetime) -> defaultdict[str, set[str]]:
    rows = BindingFailure.objects.recent(now).filter(gateway_sn__in=gateways)
    pairs: defaultdict[str, set[str]] = defaultdict(set)
    for gateway_sn, pair in rows.values_list("gateway_sn", "pair_digest"):
        pairs[gateway_sn].add(pair)
    return pairs


def _pair_digest(organization_id: str, code_digest: str) -> str:
    return salted_hmac(
        "organizations.BindingFailure", f"{organization_id}\n{code_digest}", algorithm="sha256"
    ).hexdigest()


def _failure(attempt: Credentials, pair: str, now: datetime) -> BindingFailure:
    return BindingFailure(
        gateway_sn=attempt.gateway_sn,
        organization_id_tried=attempt.organization_id.strip()[:64],
        pair_digest=pair,
        reason=WRONG,
        first_at=now,
        last_at=now,
    )


def _record(failures: Sequence[BindingFailure]) -> None:
    if not failures:
        return
    unique = {(failure.gateway_sn, failure.pair_digest): failure for failure in failures}
    BindingFailure.objects.bulk_create(
        unique.values(),
        update_conflicts=True,
        unique_fields=["gateway_sn", "pair_digest"],
        update_fields=["last_at"],
    )


def organizations_named(ids: Iterable[str]) -> dict[str, int]:
    """Primary keys of the organizations with these ids: whom a journal row concerns."""
    rows = Organization.objects.filter(organization_id__in={text.strip() for text in ids})
    return dict(rows.values_list("organization_id", "pk"))
