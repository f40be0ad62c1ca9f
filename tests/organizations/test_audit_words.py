"""The audit trail in words: every action has a sentence, and no value is shown as Python writes it."""

import re

import pytest
from django.utils.translation import override

from organizations import audit, codes
from organizations.audit import Actor
from organizations.models import AuditEvent, Membership
from organizations.models.audit_words import ACTIONS, changes, done
from tests.stack import ROOT

CALLS = re.compile(
    r"(?:audit\.(?:event|listed)\(\s*\w+(?:\(request\)|\.actor)?|_insert\(\w+|_event\(actor|\b_audit\((?:self\.)?request"
    r"|changes\.take\(\w+|ownership\.take\(\w+|self\.take\(\w+|\.give\([\w.]+, [\w.]+, [\w.]+),"
    r"\s*\"([^\"]+)\"(?: if \w+ else \"([^\"]+)\")?"
)
AUDIT = "/admin/organizations/auditevent/"


def recorded():
    """The actions that the code names where it records them."""
    for app in ("organizations", "devices", "licenses", "cloudapi"):
        for path in (ROOT / app).rglob("*.py"):
            for found in CALLS.findall(path.read_text()):
                yield from filter(None, found)


def test_every_action_that_is_recorded_has_words():
    found = set(recorded())
    assert {"bind", "release", "issue", "enable", "disable", "command", "issue broker account", "export"} <= found
    assert found <= set(ACTIONS)


def test_an_action_is_told_with_its_object():
    assert done("issue", "organizations.BindingCode", "North …7KQM") == "issued binding code North …7KQM"
    assert done("export", "devices.Device", "devices") == "exported the list: devices"
    assert done("melt", "gone.Model", "thing") == "melt: Model thing"


def test_names_with_words_are_in_the_readers_language_though_rows_are_in_english(organization, alice):
    member = str(Membership.objects.get(user=alice))
    with override("zh-hans"):
        assert done("join", "organizations.Membership", member) == "加入：成员关系 Harbour Survey 的成员 alice"
        assert done("invite", "organizations.Invitation", "dana to Pier to Go") == "邀请了 邀请 dana to Pier（加入 Go）"
        assert done("export", "organizations.BindingCode", "binding codes") == "导出了列表：绑定码"
        assert done("enable", "devices.Device", "dana in Harbour").endswith("dana in Harbour")
        batch = "Read licenses in the aircraft, 2026-11-30 09:00 UTC"
        told = done("start batch", "devices.ServiceCallBatch", batch)
        assert told.endswith("读取飞行器内的证书, 2026-11-30 09:00 UTC")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"callsign": "Pier 7"}, {"callsign": "Pier 8"}, "Callsign: Pier 7 → Pier 8"),
        ({"callsign": ""}, {"callsign": "Pier 8"}, "Callsign: – → Pier 8"),
        ({"is_enabled": True}, {"is_enabled": False}, "Enabled: yes → no"),
        ({}, {"until": None}, "Until: –"),
        ({}, {"claim": "person"}, "Claim: a person added it"),
        ({}, {"bound_at": "2030-01-31T12:00:00+08:00"}, "Bound at: 2030-01-31 04:00:00 UTC"),
        (
            {},
            {"data": {"license_id": 5, "enable": True, "areas": [1, 2]}},
            "Data: license_id: 5, enable: yes, areas: 1, 2",
        ),
        ({}, {"wrong_pairs": 3}, "Wrong codes: 3"),
    ],
)
def test_values_are_words(before, after, words):
    assert [str(change) for change in changes("devices.Device", before, after)] == [words]


@pytest.fixture
def issued(organization, alice):
    return codes.issue(actor=Actor(AuditEvent.Through.ADMIN, user=alice), organization=organization, label="North")[0]


def test_the_list_and_the_page_say_what_was_done(client, alice, issued):
    client.force_login(alice)
    assert f"issued binding code North …{issued.hint}" in client.get(AUDIT).content.decode()
    text = client.get(f"{AUDIT}{AuditEvent.objects.get().pk}/change/").content.decode()
    assert f"Expires at: {issued.expires_at:%Y-%m-%d %H:%M:%S} UTC" in text
    assert "None" not in text
    assert "{&#x27;" not in text


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"action": "issue"}, 1),
        ({"action": "revoke"}, 0),
        ({"object_type": "organizations.BindingCode"}, 1),
        ({"object_type": "devices.Device"}, 0),
        ({"user": "alice"}, 1),
        ({"user": "bob"}, 0),
    ],
)
def test_the_trail_is_filtered_by_person_action_and_kind(client, alice, bob, issued, query, count):
    client.force_login(alice)
    query = {name: {"alice": alice.pk, "bob": bob.pk}.get(value, value) for name, value in query.items()}
    assert len(client.get(AUDIT, query).context["cl"].result_list) == count


def test_the_filter_by_person_names_nobody_of_other_organizations(client, alice, bob, charlie, issued):
    client.force_login(alice)
    text = client.get(AUDIT).content.decode()
    assert ">bob<" in text
    assert "charlie" not in text


def test_the_history_of_an_object_is_its_trail(client, alice, issued):
    codes.revoke([issued], actor=Actor(AuditEvent.Through.ADMIN, user=alice))
    client.force_login(alice)
    text = client.get(f"/admin/organizations/bindingcode/{issued.pk}/history/").content.decode()
    assert f"issued binding code North …{issued.hint}" in text
    assert f"revoked binding code North …{issued.hint}" in text


def test_the_history_hides_what_was_done_while_another_organization_owned_it(client, alice, other_organization, issued):
    actor = Actor(AuditEvent.Through.ADMIN)
    audit.record([audit.event(actor, "disable", issued, organization_id=other_organization.pk)])
    client.force_login(alice)
    assert "disabled" not in client.get(f"/admin/organizations/bindingcode/{issued.pk}/history/").content.decode()


def test_the_history_of_a_person_is_the_trail_of_the_account(client, staff, bob):
    client.force_login(staff)
    audit.record([audit.event(Actor(AuditEvent.Through.ADMIN, user=staff), "end sessions", bob, organization_id=None)])
    assert "ended all sessions of user bob" in client.get(f"/admin/auth/user/{bob.pk}/history/").content.decode()


def test_a_choice_is_shown_as_its_label(client, staff, bob):
    row = Membership.objects.get(user=bob)
    client.force_login(staff)
    client.post(f"/admin/organizations/membership/{row.pk}/change/", {"role": "operator"})
    words = "Role: viewer: sees → operator: also commands docks"
    assert [str(change) for change in AuditEvent.objects.get().changes] == [words]


def test_the_exported_trail_is_in_words(client, staff, issued):
    client.force_login(staff)
    text = client.get(f"{AUDIT}export/").getvalue().decode()
    assert "issued binding code North" in text
    assert f"Expires at: {issued.expires_at:%Y-%m-%d %H:%M:%S} UTC" in text
