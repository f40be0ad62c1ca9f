"""What the doctor says of Redis, workers and the bridge."""

import time
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from cloudapi.diagnosis import processes
from cloudapi.diagnosis.findings import Level
from cloudapi.embedded.servers import Redis
from cloudapi.file_jobs import running
from mqtt_bridge.database.lock import AdvisoryLock
from mqtt_bridge.models import Heartbeat
from organizations.models import FileJob
from tests.stack import wait_for

pytestmark = pytest.mark.django_db


def lines(check):
    return {one.name: (one.level, f"{one.text} {one.advice}") for one in check()}


def test_redis_must_answer_and_keep_commands(settings, monkeypatch):
    level, text = lines(processes.check_redis)["Redis"]
    assert (level, "answers" in text) == (Level.OK, True)
    with Redis() as running:
        settings.REDIS_URL = running.url
        with processes.redis.Redis.from_url(running.url) as client:
            client.config_set("maxmemory", "100mb")
            client.config_set("maxmemory-policy", "allkeys-lru")
        level, text = lines(processes.check_redis)["Redis"]
    assert (level, "May drop waiting commands (allkeys-lru)" in text) == (Level.PROBLEM, True)
    level, text = lines(processes.check_redis)["Redis"]
    assert (level, "Does not answer" in text) == (Level.PROBLEM, True)
    settings.REDIS_URL, settings.COMMANDS_AVAILABLE = "", False
    assert lines(processes.check_redis)["Redis"][0] == Level.PROBLEM


@pytest.mark.parametrize(
    ("broker", "age", "workers", "beat"),
    [
        (True, 5, Level.OK, Level.OK),
        (False, 5, Level.PROBLEM, Level.OK),
        (True, 60, Level.OK, Level.PROBLEM),
        (None, 60, Level.PROBLEM, Level.NOTE),
    ],
)
def test_a_worker_must_do_a_task_and_beat_must_have_sent_one(monkeypatch, broker, age, workers, beat):
    def run(arguments, **_options):
        if broker is not None:
            cache.set(arguments[0], {"at": time.time(), "host": "here", "broker": broker}, 9)

    monkeypatch.setattr(processes.report_alive, "apply_async", run)
    monkeypatch.setattr(processes, "WORKER_TIMEOUT", 0.2)
    cache.set("beat", {"at": time.time() - age}, 9)
    found = lines(processes.check_workers)
    cache.delete("beat")
    assert (found["Workers"][0], found["Beat"][0]) == (workers, beat)


def test_a_worker_of_files_must_have_shown_itself_idle_or_at_work(settings):
    FileJob.objects.create(kind="export", table="devices", status="queued")
    cache.delete("files")
    settings.COMMANDS_AVAILABLE = True
    level, text = lines(processes.check_files)["Files"]
    assert (level, "1 wait" in text, "--queues=files" in text) == (Level.PROBLEM, True, True)
    running.say_alive()
    assert lines(processes.check_files)["Files"][0] == Level.OK
    cache.delete("files")
    settings.COMMANDS_AVAILABLE = False
    assert lines(processes.check_files) == {}


@pytest.mark.parametrize(("age", "level"), [(5, Level.OK), (60, Level.PROBLEM), (None, Level.PROBLEM)])
def test_the_bridge_must_have_had_its_ping_back(age, level):
    now = timezone.now()
    if age is not None:
        beat_at = now - timedelta(seconds=age)
        Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=beat_at, round_trip_ms=4)
    # PostgreSQL shows the connection of another test for a moment after it was closed.
    wait_for(lambda: lines(processes.check_bridge)["Stand-by bridge"][0] == Level.NOTE)
    assert lines(processes.check_bridge)["Bridge"][0] == level


def test_a_bridge_that_stands_by_is_counted():
    active, standing_by = AdvisoryLock(), AdvisoryLock()
    assert active.acquire()
    assert active.is_held()
    assert not standing_by.acquire()
    assert lines(processes.check_bridge)["Stand-by bridge"] == (Level.OK, "1 ready to take over. ")
    for lock in (standing_by, active):
        lock.release()
