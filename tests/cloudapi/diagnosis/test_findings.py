"""How checks run: at once, and none holds up another."""

import threading
import time

import pytest
from django.db import OperationalError
from django.utils.translation import override

from cloudapi.diagnosis import findings, server
from cloudapi.diagnosis.findings import Level, ok, run

pytestmark = pytest.mark.django_db


def failing(error):
    def check():
        yield ok("half", "seen")
        raise error

    return check


def test_a_check_that_fails_or_hangs_is_a_problem_and_stops_no_other():
    ended = threading.Event()
    checks = {
        "first": lambda: [ok("first", "well")],
        "hangs": ended.wait,
        "breaks": failing(ZeroDivisionError("division")),
        "needs the database": failing(OperationalError("gone")),
        "last": lambda: [ok("last", "well"), ok("more", "well")],
    }
    began = time.monotonic()
    found = list(run(checks, patience=1.0))
    ended.set()
    assert time.monotonic() - began < 20
    assert [one.name for one in found] == ["first", "hangs", "breaks", "needs the database", "last", "more"]
    texts = {one.name: one.text for one in found if one.level == Level.PROBLEM}
    assert texts == {
        "hangs": "No answer within 1 s.",
        "breaks": "The check failed: ZeroDivisionError: division",
        "needs the database": "Not checked: the database cannot answer.",
    }


def test_a_statement_of_a_check_has_an_end(monkeypatch, settings):
    monkeypatch.setattr(findings, "STATEMENT", 100)

    def slow():
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")
        yield ok("slow", "well")

    [one] = run({"slow": slow})
    assert one.text == "Not checked: the database cannot answer."


def test_checks_speak_the_language_of_the_reader_though_they_run_in_threads(settings):
    settings.ALLOWED_HOSTS, ended = ["*"], threading.Event()
    with override("zh-hans"):
        hosts, late = run({"hosts": server.check_hosts, "Redis": ended.wait}, patience=1.0)
    ended.set()
    assert (hosts.name, hosts.text) == ("主机名", "ALLOWED_HOSTS 允许任何名称。")
    assert "秒内没有应答" in late.text
