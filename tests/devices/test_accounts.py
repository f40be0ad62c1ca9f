"""How logins and logouts change a dock's DJI account."""

import pytest
from django.db import transaction

from devices import accounts
from devices.calls import ending, refusal, sending
from devices.calls.wording import describe
from devices.models import Device, DeviceAccount, ServiceCall
from devices.serializers import DeviceAccountSerializer
from mqtt_bridge.line.publisher import Receipt
from organizations.models import AuditEvent
from tests.devices.calls.test_service_calls import (
    CREDENTIALS,
    LOGIN,
    _bridge,  # noqa: F401  (a fixture)
    actor,  # noqa: F401
    claim,
    close_overdue,
    event,
    hear,
    issue,
    sent,
)

pytestmark = pytest.mark.django_db

LINK = "https://account.dji.example/code"
LOGOUT = "logout_dji_account"


def account(dock):
    row = DeviceAccount.objects.get(device=dock)
    return row.status, row.username, row.verification_code_url


def logged_in(dock):
    call = sent(dock, LOGIN, CREDENTIALS)
    event(call, "ok")
    return call


def test_login_is_shown_while_it_runs_and_when_it_is_through(dock):
    call = sent(dock, LOGIN, CREDENTIALS)
    assert account(dock) == ("logging_in", "pilot@example.org", "")
    event(call, "ok")
    assert account(dock) == ("logged_in", "pilot@example.org", "")


def test_failure_with_a_link_wants_a_code_and_the_next_attempt_is_linked(dock):
    first = sent(dock, LOGIN, CREDENTIALS)
    event(first, "failed", output={"verification_code_url": LINK})
    assert account(dock) == ("verification_required", "pilot@example.org", LINK)
    second = sent(dock, LOGIN, CREDENTIALS | {"verification_code": "123456"})
    assert second.retry_of == first
    assert second.data["verification_code"] == "***"
    assert account(dock)[2] == ""
    event(second, "ok")
    assert account(dock) == ("logged_in", "pilot@example.org", "")


def test_link_told_on_the_way_counts_when_the_attempt_fails(dock):
    call = sent(dock, LOGIN, CREDENTIALS)
    event(call, "in_progress", 10, output={"verification_code_url": LINK})
    assert account(dock)[0] == "logging_in"
    event(call, "failed")
    assert account(dock)[0] == "verification_required"


@pytest.mark.parametrize(
    "link",
    [
        "http://dji.example",
        "javascript:alert(1)",
        "https://",
        "https:///code",
        "https://[1",
        "https:\\\\evil.example",
        "https://account.dji.com@evil.example/",
        "https://evil.example\\@account.dji.com/",
        "https://account.dji.com\u2044.evil.example/",
        "https://evil.example/\u202emoc.ijd",
        "https://evil.example/ account.dji.com",
    ],
)
def test_failure_with_an_unsafe_link_is_a_failure(dock, link):
    event(sent(dock, LOGIN, CREDENTIALS), "failed", output={"verification_code_url": link})
    assert account(dock) == ("failed", "pilot@example.org", "")


def test_link_in_capitals_reaches_browsers_too(dock):
    event(sent(dock, LOGIN, CREDENTIALS), "failed", output={"verification_code_url": "HTTPS://DJI.example/code"})
    shown = DeviceAccountSerializer(DeviceAccount.objects.get()).data
    assert (shown["status"], shown["verification_code_url"]) == ("verification_required", "HTTPS://DJI.example/code")


def test_login_that_was_never_sent_leaves_what_was(dock, actor):  # noqa: F811
    logged_in(dock)
    call = issue(dock, LOGIN, CREDENTIALS | {"username": "other@example.org"})
    assert account(dock)[:2] == ("logging_in", "other@example.org")
    ending.cancel(call, actor=actor)
    assert account(dock) == ("logged_in", "pilot@example.org", "")


def test_login_that_the_broker_never_took_leaves_what_was(dock):
    logged_in(dock)
    taken = claim(issue(dock, LOGIN, CREDENTIALS | {"username": "other@example.org"}))
    sending.record_receipts([(taken.call, Receipt.NOT_SENT)])
    assert account(dock) == ("logged_in", "pilot@example.org", "")
    assert ServiceCall.objects.get(status="expired").sent is None


