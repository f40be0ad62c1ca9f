"""Browsers that do not read and a Redis that is restarted (docs/reliability.md, test 8)."""

import os
from contextlib import contextmanager

import pytest
from redis import Redis as Client

from cloudapi.embedded.servers import Redis
from devices.models import ServiceCall
from tests.devices.calls.cases import make_call
from tests.fault.follower import Follower
from tests.fault.load import size
from tests.fork_server import Program
from tests.stack import wait_for
from tests.web import database_url, running_web

pytestmark = [pytest.mark.fault, pytest.mark.django_db(transaction=True)]

CALLS = 20
EVENTS = 500
DEAF = 5.0  # seconds
REFETCH_EVERY = size(5.0, 20.0)  # seconds; docs/live.md says 20
EQUAL_WITHIN = REFETCH_EVERY + size(60.0, 10.0)  # seconds

# A worker of its own, which ends as kill -9 would: what it could not hand over by then nobody hands over.
WORKER = """
import os, sys, time
import django
django.setup()
from devices.models import ServiceCall
from tests.devices.calls.cases import advance
events, seconds = int(sys.argv[1]), float(sys.argv[2])
calls = list(ServiceCall.objects.select_related("device", "organization", "requested_by").order_by("pk"))
for number in range(events):
    call = calls[number % len(calls)]
    advance(call, status="in_progress", percent=min(99, number // len(calls) + 1))
    time.sleep(seconds / events)
for call in calls:
    advance(call, status="succeeded", percent=100)
time.sleep(0.5)
os._exit(0)
"""


@pytest.fixture
def redis():
    with Redis() as running:
        yield running


@pytest.fixture
def web(redis, tmp_path, db):
    with running_web(tmp_path / "log", application="cloudapi.asgi:application", REDIS_URL=redis.url) as web:
        yield web


@pytest.fixture
def path(dock):
    for _ in range(CALLS):
        make_call(dock, status="sent", note="n" * 20_000)  # 10 MB in all: no buffer of the system hides that
    return f"/ws/devices/{dock.sn}/"


@contextmanager
def working(redis, *, events=EVENTS, seconds=DEAF):
    """Calls change meanwhile."""
    env = os.environ | {
        "DATABASE_URL": database_url(),
        "REDIS_URL": redis.url,
        "DJANGO_SETTINGS_MODULE": "cloudapi.settings",
    }
    worker = Program(["-c", WORKER, str(events), str(seconds)], env=env)
    try:
        yield
        assert worker.wait(timeout=60) == 0
    finally:
        worker.kill()
        worker.wait()


def truth():
    return {str(call.pk): (call.version, call.status, call.percent) for call in ServiceCall.objects.all()}


def equals(follower):
    """Whether a client knows what the database knows."""
    known = {key: (call["version"], call["status"], call["percent"]) for key, call in follower.calls.items()}
    return known == truth()


def test_a_client_that_does_not_read_for_5_seconds_catches_up_and_holds_up_nobody(web, redis, alice, path, report):
    with web.socket(path, alice, compression=None) as deaf, web.socket(path, alice) as open_eared:
        late, prompt = Follower(deaf), Follower(open_eared, refetches=False)
        late.follow(20, until=lambda: late.snapshots)
        with working(redis):
            prompt.follow(60, until=lambda: prompt.frames == EVENTS + CALLS)
        behind = late.frames
        seconds = late.follow(EQUAL_WITHIN, until=lambda: equals(late))
        report(
            f"a client deaf to {EVENTS} changes equals the database after {seconds:.1f} s, "
            f"with {late.frames} frames and {late.snapshots} snapshots; the other one had {prompt.frames} frames"
        )
        assert (behind, prompt.snapshots) == (0, 1)
        assert late.snapshots > 1  # the server kept a bounded number of frames for it, then none
        assert equals(prompt)
        assert equals(late)


def restart_redis_mid_stream(web, redis, alice, path, *, patience=EQUAL_WITHIN, **options):
    """What a client knows that followed while Redis was away, and how long it took from its return."""
    with web.socket(path, alice) as socket:
        follower = Follower(socket, refetch_every=REFETCH_EVERY, **options)
        follower.follow(20, until=lambda: follower.snapshots)
        with working(redis, events=200, seconds=2.0):
            follower.follow(20, until=lambda: follower.frames > 50)
            redis.kill()
        assert not equals(follower)
        redis.start()
        seconds = follower.follow(patience, until=lambda: equals(follower))
        return follower, seconds


def test_a_client_equals_the_database_soon_after_redis_was_restarted(web, redis, alice, path, report):
    follower, seconds = restart_redis_mid_stream(web, redis, alice, path)
    report(f"Redis away until all was over: equal {seconds:.1f} s after its return")
    assert equals(follower)


@pytest.mark.turns(5)
def test_checker_reports_a_client_that_never_fetches_anew(web, redis, alice, path, report):
    patience = size(REFETCH_EVERY + 2.0, EQUAL_WITHIN)  # the other one fetched after REFETCH_EVERY
    follower, _ = restart_redis_mid_stream(web, redis, alice, path, patience=patience, refetches=False)
    stale = sum(call["status"] != "succeeded" for call in follower.calls.values())
    report(f"without fetching anew {stale} of {CALLS} calls are wrong {patience:.0f} s after Redis is back")
    assert not equals(follower)


def test_frames_flow_again_to_sockets_that_were_open_when_redis_was_restarted(web, redis, alice, path):
    with web.socket(path, alice) as socket:
        follower = Follower(socket, refetches=False)
        follower.follow(20, until=lambda: follower.snapshots)
        redis.restart()
        with Client.from_url(redis.url) as client:
            wait_for(client.pubsub_channels)  # the web process has come back to it
        with working(redis, events=40, seconds=1.0):
            follower.follow(20, until=lambda: follower.frames >= 60)
        assert equals(follower)


def test_a_socket_opened_while_redis_is_away_is_told_to_try_again_and_then_served(web, redis, alice, path):
    redis.kill()
    with web.socket(path, alice) as socket:
        assert socket.code() == 1013
    redis.start()
    with web.socket(path, alice) as socket:
        assert socket.next()["type"] == "snapshot"
