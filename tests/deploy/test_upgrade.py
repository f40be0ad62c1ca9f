"""The database is brought up to date while bridge, worker and web of the version before run, and they live on."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import urllib3

from mqtt_bridge.simulator.fleet import Fleet, run_in_thread
from tests.fault.load import QUIET, Load
from tests.stack import CODE, LICENSE, ROOT, SETUP, Mosquitto, PostgresDatabase, Redis, run_server, wait_for

# The last one before the accounts of docks: all migrations since then are applied at once.
BEFORE = "63d6d2cda7dd8f0eb8d16485cc607e96d9b1b649"
REQUESTS, RATE = 1500, 50
KEY = """
from organizations.models import Organization, OrganizationAPIKey
print(OrganizationAPIKey.objects.create_key(organization=Organization.objects.first(), name="test", role="viewer")[1])
"""

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(not os.environ.get("FAULT_FULL"), reason="starts two versions of the server: FAULT_FULL=1"),
]


@pytest.fixture
def old(tmp_path):
    """The tree of the version before."""
    if subprocess.run(["git", "cat-file", "-e", BEFORE], cwd=ROOT, check=False, capture_output=True).returncode:
        pytest.skip("this clone has no history")
    tree = tmp_path / "old"
    tree.mkdir()
    archive = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x"], cwd=tree, input=archive, check=True)
    return tree


class Version:
    """The processes of one version."""

    def __init__(self, tree, env, folder):
        self.tree, self.env, self.folder, self.processes = tree, env, folder, {}

    def manage(self, *arguments):
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=self.tree, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, name, *arguments, ready):
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            command = [sys.executable, *arguments]
            self.processes[name] = subprocess.Popen(
                command, cwd=self.tree, env=self.env, stdout=output, stderr=output, start_new_session=True
            )
        wait_for(lambda: ready in log.read_text() or self.processes[name].poll() is not None)
        assert self.processes[name].poll() is None, log.read_text()[-3000:]

    def said(self):
        return "\n".join((self.folder / f"{name}.log").read_text() for name in self.processes)

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(timeout=60) for name, process in self.processes.items()}

    def kill(self):
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class Visits:
    """Asks the web process for the list of devices, again and again."""

    def __init__(self, url, key):
        self.url, self.headers, self.statuses, self.is_over = url, {"Authorization": f"Api-Key {key}"}, [], False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.is_over:
            time.sleep(0.05)  # the limit of requests per minute is off, but the machine is for others, too
            self.statuses.append(urllib3.request("GET", self.url, headers=self.headers, retries=False).status)

    def finish(self):
        self.is_over = True
        self.thread.join()
        return self.statuses


def test_the_version_before_answers_every_request_while_and_after_the_database_is_upgraded(old, tmp_path, report):
    database = PostgresDatabase(run_server(), tmp_path)
    with Mosquitto() as broker, Redis() as redis:
        urls = {"DATABASE_URL": database.url, "MQTT_URL": broker.url, "REDIS_URL": redis.url}
        before = Version(old, os.environ | LICENSE | urls | {"DEBUG": "true", "API_REQUESTS_PER_MINUTE": "0"}, tmp_path)
        try:
            before.manage("migrate", "-v0")
            before.manage("shell", "-v0", "-c", SETUP)
            key = before.manage("shell", "-v0", "-c", KEY).strip()
            before.start("bridge", "manage.py", "run_mqtt_bridge", ready="Serving docks")
            before.start("worker", "-m", "celery", "-A", "cloudapi", "worker", "--concurrency", "1", ready=" ready.\n")
            before.start("beat", "-m", "celery", "-A", "cloudapi", "beat", "--pidfile", "", ready="")
            before.start("web", "-m", "uvicorn", "cloudapi.asgi:application", "--port", "0", ready="running on")
            web = before.said().partition("running on ")[2].split()[0]
            visits = Visits(f"{web}/api/v1/devices/", key)
            fleet = Fleet(count=5, mqtt_url=broker.url, organization_id="12345678", binding_code=CODE, options=QUIET)
            with run_in_thread(fleet) as loop:
                load = Load(fleet, loop, rate=RATE)
                load.start()
                wait_for(lambda: load.sent > REQUESTS / 5)
                applied = Version(ROOT, before.env, tmp_path).manage("migrate", "--no-input").count("OK")
                sent = load.sent
                load.finish(at_least=max(REQUESTS, sent + 200), grace=20)
                missing = load.ledger.unanswered()
            statuses = visits.finish()
            assert applied > 3
            assert missing == []
            assert set(statuses) == {200}
            assert "Traceback" not in before.said()
            codes = before.stop()
            assert codes.pop("web") in (0, -signal.SIGTERM)
            assert set(codes.values()) == {0}
            report(
                f"{applied} migrations under load; {load.sent} requests of docks and {len(statuses)} visits answered"
            )
        finally:
            visits.is_over = True
            before.kill()
            database.close()
