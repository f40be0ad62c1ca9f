"""Two processes that share the telemetry, one of them killed amid it (docs/reliability.md, test 19)."""

import json
import signal
import time

import pytest

from mqtt_bridge.line.tls import Certificates
from tests.clients import Client
from tests.fault.load import size
from tests.fork_server import Program
from tests.stack import wait_for

pytestmark = pytest.mark.fault

DEVICES = size(40, 400)
ROUNDS = size(30, 600)
PAUSE = 0.1  # seconds between two messages of a device


class Sharing:
    """Processes that write telemetry, all into one log."""

    def __init__(self, stack, folder):
        self.stack, self.log, self.processes = stack, folder / "telemetry.log", []

    def start(self):
        with self.log.open("ab") as log:
            self.processes.append(Program(["manage.py", "run_telemetry"], env=self.stack.env, stderr=log.fileno()))
        wait_for(lambda: self.log.read_text().count("Taking telemetry as") == len(self.processes))
        return self.processes[-1]

    def rows(self):
        """{serial number: (count, change)} as stored."""
        sql = "SELECT d.sn, s.properties FROM devices_devicestate s JOIN devices_device d ON d.id = s.device_id"
        rows = dict(self.stack.rows(sql))
        return {sn: (rows[sn].get("count", 0), rows[sn].get("change", 0)) for sn in rows.keys() - {"ODD"}}


@pytest.fixture
def sharing(postgres_stack, tmp_path):
    running = Sharing(postgres_stack, tmp_path)
    yield running
    for process in running.processes:
        process.kill()
        process.wait()


def say(client, sns, count):
    """Each of these devices sends its osd and its state."""
    for sn in sns:
        client.publish(f"thing/product/{sn}/osd", json.dumps({"data": {"count": count}}).encode(), qos=0)
        client.publish(f"thing/product/{sn}/state", json.dumps({"data": {"change": count}}).encode(), qos=0)
    # The broker deals out in turn: with this one, a message of a device and its next go to different processes.
    client.publish("thing/product/ODD/osd", b"{}", qos=0)


def test_rows_have_the_newest_of_all_messages_though_one_of_two_processes_is_killed(sharing):
    doomed, survivor = sharing.start(), sharing.start()
    client = Client(sharing.stack.broker.url, Certificates())
    sns = [f"TOLD{number}" for number in range(DEVICES)]
    seen = dict.fromkeys(sns, (0, 0))
    for count in range(1, ROUNDS + 1):
        say(client, sns, count)
        time.sleep(PAUSE)
        if count == ROUNDS // 2:
            doomed.kill()
            doomed.wait()
            sharing.start()
        now = sharing.rows() if count % 5 == 0 else {}
        assert [sn for sn in now if now[sn][0] < seen[sn][0] or now[sn][1] < seen[sn][1]] == []
        seen |= now
    wait_for(lambda: sharing.rows() == dict.fromkeys(sns, (ROUNDS, ROUNDS)), 20)
    client.close()
    survivor.send_signal(signal.SIGTERM)
    assert survivor.wait(timeout=60) == 0
