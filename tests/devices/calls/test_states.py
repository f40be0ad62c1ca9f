"""What a call may become, without a database."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.calls.methods import LIST, LOGIN, METHODS, SWITCH
from devices.calls.states import (
    LONGEST,
    LONGEST_MESSAGE,
    MAY,
    MOST_VERSIONS,
    Heard,
    Source,
    Status,
    Word,
    answer,
    hear,
)
from devices.calls.wording import describe, problem
from devices.models import OPEN_STATUSES, ServiceCall
from mqtt_bridge.protocol.messages import AccountEvent, decode_data

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NIGHT = datetime(2026, 12, 1, 2, tzinfo=UTC)


def call(status=Status.SENT, method=LOGIN, **fields):
    return ServiceCall(method=method, status=status, **fields)


def event(status, percent=None, **fields):
    return Word(Source.EVENT, status, percent=percent, **fields)


def test_every_state_is_in_the_table_and_only_open_ones_and_timed_out_go_on():
    assert set(MAY) == set(Status)
    assert {status for status, next_ones in MAY.items() if next_ones} == {*OPEN_STATUSES, Status.TIMED_OUT}


def test_reply_then_progress_then_ok():
    asked = call()
    words = [
        Word(Source.REPLY, Status.IN_PROGRESS),
        event(Status.IN_PROGRESS, 10),
        event(Status.IN_PROGRESS, 90),
        event(Status.SUCCEEDED),
    ]
    assert [hear(asked, word, now=NOW) for word in words] == [Heard.CHANGE] * 4
    assert (asked.status, asked.percent, asked.version, asked.closed, asked.late) == ("succeeded", 90, 5, NOW, False)


def test_duplicate_changes_nothing_but_patience():
    asked = call()
    hear(asked, event(Status.IN_PROGRESS, 10), now=NOW)
    assert hear(asked, event(Status.IN_PROGRESS, 10), now=NOW + timedelta(seconds=9)) is Heard.PATIENCE
    assert (asked.version, asked.deadline) == (2, NOW + timedelta(seconds=9 + 180))


def test_percent_never_goes_back_and_stays_within_a_hundred():
    asked = call()
    for percent in (40, 20, 999, -5, None):
        hear(asked, event(Status.IN_PROGRESS, percent), now=NOW)
    assert asked.percent == 100


def test_reply_that_an_event_overtook_does_not_go_back():
    asked = call()
    hear(asked, event(Status.IN_PROGRESS, 10), now=NOW)
    hear(asked, Word(Source.REPLY, Status.ACCEPTED), now=NOW)
    assert asked.status == "in_progress"


@pytest.mark.parametrize("end", ["succeeded", "failed", "rejected", "canceled", "expired"])
def test_end_absorbs_whatever_comes_after(end):
    asked = call(end)
    for status in Status:
        assert hear(asked, event(status, 50), now=NOW) is Heard.NOTHING
    assert (asked.status, asked.version, asked.percent) == (end, 1, None)


def test_truth_corrects_a_time_out_and_is_marked_late():
    asked = call(Status.TIMED_OUT)
    assert hear(asked, event(Status.IN_PROGRESS, 50), now=NOW) is Heard.NOTHING
    assert hear(asked, event(Status.SUCCEEDED), now=NOW) is Heard.CHANGE
    assert (asked.status, asked.late) == ("succeeded", True)
    assert describe(asked) == "After we had stopped waiting: Done."


def test_dock_that_never_stops_talking_makes_no_endless_history_and_its_last_word_counts():
    asked = call()
    for number in range(2 * MOST_VERSIONS):
        hear(asked, event((Status.PAUSED, Status.IN_PROGRESS)[number % 2]), now=NOW)
    assert asked.version == MOST_VERSIONS
    assert hear(asked, event(Status.SUCCEEDED), now=NOW) is Heard.CHANGE


def test_dock_keeps_no_call_open_for_ever():
    asked = call(sent=NOW)
    for minutes in range(0, 120, 2):
        hear(asked, event(Status.IN_PROGRESS, 10), now=NOW + timedelta(minutes=minutes))
    assert asked.deadline == NOW + LONGEST


def test_person_does_not_correct_a_time_out():
    asked = call(Status.TIMED_OUT)
    assert hear(asked, Word(Source.PERSON, Status.CANCELED), now=NOW) is Heard.NOTHING


def test_call_that_went_back_to_the_queue_has_not_been_sent():
    asked = call(sent=NOW, deadline=NOW)
    hear(asked, Word(Source.WORKER, Status.QUEUED), now=NOW)
    assert (asked.status, asked.sent, asked.deadline) == ("queued", None, None)


WORDS = st.builds(
    Word,
    st.sampled_from(Source),
    st.sampled_from(Status),
    percent=st.none() | st.integers(-50, 300),
    result_code=st.none() | st.integers(0, 999999),
    output=st.just({}),
)


@given(st.lists(WORDS, max_size=30))
def test_every_history_is_a_path_of_the_table(words):
    asked = call(Status.QUEUED)
    percents = []
    for word in words:
        before, version = asked.status, asked.version
        heard = hear(asked, word, now=NOW)
        assert asked.status == before or asked.status in MAY[before]
        assert asked.version == version + (heard is Heard.CHANGE)
        assert asked.late == (asked.late and not asked.is_open)
        assert (asked.closed is None) == (asked.is_open)
        percents.append(asked.percent or 0)
    assert percents == sorted(percents)


# --- what docks say --------------------------------------------------------------------------------


def read_reply(method, data):
    return answer(Source.REPLY, METHODS[method], decode_data(METHODS[method].reply, data), data)


def read_event(data):
    return answer(Source.EVENT, METHODS[LOGIN], decode_data(AccountEvent, data), data)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"result": 0}, "accepted"),
        ({"result": 0, "output": {"status": "in_progress"}}, "in_progress"),
        ({"result": 0, "output": {"status": "sent"}}, "accepted"),
        ({"result": 0, "output": {"status": "paused"}}, "paused"),
        ({"result": 0, "output": {"status": "ok"}}, "succeeded"),
        ({"result": 0, "output": {"status": "rejected"}}, "rejected"),
        ({"result": 0, "output": {"status": "failed"}}, "failed"),
        ({"result": 0, "output": {"status": "canceled"}}, "canceled"),
        ({"result": 0, "output": {"status": "timeout"}}, "failed"),
        ({"result": 0, "output": {"status": "dancing"}}, "accepted"),
        ({"result": 325012, "output": {"status": "ok"}}, "failed"),
        ({"result": 325012, "output": {"status": "in_progress"}}, "failed"),
        ({"result": 325012, "output": {"status": "rejected"}}, "rejected"),
        ({"result": 325012}, "failed"),
    ],
)
def test_status_decides_and_a_result_that_is_not_0_is_never_good(data, status):
    assert read_reply(LOGIN, data).status == status


def test_result_alone_ends_a_service_without_events():
    assert read_reply(SWITCH, {"result": 0, "license_id": 5}).output == {"license_id": 5}
    assert read_reply(SWITCH, {"result": 0}).status == "succeeded"
    assert read_reply(SWITCH, {"result": 325012}).status == "failed"


def test_list_without_licenses_is_not_complete():
    assert read_reply(LIST, {"result": 0}).output == {"consistence": None, "complete": False}
    assert read_reply(LIST, {"result": 0, "licenses": []}).output["complete"] is True


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("https://dji.example/code?x=1", True),
        ("HTTPS://dji.example", True),
        ("http://dji.example", False),
        ("javascript:alert(1)", False),
        ("//dji.example", False),
        ("", False),
    ],
)
def test_only_an_https_link_is_kept(link, kept):
    word = read_event({"result": 0, "output": {"status": "failed", "verification_code_url": link}})
    assert ("verification_code_url" in word.output) is kept


def test_an_unknown_code_keeps_its_message_without_secrets_and_not_for_ever():
    told = read_reply(SWITCH, {"result": 1, "why": "舱", "nonce": "x"})
    assert told.text == '{"result": 1, "why": "舱", "nonce": "***"}'
    assert len(read_reply(SWITCH, {"result": 1, "why": "x" * 10_000}).text) == LONGEST_MESSAGE + 1
    for code in (0, 325012):
        assert read_reply(SWITCH, {"result": code, "why": "舱"}).text == ""


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"status": "queued"}, "Waiting to be sent."),
        (
            {"status": "queued", "queue": True, "expires": NIGHT},
            "Waiting for the dock to come online, until 2026-12-01 02:00 UTC.",
        ),
        (
            {"status": "queued", "queue": True, "expires": NIGHT, "result_text": "the dock is not connected."},
            "Waiting until 2026-12-01 02:00 UTC: the dock is not connected. It is sent as soon as the dock connects.",
        ),
        ({"status": "in_progress", "percent": 40}, "The dock works on it: 40 %."),
        ({"status": "failed", "result_code": 325012}, "Failed: the aircraft is not connected (325012)."),
        ({"status": "failed", "result_code": 987654}, "Failed with code 987654, which DJI does not document."),
        (
            {"status": "rejected", "result_code": 1, "result_text": '{"result": 1, "output": {"msg": "no"}}'},
            "Refused by the dock with code 1, which DJI does not document; "
            'the dock\'s message: {"result": 1, "output": {"msg": "no"}}',
        ),
        ({"status": "expired", "result_text": "the dock is not connected."}, "Not sent: the dock is not connected."),
        ({"status": "succeeded", "method": LIST, "output": {"licenses": 1}}, "Done: 1 license."),
        ({"status": "succeeded", "method": LIST, "output": {}}, "Done, but the dock sent no list."),
        (
            {"status": "failed", "output": {"verification_code_url": "https://dji.example"}},
            "Failed: DJI wants a verification code.",
        ),
        (
            {
                "status": "failed",
                "data": {"verification_code": "***"},
                "output": {"verification_code_url": "https://dji.example"},
            },
            "Failed: DJI did not accept the verification code and wants another.",
        ),
        ({"status": "failed", "result_code": 0}, "Failed: the dock gives no reason."),
        ({"status": "rejected", "result_code": 0}, "Refused by the dock: the dock gives no reason."),
        ({"status": "timed_out"}, "No answer in time: whether it was done is unknown."),
    ],
)
def test_call_is_told_in_plain_words(fields, sentence):
    assert describe(call(**fields)) == sentence


@pytest.mark.parametrize(
    ("status", "code", "dji_code", "dji_text"),
    [
        (Status.FAILED, 325012, 325012, "the aircraft is not connected"),
        (Status.FAILED, 2**40, 2**40, ""),
        (Status.FAILED, 0, None, ""),
        (Status.REJECTED, 325007, 325007, "the dock is busy with a flight task; try later"),
        (Status.EXPIRED, None, None, ""),
        (Status.TIMED_OUT, None, None, ""),
    ],
)
def test_what_went_wrong_is_a_problem_for_programs(status, code, dji_code, dji_text):
    found = call(status, result_code=code, result_text="why")
    assert problem(found) == {
        "type": f"urn:dock-cloud:problem:{status}",
        "title": status.replace("_", " ").capitalize(),
        "detail": describe(found),
        "dji_code": dji_code,
        "dji_text": dji_text,
    }


@pytest.mark.parametrize("status", [*OPEN_STATUSES, Status.SUCCEEDED, Status.CANCELED])
def test_what_is_well_or_was_called_off_is_no_problem(status):
    assert problem(call(status, result_code=0)) is None
