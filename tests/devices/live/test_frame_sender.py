"""The thread that hands frames over, and the Redis that hangs, dies and comes back."""

import os
import time

import pytest
from django.conf import settings

from cloudapi.embedded.servers import Redis
from devices.live import frame_sender
from devices.live.frame_sender import Frame, FrameSender
from devices.live.redis_layer import RedisLayer
from tests import fork_server
from tests.devices.live.listener import Listener
from tests.stack import wait_for

GROUP = "organization.1"


@pytest.fixture
def redis():
    with Redis() as running:
        yield running


@pytest.fixture
def layer(redis):
    hosts = [{"address": redis.url, "socket_connect_timeout": 1, "socket_timeout": 1}]
    return RedisLayer(hosts=hosts, prefix=settings.PUBLIC_URL)


@pytest.fixture
def quick_sender(layer, monkeypatch):
    monkeypatch.setattr(frame_sender, "SEND_TIMEOUT", 0.5)
    monkeypatch.setattr(frame_sender, "PAUSE", 0.1)
    made = FrameSender(layer=layer, backlog=100)
    yield made
    made.close(5)


def frames(*numbers):
    return [Frame(GROUP, f'{{"number": {number}}}') for number in numbers]


def numbers(heard):
    return [frame["number"] for frame in heard]


def heard_at_last(listener, expected):
    """All numbers that come until each of these has come, and a little later."""
    seen = set()
    wait_for(lambda: seen.update(numbers(listener.heard(seconds=0.1))) or seen >= expected)
    return seen | set(numbers(listener.heard(seconds=0.3)))


def test_frames_arrive_in_order_and_complete(quick_sender, layer):
    with Listener(GROUP, layer=layer) as listener:
        for number in range(50):
            quick_sender.put(frames(number))
        assert numbers(listener.heard(50)) == list(range(50))


def test_a_hung_redis_holds_nobody_and_later_gets_everything(quick_sender, layer, redis):
    with Listener(GROUP, layer=layer) as listener:
        redis.freeze()
        started = time.monotonic()
        for number in range(50):
            quick_sender.put(frames(number))
        assert time.monotonic() - started < 10  # who waited for the thread would wait half a second for each
        time.sleep(1.5)
        redis.thaw()
        assert heard_at_last(listener, set(range(50))) == set(range(50))


def test_of_more_than_fit_the_oldest_are_dropped_and_counted(quick_sender, layer, redis):
    with Listener(GROUP, layer=layer) as listener:
        redis.freeze()
        quick_sender.put(frames(0))
        wait_for(lambda: not quick_sender._queue)
        quick_sender.put(frames(*range(1, 301)))
        assert quick_sender.dropped == 200
        redis.thaw()
        expected = {0, *range(201, 301)}
        assert heard_at_last(listener, expected) == expected


def test_frames_flow_again_after_redis_is_back(quick_sender, layer, redis):
    quick_sender.put(frames(0))
    redis.kill()
    quick_sender.put(frames(1))
    time.sleep(0.5)
    redis.start()
    with Listener(GROUP, layer=layer) as listener:
        wait_for(lambda: not quick_sender._queue)
        for number in range(2, 20):
            quick_sender.put(frames(number))
            time.sleep(0.05)
        wait_for(lambda: 19 in numbers(listener.heard(seconds=0.1)))


def test_a_frame_that_no_layer_takes_is_dropped_and_the_next_arrives(quick_sender, layer, caplog):
    with Listener(GROUP, layer=layer) as listener:
        quick_sender.put([Frame(GROUP, object())])
        wait_for(lambda: quick_sender.dropped == 1)
        quick_sender.put(frames(1))
        assert numbers(listener.heard(1)) == [1]
    assert "1 live frames are dropped" in caplog.text


def test_closing_sends_what_waits(layer):
    made = FrameSender(layer=layer)
    with Listener(GROUP, layer=layer) as listener:
        made.put(frames(*range(500)))
        assert made.close(5)
        assert len(listener.heard(500)) == 500


def test_closing_waits_no_longer_than_told(quick_sender, redis):
    redis.freeze()
    quick_sender.put(frames(1))
    started = time.monotonic()
    assert not quick_sender.close(0.3)
    assert time.monotonic() - started < 30
    redis.thaw()


PROCESS = """
import os, sys, time
import django
django.setup()
from devices.live import frame_sender
{body}
"""


def run(redis, body):
    """A process of its own, which ends in good order."""
    env = os.environ | {"REDIS_URL": redis.url, "DJANGO_SETTINGS_MODULE": "cloudapi.settings"}
    code = PROCESS.format(body=body)
    return fork_server.run(["-c", code], env=env)


def test_the_end_of_a_process_sends_what_waits(redis, layer):
    with Listener(GROUP, layer=layer) as listener:
        done = run(redis, f"frame_sender.send([frame_sender.Frame('{GROUP}', '1')] * 300)")
        assert (done.returncode, done.stderr) == (0, "")
        assert listener.heard(300) == [1] * 300


def test_the_end_of_a_process_does_not_wait_for_a_dead_redis(redis):
    redis.kill()
    started = time.monotonic()
    done = run(redis, f"frame_sender.send([frame_sender.Frame('{GROUP}', '1')])")
    assert done.returncode == 0
    assert "Browsers are not told" in done.stderr
    assert time.monotonic() - started < 60


def test_a_forked_process_makes_a_sender_of_its_own(redis, layer):
    body = f"""
frame_sender.send([frame_sender.Frame('{GROUP}', '1')])
frame_sender.of_process().close(5)
pid = os.fork()
if pid == 0:
    frame_sender.send([frame_sender.Frame('{GROUP}', '2')])
    os._exit(0 if frame_sender.of_process().close(5) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    with Listener(GROUP, layer=layer) as listener:
        done = run(redis, body)
        assert (done.returncode, done.stderr) == (0, "")
        assert listener.heard(2) == [1, 2]
