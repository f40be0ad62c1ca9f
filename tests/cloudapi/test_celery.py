"""The Celery app: what it sends to Redis, how long that may take, and how a real worker lives and ends."""

import base64
import json
import os
import signal
import time
import uuid

import pytest
import redis
from django.conf import settings
from kombu.exceptions import OperationalError

from cloudapi import celery_app
from cloudapi.embedded.servers import Redis
from tests import fork_server
from tests.stack import running_stack, wait_for

PUBLISH = "devices.tasks.publish_service_call"


@pytest.fixture
def own_redis():
    """A Redis that a test may freeze or kill."""
    with Redis() as running:
        yield running


def send(server, name=PUBLISH, arguments=(), **options):
    with celery_app.connection_for_write(url=server.url) as connection:
        celery_app.send_task(name, list(arguments), connection=connection, **options)


def test_task_message_is_json_and_holds_an_id_and_nothing_else(own_redis):
    call_id = str(uuid.uuid4())
    send(own_redis, arguments=[call_id])
    message = json.loads(redis.Redis.from_url(own_redis.url).lpop(settings.CELERY_TASK_DEFAULT_QUEUE))
    arguments, options, _ = json.loads(base64.b64decode(message["body"]))
    assert message["content-type"] == "application/json"
    assert (arguments, options) == ([call_id], {})


def test_everything_that_beat_sends_exists_and_expires():
    celery_app.loader.import_default_modules()
    for entry in celery_app.conf.beat_schedule.values():
        assert entry["task"] in celery_app.tasks
        assert entry["options"]["expires"] <= entry["schedule"]


def test_hung_redis_holds_the_sender_two_seconds_and_not_for_ever(own_redis):
    send(own_redis)
    own_redis.freeze()
    began = time.monotonic()
    with pytest.raises(OperationalError):
        send(own_redis)
    assert 1.9 < time.monotonic() - began < 20.0


def test_dead_redis_is_noticed_at_once(own_redis):
    own_redis.kill()
    began = time.monotonic()
    with pytest.raises(OperationalError):
        send(own_redis)
    assert time.monotonic() - began < 30.0


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_without_redis_the_programs_say_what_is_missing(program):
    done = fork_server.run(["-m", "celery", "-A", "cloudapi", program], env=os.environ | {"REDIS_URL": ""})
    assert done.returncode == 1
    assert done.stderr.startswith("REDIS_URL is not set")


@pytest.fixture(scope="module")
def stack(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    with running_stack("postgresql", folder, template=prepared("postgresql"), redis=Redis()) as running:
        yield running


def handled(stack):
    """Whether the workers have taken everything from the queue."""
    return not redis.Redis.from_url(stack.redis.url).llen(settings.CELERY_TASK_DEFAULT_QUEUE)


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads"])
def test_worker_ends_with_0_on_sigterm(stack, pool):
    worker = stack.start_worker(pool=pool, beat=False)
    assert stack.stop_worker(worker, signal.SIGTERM) == 0  # within a minute


def test_workers_have_nothing_to_say_to_each_other(stack):
    worker = stack.start_worker(beat=False)
    listeners = redis.Redis.from_url(stack.redis.url).keys("_kombu.binding.celeryev*")
    stack.stop_worker(worker)
    assert listeners == []
    assert "mingle" not in stack.worker_log.read_text()


def test_beat_makes_workers_sweep_and_ends_with_0(stack):
    worker = stack.start_worker()
    beat = stack.workers[-1]
    other = stack.start_worker(pool="solo")  # beat runs once
    assert stack.workers[-1] is other
    assert {stack.stop_worker(process) for process in (beat, worker, other)} == {0}


def test_failing_task_is_logged_without_what_it_was_given(stack):
    worker = stack.start_worker(beat=False, pool="solo")
    send(stack.redis, arguments=["no id, but a password: canary"])
    wait_for(lambda: "badly formed hexadecimal UUID string" in stack.worker_log.read_text())
    stack.stop_worker(worker)
    assert "canary" not in stack.worker_log.read_text()


def test_a_worker_takes_no_task_of_another_server_on_the_same_redis(stack):
    """A Redis hands its queues to whoever asks: the servers differ by the address at which they are reached."""
    other = stack.start_worker(beat=False, pool="solo", PUBLIC_URL="https://other.example.com")
    before = stack.worker_log.read_text().count("badly formed")
    send(stack.redis, arguments=["ours"])
    send(stack.redis, arguments=["theirs"], queue="dock-cloud https://other.example.com")
    wait_for(lambda: stack.worker_log.read_text().count("badly formed") > before)
    assert not handled(stack)
    stack.stop_worker(other)
    ours = stack.start_worker(beat=False, pool="solo")
    wait_for(lambda: handled(stack))
    stack.stop_worker(ours)


def test_worker_keeps_its_database_connection(stack):
    worker = stack.start_worker(beat=False)
    seen = [backends(stack, worker) for _ in range(3)]
    stack.stop_worker(worker)
    assert seen[0] == seen[1] == seen[2]


def backends(stack, _worker):
    """The database connections of the worker after a sweep."""
    send(stack.redis, "devices.tasks.sweep_service_calls")
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    wait_for(lambda: handled(stack) and len(stack.rows(sql)) == 1)  # our own from before may not have ended yet
    return stack.rows(sql)
