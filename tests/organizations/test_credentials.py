"""Codes, digests and the lock-out table."""

import statistics
import time
from collections import defaultdict
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from organizations import credentials
from organizations.credentials import WRONG, Credentials, check
from organizations.models import BindingCode, BindingFailure, BindingFailureQuerySet
from organizations.typed import CODE_ALPHABET, digest_of, generate_code, normalise_code

pytestmark = pytest.mark.django_db


def test_generated_codes_have_60_bits_in_unambiguous_letters():
    assert len(CODE_ALPHABET) == 32
    assert not set("01IO") & set(CODE_ALPHABET)
    code = generate_code()
    assert [len(part) for part in code.split("-")] == [4, 4, 4]
    assert code != generate_code()


@pytest.mark.parametrize("typed", ["abcd-efgh-jklm", "ABCDEFGHJKLM", " abcd efgh jklm ", "AbCd.EfGh_JkLm"])
def test_separators_and_case_do_not_count(typed):
    assert normalise_code(typed) == "ABCDEFGHJKLM"
    assert digest_of(typed) == digest_of("ABCD-EFGH-JKLM")


def test_code_itself_is_not_stored(organization):
    row, plain = BindingCode.objects.issue(organization=organization)
    stored = str([getattr(row, field.attname) for field in row._meta.concrete_fields])
    assert plain not in stored
    assert normalise_code(plain) not in stored
    assert row.hint == plain[-4:]


@pytest.mark.parametrize("code", ["short", "----------", "a-b-c-d"])
def test_own_code_that_is_too_short_is_refused(organization, code):
    with pytest.raises(ValidationError, match="at least 8"):
        BindingCode.objects.issue(organization=organization, code=code)


def test_own_code_can_be_used_once_per_organization(organization, other_organization):
    BindingCode.objects.issue(organization=organization, code="spring-2026")
    BindingCode.objects.issue(organization=other_organization, code="spring-2026")
    with pytest.raises(ValidationError, match="already"):
        BindingCode.objects.issue(organization=organization, code="SPRING 2026")


def test_locked_out_gateways_are_listed(organization):
    now = timezone.now()
    attempts = [credentials.Credentials("DOCK1", "12345678", f"WRONG-{n}-CODE") for n in range(7)]
    credentials.check([*attempts, credentials.Credentials("DOCK2", "12345678", "WRONG")], now=now)
    assert [row["gateway_sn"] for row in BindingFailure.objects.locked_out(now)] == ["DOCK1"]


@pytest.mark.parametrize(("minutes", "locked"), [(-9, True), (-11, False), (0.5, True), (60, False)])
def test_a_lock_out_ends_though_our_clock_was_set_back(organization, minutes, locked):
    attempts = [credentials.Credentials("DOCK1", "12345678", f"WRONG-{n}-CODE") for n in range(7)]
    now = timezone.now()
    credentials.check(attempts, now=now + timedelta(minutes=minutes))
    assert BindingFailure.objects.locked_out(now).exists() is locked


# --- strong codes and others --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "is_strong"),
    [
        ("HARB-HARB-2345", False),
        ("HarbourDock2024Pier7", False),
        ("correct horse battery staple", False),
        ("12345678901234567890", False),
        ("1A1A1A1A1A1A1A1A1A1A1A1A", False),
        ("K7Q2-X9F4-M3TV-8B5R-W6ZC-2H", True),
        ("9f3b6c1e2d7a4f8b0c5e6a1d3b9f2c7e", True),
        (None, True),
    ],
)
def test_a_code_that_a_person_chose_is_strong_only_by_estimate(organization, code, is_strong):
    assert BindingCode.objects.issue(organization=organization, code=code)[0].is_strong is is_strong


def attempt(code, number):
    return credentials.Credentials(f"INVENTED{number}", "12345678", code)


def test_a_thousand_guesses_over_invented_numbers_and_then_the_right_code(
    organization, other_organization, django_assert_num_queries
):
    now = timezone.now()
    own, strong = (
        BindingCode.objects.issue(organization=organization, code=code)[1] for code in ("HARB-HARB-2345", "")
    )
    other = BindingCode.objects.issue(organization=other_organization, code="HARB-HARB-2345")[1]
    for start in range(0, 1000, 100):
        wrong = [attempt(f"GUESS{number:05}", number) for number in range(start, start + 100)]
        assert not any(verdict.code for verdict in credentials.check(wrong, now=now))
    with django_assert_num_queries(3):
        [refused, taken] = credentials.check([attempt(own, 2000), attempt(strong, 2001)], now=now)
    assert (refused.code, refused.reason) == (None, credentials.FLOODED)
    assert taken.code is not None
    elsewhere = credentials.Credentials("INVENTED2002", "87654321", other)
    assert credentials.check([elsewhere], now=now)[0].code is not None
    later = now + BindingFailureQuerySet.WINDOW + timedelta(seconds=1)
    assert credentials.check([attempt(own, 2003)], now=later)[0].code is not None


def wrong_in_many_ways(organization, other_organization):
    """Pairs of id and code that open nothing, each wrong in another way and of a gateway of its own."""
    _, right = BindingCode.objects.issue(organization=organization)
    _, elsewhere = BindingCode.objects.issue(organization=other_organization)
    return {
        "no such organization": ("99999999", right),
        "no such code": (organization.organization_id, "WRON-GCOD-EXXX"),
        "all but the last letter": (organization.organization_id, right[:-1] + ("2" if right[-1] != "2" else "3")),
        "code of another organization": (organization.organization_id, elsewhere),
    }


def test_ways_of_being_wrong_cannot_be_told_apart_by_answer_or_time(organization, other_organization, report):
    """Which part is wrong, and how much of it, shows neither in the queries nor in the time they take."""
    pairs = wrong_in_many_ways(organization, other_organization)
    took, queries, reasons = defaultdict(list), defaultdict(set), set()
    for number in range(60):
        for way, (organization_id, code) in pairs.items():
            attempt = Credentials(f"{number}-{way}"[:64], organization_id, code)
            with CaptureQueriesContext(connection) as captured:
                started = time.thread_time()
                [verdict] = check([attempt], now=timezone.now())
                took[way].append(time.thread_time() - started)
            queries[way].add(len(captured))
            reasons.add(verdict.reason)
    assert reasons == {WRONG}
    assert len({frozenset(counts) for counts in queries.values()}) == 1
    medians = {way: 1e3 * statistics.median(times) for way, times in took.items()}
    report(", ".join(f"{way} {median:.2f} ms" for way, median in medians.items()))
    assert max(medians.values()) < 1.5 * min(medians.values())
