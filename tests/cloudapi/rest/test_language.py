"""Errors of the REST API in Chinese: what people read of every kind of problem, and of every mistake in a request."""

import json
import re
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.test import RequestFactory
from django.utils import timezone, translation

from cloudapi import error_reports
from cloudapi.web import bodies
from devices.models import DeviceState
from licenses import files
from mqtt_bridge.models import Heartbeat
from organizations.api.idempotency import StillRunning
from tests.api import client_of
from tests.devices.calls.cases import make_call

pytestmark = pytest.mark.django_db
CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9"}
ENGLISH = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")  # two words: neither a name nor a code
CODE = re.compile(r"`[^`]*`")
V1 = "/api/v1/"
CALLS, DEVICES = f"{V1}service-calls/", f"{V1}devices/"
READ = {"device": "DOCK0001", "method": "unlock_license_list", "data": {"device_model_domain": 0}}
LOGIN = {"device": "DOCK0001", "method": "login_dji_account", "data": {"email": "a@b.example", "password": "x"}}


def english(answer):
    """The sentences of an error that are in English, and its type."""
    body = answer.json()
    told = [body["detail"], *(error["detail"] for error in body.get("errors", []))]
    return body["type"].rpartition(":")[2], [text for text in told if ENGLISH.search(CODE.sub("", text))]


@pytest.fixture
def wrong(api, dock, organization, manager_key, viewer_key, alice, settings):
    """The answers to requests that are wrong, each in its own way."""
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)
    manager, viewer = api(manager_key), api(viewer_key)

    def get(query, client=viewer, **more):
        return client.get(f"{V1}{query}", headers={**CHINESE, **more})

    def post(path, body, client=manager, **more):
        return client.post(path, body, headers={**CHINESE, **more})

    def patch(body, client=manager, path=f"{DEVICES}{dock.sn}/", **more):
        kind = more.pop("kind", "application/json")
        return client.patch(path, body, content_type=kind, headers={**CHINESE, **more})

    def answers():
        yield api().get(DEVICES, headers=CHINESE)
        yield api().get(DEVICES, headers={**CHINESE, "Authorization": "Api-Key abcdefgh.x"})
        yield get("devicez/")
        yield get("devices/NOBODY/")
        yield get("devices/", Accept="text/html")
        yield viewer.put(DEVICES, {}, headers=CHINESE)
        yield patch({"callsign": "x"}, viewer)
        yield client_of(alice, enforce_csrf_checks=True).patch(f"{DEVICES}{dock.sn}/", {}, headers=CHINESE)
        for query in ("kind=boat", "nope=1", "kind=", "online=perhaps", "online=true&online=false", "ordering=colour",
                      "limit=0", "cursor=x", "include=weather", "updated_since=yesterday", "a=1&" * 1001):  # fmt: skip
            yield get(f"devices/?{query}")
        yield get(f"service-calls/{make_call(dock, method='unlock_license_update').pk}/?wait=long")
        yield get("organizations/?updated_since=x&is_active=2")
        for body in ("{", b"\xff\xfe", "NaN", "[" * 100_000, "[1]", '{"callsign": 1, "sn": "x", "weather": 2}'):
            yield patch(body)
        yield patch("callsign=x", kind="text/plain")
        yield patch({"site": "Nowhere"})
        yield patch({"labels": ["nothing"]})
        yield patch({"callsign": "x"}, **{"If-Match": '"x"'})
        for body in ({}, {"method": "dance", "data": {}}, {**READ, "device": "dock0001"}, {**READ, "data": {"x": 1}},
                     {**READ, "expires_in": 0, "note": 5}, {**LOGIN, "queue": True}):  # fmt: skip
            yield post(CALLS, body)
        yield post(CALLS, READ, **{"Idempotency-Key": "\t"})
        for body in (READ, {**READ, "note": "again"}):
            yield post(CALLS, body, **{"Idempotency-Key": "one"})
        yield post(f"{CALLS}{make_call(dock).pk}/retry/", {})
        yield post(f"{V1}service-call-batches/", {"devices": ["NOBODY"], "method": "unlock_license_update"})
        yield post(f"{V1}service-call-batches/", {"devices": ["no number"], "method": "unlock_license_update"})
        batch = {"devices": [dock.sn], "method": "unlock_license_update"}
        yield post(f"{V1}service-call-batches/", {**batch, "due_at": "2026-12-01T02:00", "expires_in": 5})
        yield post(f"{V1}service-call-batches/", {**batch, "due_at": "2020-12-01T02:00:00Z"})
        yield post(f"{V1}service-call-batches/", {**batch, "due_at": "2026-12-01T02:00Z", "expires_in": 5})
        yield post(f"{V1}service-call-batches/by-time-zone/", {**batch, "due_local": "night"})
        yield post(f"{V1}binding-codes/", {"code": "short", "expires_at": "2020-01-01T00:00:00Z", "max_uses": 0})
        yield post(f"{V1}broker-accounts/", {"device": dock.sn, "label": "x"})
        yield post(f"{V1}broker-accounts/", {"expires_at": "2020-01-01T00:00:00Z"})
        yield manager.post(f"{V1}license-files/", {"organization": "x"}, format="multipart", headers=CHINESE)
        yield patch({"organization_id": "other"}, path=f"{V1}organizations/{organization.organization_id}/")
        DeviceState.objects.filter(device=dock).update(online=False, last_seen=now - timedelta(hours=1))
        yield post(CALLS, {**READ, "data": {"device_model_domain": 3}})
        yield post(CALLS, LOGIN)
        type(dock).objects.filter(pk=dock.pk).update(is_enabled=False)
        yield post(CALLS, {**READ, "data": {"device_model_domain": 3}})
        settings.COMMANDS_AVAILABLE = False
        yield post(CALLS, READ)
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
        yield patch({"callsign": "x" * 20})
        settings.API_REQUESTS_PER_MINUTE = 1
        yield get("devices/")
        yield get("devices/")
        cache.clear()

    return [answer for answer in answers() if answer.status_code >= 400]


def test_every_mistake_in_a_request_is_told_in_chinese(wrong):
    found = [english(answer) for answer in wrong]
    assert [one for one in found if one[1]] == []
    assert {
        "not_authenticated", "authentication_failed", "permission_denied", "not_found", "method_not_allowed",
        "not_acceptable", "invalid", "parse_error", "unsupported_media_type", "precondition_failed",
        "idempotency_key_reused", "busy", "offline", "disabled", "unavailable", "too_large", "throttled",
    } <= {kind for kind, _ in found}  # fmt: skip


def test_what_no_caller_causes_is_told_in_chinese(monkeypatch):
    request = RequestFactory().get(DEVICES)
    with translation.override("zh-hans"):
        told = [str(StillRunning().detail), *files.FileTooLargeError().messages]
        for is_away in (False, True):
            monkeypatch.setattr(error_reports, "is_away", lambda error, is_away=is_away: is_away)
            told.append(json.loads(error_reports.server_error(request).content)["detail"])
    assert [text for text in told if ENGLISH.search(text)] == []


@pytest.mark.parametrize(("language", "words"), [("zh-CN", "请求正文过大"), ("en", "The body is too large")])
def test_a_body_that_is_not_read_is_refused_in_the_language_of_its_headers(language, words):
    sent = []

    async def send(event):
        sent.append(event)

    headers = [(b"accept-language", language.encode())]
    scope = {"type": "http", "method": "POST", "path": CALLS, "query_string": b"", "headers": headers}
    async_to_sync(bodies.refuse)(scope, send, 413, "too_large", bodies.too_large(2**20))
    assert words in json.loads(sent[1]["body"])["detail"]
