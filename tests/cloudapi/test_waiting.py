"""Clients that wait for a service call, at a real web process with very few threads."""

import http.client
import json
import signal
import time
from contextlib import contextmanager

import pytest
from django.test import Client

from devices.models import ServiceCall
from tests.devices.calls.cases import make_call
from tests.stack import wait_for
from tests.web import running_web

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def module_web(django_db_setup, django_db_blocker, tmp_path_factory):
    with django_db_blocker.unblock(), start(tmp_path_factory.mktemp("web") / "log") as web:
        yield web


@pytest.fixture
def web(module_web):
    """With nobody who waits, before and after."""
    yield module_web
    wait_for(lambda: state(module_web)["waiting"] == 0)
    assert not state(module_web)["is_asking"]


def start(log):
    return running_web(log, application="tests.waiting_asgi:application", WEB_THREADS="2")


@pytest.fixture
def call(dock):
    return make_call(dock)


@pytest.fixture
def cookie(alice):
    client = Client()
    client.force_login(alice)
    return f"sessionid={client.cookies['sessionid'].value}"


class Asked:
    """A request on its way; `answer()` waits for it: (status, body, seconds)."""

    def __init__(self, web, path, cookie=""):
        self.began = time.monotonic()
        self.connection = http.client.HTTPConnection(web.host, timeout=60)
        self.connection.request("GET", path, headers={"Cookie": cookie})

    def answer(self):
        with self.connection.getresponse() as response:
            body = json.loads(response.read())
        self.connection.close()
        return response.status, body, time.monotonic() - self.began


def state(web):
    return Asked(web, "/test/state").answer()[1]


def ask(web, call, cookie, wait):
    return Asked(web, f"/test/calls/{call.pk}/?wait={wait}", cookie)


@contextmanager
def waiting(web, call, cookie, *, clients=1, wait=30):
    """So many clients, all of whom wait."""
    asked = [ask(web, call, cookie, wait) for _ in range(clients)]
    wait_for(lambda: state(web)["waiting"] == clients)
    try:
        yield asked
    finally:
        for one in asked:
            one.connection.close()


def end(call):
    ServiceCall.objects.filter(pk=call.pk).update(status="succeeded")


def test_call_that_has_ended_is_answered_at_once(web, call, cookie):
    end(call)
    status, body, seconds = ask(web, call, cookie, 20).answer()
    assert (status, body) == (200, {"status": "succeeded", "has_waited": False})
    assert seconds < 20  # it did not wait


def test_answer_comes_when_the_call_ends(web, call, cookie):
    with waiting(web, call, cookie) as [asked]:
        end(call)
        ended = time.monotonic()
        assert asked.answer()[:2] == (200, {"status": "succeeded", "has_waited": True})
    assert time.monotonic() - ended < 20  # the client would wait for 30


def test_the_route_of_calls_waits_and_tells_how_it_ended(web, call, cookie):
    path = f"/api/v1/service-calls/{call.pk}/?wait=30"
    asked = Asked(web, path, cookie)
    wait_for(lambda: state(web)["waiting"] == 1)
    end(call)
    status, body, seconds = asked.answer()
    assert (status, body["status"], body["is_open"]) == (200, "succeeded", False)
    assert seconds < 20


def test_answer_comes_when_the_time_is_up(web, call, cookie):
    status, body, seconds = ask(web, call, cookie, 1.5).answer()
    assert (status, body) == (200, {"status": "queued", "has_waited": True})
    assert seconds >= 1.5


def test_end_of_another_call_wakes_nobody(web, call, cookie, dock):
    with waiting(web, call, cookie, wait=3) as [asked]:
        end(make_call(dock))
        _, body, seconds = asked.answer()
    assert body["status"] == "queued"
    assert seconds >= 3


def test_other_pages_are_served_and_few_queries_ask_for_a_hundred_clients(web, call, cookie):
    with waiting(web, call, cookie, clients=100) as asked:
        before, began = state(web)["queries"], time.monotonic()
        time.sleep(2)
        rate = (state(web)["queries"] - before) / (time.monotonic() - began)
        end(call)
        assert {one.answer()[0] for one in asked} == {200}
    assert 0 < rate <= 5  # a second, as for one client


def test_client_that_goes_away_leaves_nothing(web, call, cookie):
    with waiting(web, call, cookie, clients=3):
        assert state(web)["is_asking"]
    wait_for(lambda: state(web)["waiting"] == 0)
    assert not state(web)["is_asking"]


def test_rights_are_read_anew_after_the_wait(web, call, cookie, alice):
    with waiting(web, call, cookie) as [asked]:
        alice.is_active = False
        alice.save()
        end(call)
        assert asked.answer()[0] == 401


def test_clients_are_answered_when_the_process_is_asked_to_end(call, cookie, tmp_path):
    with start(tmp_path / "log") as web:
        with waiting(web, call, cookie, clients=20) as asked:
            began = time.monotonic()
            web.process.send_signal(signal.SIGTERM)
            assert [one.answer()[:2] for one in asked] == [(200, {"status": "queued", "has_waited": True})] * 20
            web.process.wait(timeout=60)
        assert time.monotonic() - began < 25  # they would wait for 30
        assert "Traceback" not in web.said()
