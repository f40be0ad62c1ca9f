"""Many binding codes from one form, and their sheets on one page."""

import pytest
from django.conf import settings as project
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import BrokerAccount
from organizations.admin.forms import numbered
from organizations.models import AuditEvent, BindingCode
from organizations.typed import digest_of

ADD = "/admin/organizations/bindingcode/add/"


@pytest.fixture
def issue(client, alice, organization, settings):
    """issue(count=3) is the answer to Alice's form for new codes."""
    settings.DOCK_MQTT_URL = "ssl://own:8883"
    client.force_login(alice)
    form = {"organization": organization.pk, "max_uses": "1", "login": "fixed", "form_id": "f1"}
    return lambda **more: client.post(ADD, {**form, **more})


@pytest.mark.parametrize(
    ("pattern", "count", "labels"),
    [
        ("Pier", 1, ["Pier"]),
        ("Pier", 2, ["Pier 1", "Pier 2"]),
        ("Pier {n:02}", 2, ["Pier 01", "Pier 02"]),
        ("{n}. pier", 1, ["1. pier"]),
        ("", 2, ["", ""]),
        ("{x} {n", 1, ["{x} {n"]),
    ],
)
def test_a_pattern_numbers_the_labels(pattern, count, labels):
    assert numbered(pattern, count) == labels


def test_each_code_has_its_sheet_and_all_share_one_request_id(issue):
    answer = issue(count="3", label="Pier {n}")
    rows = BindingCode.objects.order_by("label")
    assert [row.label for row in rows] == ["Pier 1", "Pier 2", "Pier 3"]
    shown = {sheet.code.label: sheet.values[-1].value for sheet in answer.context["sheets"]}
    assert {row.label: digest_of(shown[row.label]) for row in rows} == {row.label: row.digest for row in rows}
    text = answer.content.decode()
    assert text.count('class="paper sheet"') == 3
    assert all(text.count(plain) == len(project.LANGUAGES) for plain in shown.values())
    issued = AuditEvent.objects.filter(action="issue")
    assert issued.count() == 3
    assert issued.values("request_id").distinct().count() == 1
    assert {row.is_strong for row in rows} == {True}
    assert {row.created_by.username for row in rows} == {"alice"}


def test_a_reload_issues_no_second_set(issue):
    issue(count="2")
    answer = issue(count="2")
    assert answer.status_code == 302
    assert BindingCode.objects.count() == 2


def test_each_line_is_the_label_of_a_code(issue):
    issue(labels="North gate\n\n South gate \n", count="1", label="ignored")
    assert set(BindingCode.objects.values_list("label", flat=True)) == {"North gate", "South gate"}


def test_sheets_of_one_form_share_an_enrolment_account(issue, settings):
    settings.MQTT_AUTH_SECRET = "s" * 50
    issue(count="2", label="Pier", login="enrolment")
    assert BrokerAccount.objects.get().label == "Pier 1"
    assert BindingCode.objects.count() == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": "101"},
        {"count": "0"},
        {"count": "2", "code": "HARBOUR-2040"},
        {"count": "2", "login": "own", "serial_number": "DOCK0009"},
        {"labels": "x\n" * 101},
        {"labels": "x" * 101},
        {"count": "2", "label": "x" * 99},
    ],
)
def test_what_cannot_be_many_issues_nothing(issue, wrong):
    assert issue(**wrong).context["errors"]
    assert not BindingCode.objects.exists()


@pytest.mark.parametrize("visitor", ["bob", "charlie"])
def test_nobody_else_issues_many(issue, client, request, visitor, organization):
    client.force_login(request.getfixturevalue(visitor))
    issue(count="2")
    assert not BindingCode.objects.exists()


def test_a_hundred_codes_cost_as_many_queries_as_two(issue):
    issue(count="2")  # reads what later requests have cached
    counts = []
    for number, count in enumerate(("2", "100")):
        with CaptureQueriesContext(connection) as queries:
            issue(count=count, form_id=f"again {number}")
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert BindingCode.objects.count() == 104
