"""What reads the same for everybody: data of the API, frames, the audit trail. Errors are in the caller's language."""

import json

import pytest
from django.utils.translation import gettext_lazy, override

from devices.calls import wording
from devices.live import broadcast
from organizations import audit
from organizations.audit import Actor
from organizations.language.stored import english
from organizations.models import AuditEvent, Organization
from organizations.people.models import Preference
from tests.devices.calls.cases import make_call

pytestmark = pytest.mark.django_db
CHINESE = {"Accept-Language": "zh-hans"}
TEXT = gettext_lazy("Authorization zones")  # which has a translation


@pytest.fixture
def worded(monkeypatch):
    """Calls are described by a text with a translation, once as soon as it is asked for and once later."""
    monkeypatch.setattr(wording, "describe", lambda _call: str(TEXT))
    monkeypatch.setattr(wording, "problem", lambda _call: {"detail": TEXT})


def test_an_error_is_in_the_language_that_the_caller_asks_for(api, manager_key):
    body = api(manager_key).post("/api/v1/service-calls/", {}, headers=CHINESE).json()
    assert body["title"] == "Invalid"
    assert "必填" in body["detail"]
    assert {error["code"] for error in body["errors"]} == {"required"}
    assert "必填" in body["errors"][0]["detail"]
    assert "required" in api(manager_key).post("/api/v1/service-calls/", {}).json()["detail"]


def test_an_error_is_in_the_language_of_the_person_of_a_session(api, alice):
    Preference.objects.create(user=alice, language="zh-hans")
    assert "必填" in api(alice).post("/api/v1/service-calls/", {}).json()["detail"]


def test_data_is_in_english_and_has_one_tag(api, alice, dock, worded):
    address = f"/api/v1/service-calls/{make_call(dock).pk}/"
    english, chinese = api(alice).get(address), api(alice).get(address, headers=CHINESE)
    assert english.json()["text"] == english.json()["problem"]["detail"] == "Authorization zones"
    assert chinese.json() == english.json()
    assert chinese["ETag"] == english["ETag"]
    (row,) = api(alice).get("/api/v1/service-calls/", headers=CHINESE).json()["results"]
    assert row["text"] == row["problem"]["detail"] == "Authorization zones"


def test_frames_are_in_english(dock, worded):
    call = make_call(dock)
    with override("zh-hans"):
        frame = json.loads(broadcast.call_frames(call)[0].text)
    assert frame["text"] == frame["problem"]["detail"] == "Authorization zones"


def test_the_audit_trail_is_in_english(alice, organization, monkeypatch):
    monkeypatch.setattr(Organization, "__str__", lambda _row: str(TEXT))
    with override("zh-hans"):
        event = audit.event(Actor(AuditEvent.Through.ADMIN, alice), "change", organization, organization_id=None)
        assert event.object_name == english(TEXT) == "Authorization zones"
        assert audit.writable({"kind": TEXT}) == {"kind": "Authorization zones"}