@pytest.mark.parametrize(("told", "then"), [("ok", "logged_in"), ("failed", "failed")])
def test_login_that_nobody_answers_is_unknown_until_the_dock_says_how_it_ended(dock, told, then):
    call = sent(dock, LOGIN, CREDENTIALS)
    close_overdue(seconds=181)
    assert account(dock) == ("unknown", "pilot@example.org", "")
    event(call, told)
    assert account(dock)[0] == then


def test_login_whose_answer_nobody_can_read_is_unknown(dock):
    hear(sent(dock, LOGIN, CREDENTIALS), {"result": "perhaps"})
    assert account(dock)[0] == "unknown"


def test_logout_ends_a_login_that_makes_no_progress(dock, actor):  # noqa: F811
    login = sent(dock, LOGIN, CREDENTIALS)
    event(login, "in_progress", 10)
    logout = sent(dock, LOGOUT, {}, actor=actor)
    login.refresh_from_db()
    assert (login.status, account(dock)[0]) == ("canceled", "unknown")
    assert describe(login) == "Canceled: superseded by a logout. What the dock did is unknown."
    assert AuditEvent.objects.get(action="cancel command").user == actor.user
    assert event(login, "ok").reason == "the command had ended: canceled"
    event(logout, "ok")
    event(login, "ok")
    assert account(dock) == ("logged_out", "", "")


def test_logout_takes_the_place_of_a_login_that_was_not_sent(dock):
    login = issue(dock, LOGIN, CREDENTIALS)
    event(sent(dock, LOGOUT, {}), "failed")
    login.refresh_from_db()
    assert describe(login) == "Canceled: superseded by a logout."
    assert claim(login) is None
    assert account(dock)[0] == "logged_out"


def test_nothing_but_a_logout_supersedes_a_login_and_nothing_a_logout(dock):
    def is_refused(method, data):
        with pytest.raises(refusal.Refused, match="busy"), transaction.atomic():
            issue(dock, method, data)
        return True

    sent(dock, LOGIN, CREDENTIALS)
    assert is_refused(LOGIN, CREDENTIALS)
    issue(dock, LOGOUT, {})
    assert is_refused(LOGIN, CREDENTIALS)
    assert is_refused(LOGOUT, {})


def test_logout_that_is_refused_ends_no_login(dock):
    login = sent(dock, LOGIN, CREDENTIALS)
    Device.objects.update(is_enabled=False)
    with pytest.raises(refusal.Refused), transaction.atomic():
        issue(dock, LOGOUT, {})
    login.refresh_from_db()
    assert login.status == "sent"


def test_late_word_on_an_old_login_does_not_touch_a_newer_one(dock):
    old = sent(dock, LOGIN, CREDENTIALS | {"username": "old@example.org"})
    close_overdue(seconds=181)
    logged_in(dock)
    event(old, "failed")
    assert account(dock)[:2] == ("logged_in", "pilot@example.org")


def test_logout_clears_the_account_only_if_it_succeeds(dock):
    logged_in(dock)
    hear(sent(dock, LOGOUT, {}), {"result": 0, "output": {"status": "failed"}})
    assert account(dock)[0] == "logged_in"
    event(sent(dock, LOGOUT, {}), "ok")
    assert account(dock) == ("logged_out", "", "")


def test_late_word_on_a_login_brings_no_account_back_that_a_release_deletes_at_this_moment(dock):
    call = sent(dock, LOGIN, CREDENTIALS)
    close_overdue(seconds=181)
    DeviceAccount.objects.all().delete()  # and the change of the owner is not committed yet
    event(call, "ok")
    assert call.status == "succeeded"
    assert not DeviceAccount.objects.exists()


def test_login_of_a_former_owner_says_nothing_to_the_new_one(dock, other_organization):
    call = sent(dock, LOGIN, CREDENTIALS)
    Device.objects.update(organization=other_organization)
    DeviceAccount.objects.all().delete()
    event(call, "failed", output={"verification_code_url": LINK})
    assert ServiceCall.objects.get().status == "failed"
    assert not DeviceAccount.objects.exists()
    assert accounts.unverified_attempt(Device.objects.get()) is None
