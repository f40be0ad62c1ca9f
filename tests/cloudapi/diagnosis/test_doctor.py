"""`manage.py doctor` and the page System, beside real processes: well at first, then each server is taken away."""

import json
import os

import pytest

from cloudapi.embedded.lifecycle import free_port
from cloudapi.embedded.servers import Redis
from tests import fork_server
from tests.stack import Mosquitto, running_stack, wait_for

FULL = bool(os.environ.get("FAULT_FULL"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory, prepared):
    """Bridge, stand-by, worker, beat and web, with a broker that asks for an account."""
    folder = tmp_path_factory.mktemp("stack")
    broker = Mosquitto(username="server", password="hush-hush")
    port = free_port()
    env = {"PUBLIC_URL": f"http://127.0.0.1:{port}", "NTP_SERVER_HOST": "127.0.0.1", "NTP_SERVER_PORT": "1"}
    servers = {"broker": broker, "template": prepared("postgresql"), "redis": Redis()}
    with running_stack("postgresql", folder, **servers, **env) as running:
        running.start_web(port=port)
        running.start_bridge()
        running.start_bridge(wait=False)
        running.start_worker()
        running.start_worker(queues="files", pool="solo", beat=False)
        yield running


def doctor(stack, **changes):
    """(exit status, {name: level}, all it printed)."""
    done = fork_server.run(["manage.py", "doctor", "--json"], env=stack.env | changes)
    return done.returncode, {line["name"]: line["level"] for line in json.loads(done.stdout)}, done.stdout


def wrong(levels):
    return {name for name, level in levels.items() if level == "problem"}


def test_all_is_well_and_then_all_is_gone(stack, report):
    wait_for(lambda: stack.rows("SELECT 1 FROM mqtt_bridge_heartbeat"))
    _, levels, printed = doctor(stack)
    assert wrong(levels) <= {"Beat", "Files"}, printed  # beat sends its first tasks after ten seconds
    assert levels["Bridge"] == levels["Workers"] == levels["Public address"] == "ok"
    assert "hush" not in printed
    report(f"{len(levels)} lines, no problem; to look at: {[name for name in levels if levels[name] == 'note']}")
    if FULL:
        each_server_away(stack, report)
    for process in [*stack.workers, *stack.bridges, *(web.process for web in stack.webs)]:
        process.terminate()
    stack.broker.stop()
    for process in [*stack.workers, *stack.bridges]:
        process.wait(60)
    if FULL:
        assert "No worker did a task within 5 s." in doctor(stack)[2]
    stack.redis.stop()
    stack.rows("UPDATE mqtt_bridge_heartbeat SET beat_at = beat_at - interval '1 minute' RETURNING 1")
    status, levels, printed = doctor(stack)
    assert status == 1
    assert wrong(levels) == {"Broker", "Redis", "Workers", "Files", "Bridge", "Public address"}


def each_server_away(stack, report):
    """The long form: each line turns when its server is away, and only that."""
    wait_for(lambda: doctor(stack)[0] == 0)
    for name, server, lines in (
        ("broker", stack.broker, {"Broker", "Workers"}),
        ("Redis", stack.redis, {"Redis", "Workers", "Files"}),
    ):
        server.stop()
        status, levels, _ = doctor(stack)
        assert (status, wrong(levels)) == (1, lines)
        server.start()
        report(f"problems without {name}: {wrong(levels)}")
    status, levels, printed = doctor(stack, DATABASE_URL="postgres://docks:hush@127.0.0.1:1/docks")
    assert (status, "hush" in printed) == (1, False)
    assert {"Database", "Bridge", "Encryption keys", "Space"} <= wrong(levels)
    assert levels["Redis"] == levels["Broker"] == levels["Public address"] == "ok"
    report(f"problems without the database: {wrong(levels)}")
    wait_for(lambda: doctor(stack)[0] == 0)


def test_a_person_reads_lines():
    done = fork_server.run(
        ["manage.py", "doctor"], env=os.environ | {"DEBUG": "true", "MQTT_URL": "mqtt://127.0.0.1:1", "REDIS_URL": ""}
    )
    assert done.returncode == 1
    assert "\nWRONG  Broker: No connection to 127.0.0.1:1: [Errno 111] Connection refused. Start it, or" in done.stdout
