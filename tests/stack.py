"""The real thing: a bridge process of its own between a private Mosquitto and a database of its own."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import psycopg

from cloudapi.embedded.servers import Mosquitto, PostgreSQL
from mqtt_bridge.simulator.dock import Options
from mqtt_bridge.simulator.fleet import Fleet, run_in_thread

ROOT = Path(__file__).parent.parent
LICENSE = {"DJI_APP_ID": "1001", "DJI_APP_KEY": "a key", "DJI_APP_LICENSE": "a license"}
CODE = "HARB-HARB-2345"
OTHER_CODE = "GRID-GRID-2345"
SETUP = f"""
from organizations.models import BindingCode, Organization
for id, name, code in (("12345678", "Harbour", "{CODE}"), ("87654321", "Grid", "{OTHER_CODE}")):
    organization = Organization.objects.create(organization_id=id, name=name)
    BindingCode.objects.issue(organization=organization, code=code)
"""
QUICK = Options(reply_timeout=3.0, osd_rate=0, retry_delay=0.5, backoff=(0.1, 0.5))


class PostgresDatabase:
    """A database of a PostgreSQL server, empty or a copy of another that nobody uses."""

    name = "postgresql"

    def __init__(self, server_url, _folder, template=None):
        database = f"stack_{uuid.uuid4().hex}"
        origin = template.url.rsplit("/", 1)[1] if template else "template1"
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{origin}"')
        self.url = f"{server_url.rsplit('/', 1)[0]}/{database}"

    def rows(self, sql):
        with psycopg.connect(self.url) as connection:
            return connection.execute(sql).fetchall()


class SqliteDatabase:
    """The same in a file."""

    name = "sqlite"

    def __init__(self, _server_url, folder, template=None):
        self.path = folder / "stack.sqlite3"
        if template:
            shutil.copy(template.path, self.path)
        self.url = f"sqlite:///{self.path}"

    def rows(self, sql):
        connection = sqlite3.connect(self.path, timeout=20)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


class Stack:
    """Database, broker and bridge; `rows(sql)` asks the database, `fleet(...)` runs simulated docks."""

    def __init__(self, database, broker, folder, **env):
        self.database = database
        self.broker = broker
        self.log = folder / "bridge.log"
        self.env = os.environ | LICENSE | {"DATABASE_URL": database.url, "MQTT_URL": broker.url} | env
        self.bridges = []

    def prepare(self):
        """Create the tables and two organizations."""
        self.manage("migrate", "-v0")
        self.manage("shell", "-v0", "-c", SETUP)

    def manage(self, *arguments):
        """Run one of the project's commands to its end and return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_bridge(self, *, command=("manage.py", "run_mqtt_bridge"), wait=True, **env):
        """Start a bridge; returns its process, when it serves docks unless told not to wait."""
        before = self.served()
        with self.log.open("ab") as log:
            bridge = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=self.env | env, stderr=log)
        self.bridges.append(bridge)
        if wait:
            wait_for(lambda: self.served() > before or bridge.poll() is not None)
            assert bridge.poll() is None, self.log.read_text()[-3000:]
        return bridge

    def served(self):
        """How often a bridge has begun to serve."""
        return self.log.read_text().count("Serving docks") if self.log.exists() else 0

    def stop_bridge(self, bridge, number=signal.SIGTERM):
        """Send a signal and return the exit code."""
        bridge.send_signal(number)
        return bridge.wait(timeout=15)

    def close(self):
        for bridge in self.bridges:
            if bridge.poll() is None:
                bridge.kill()
                bridge.wait()

    def rows(self, sql):
        return self.database.rows(sql)

    def bound(self):
        """{serial number: organization_id} of the bound devices."""
        sql = (
            "SELECT d.sn, o.organization_id FROM devices_device d"
            " JOIN organizations_organization o ON o.id = d.organization_id"
        )
        return dict(self.rows(sql))

    @contextmanager
    def fleet(self, *, count=1, organization_id="12345678", binding_code=CODE, options=QUICK, **more):
        """Simulated docks that run beside the test; yields (fleet, loop)."""
        docks = Fleet(
            count=count,
            mqtt_url=self.broker.url,
            organization_id=organization_id,
            binding_code=binding_code,
            options=options,
            **more,
        )
        with run_in_thread(docks) as loop:
            yield docks, loop


def wait_for(condition, seconds=20):
    """Wait until the condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@contextmanager
def running_stack(kind, folder, *, broker=None, server_url=None, template=None, **env):
    """A stack on "postgresql" (the run's server unless another is given) or "sqlite".

    With `template`, the database of a prepared stack that is not in use, it starts from a copy of that.
    """
    database_class = {"postgresql": PostgresDatabase, "sqlite": SqliteDatabase}[kind]
    with broker or Mosquitto() as running:
        stack = Stack(database_class(server_url or run_server(), folder, template), running, folder, **env)
        try:
            if template is None:
                stack.prepare()
            yield stack
        finally:
            stack.close()


def run_server():
    """The PostgreSQL server of this test run."""
    return os.environ["DATABASE_URL"]


__all__ = ["CODE", "LICENSE", "OTHER_CODE", "QUICK", "Mosquitto", "PostgreSQL", "Stack", "running_stack", "wait_for"]
