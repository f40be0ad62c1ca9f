"""The real thing: bridge and worker processes between a private Mosquitto and a database of its own."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import psycopg

from cloudapi.embedded import programs
from cloudapi.embedded.servers import Mosquitto, PostgreSQL, Redis
from mqtt_bridge.simulator import commands
from mqtt_bridge.simulator.dock import Options
from mqtt_bridge.simulator.fleet import Fleet, run_in_thread
from tests import fork_server
from tests.fork_server import ROOT, Program

LICENSE = {"DJI_APP_ID": "1001", "DJI_APP_KEY": "a key", "DJI_APP_LICENSE": "a license"}
CODE = "HARB-HARB-2345"
OTHER_CODE = "GRID-GRID-2345"
MIGRATE = """
import gc
from django.core.management import call_command
gc.disable()  # else it takes a third of the time, and the process ends soon
call_command("migrate", verbosity=0)
"""
SETUP = f"""
from organizations.models import BindingCode, Organization
for id, name, code in (("12345678", "Harbour", "{CODE}"), ("87654321", "Grid", "{OTHER_CODE}")):
    organization = Organization.objects.create(organization_id=id, name=name)
    BindingCode.objects.issue(organization=organization, code=code)
"""
QUICK = Options(reply_timeout=3.0, osd_rate=0, retry_delay=0.5, backoff=(0.1, 0.5))


class PostgresDatabase:
    """A database of a PostgreSQL server, empty or a copy of another that nobody uses, of this server or another."""

    name = "postgresql"

    @classmethod
    def at(cls, url):
        """The database at this address, as it is."""
        database = cls.__new__(cls)
        database.url, database._connection = url, None
        return database

    def __init__(self, server_url, _folder, template=None):
        server, database = server_url.rsplit("/", 1)[0], f"stack_{uuid.uuid4().hex}"
        there, origin = template.url.rsplit("/", 1) if template else (server, "template1")
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{origin if there == server else "template1"}"')
        self.url, self._connection = f"{server}/{database}", None
        if there != server:
            _carry_over(template.url, self.url)

    def rows(self, sql):
        """What this statement returns. A test asks often, so the connection stays for as long as the server does."""
        try:
            return self._execute(sql)
        except psycopg.OperationalError:
            self.close()
            return self._execute(sql)

    def _execute(self, sql):
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.url, autocommit=True)
        return self._connection.execute(sql).fetchall()

    def close(self):
        if self._connection is not None:
            self._connection.close()


class SqliteDatabase:
    """The same in a file."""

    name = "sqlite"

    @classmethod
    def at(cls, url):
        """The database at this address, as it is."""
        database = cls.__new__(cls)
        database.url, database.path = url, Path(url.removeprefix("sqlite:///"))
        return database

    def __init__(self, _server_url, folder, template=None):
        self.path = folder / "stack.sqlite3"
        if template:
            shutil.copy(template.path, self.path)
        self.url = f"sqlite:///{self.path}"

    def rows(self, sql):
        connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def close(self):
        """Nothing is kept open: a file that is copied must have no reader."""


def _carry_over(origin, url):
    """Fill an empty database with what is in that of another server: a third of what all migrations take."""
    program = programs.find("postgresql-client")
    env, tools = os.environ | program.env, program.path.parent
    dump = [tools / "pg_dump", "--format=custom", origin]
    with subprocess.Popen(dump, env=env, stdout=subprocess.PIPE) as dumped:
        subprocess.run([tools / "pg_restore", "--no-owner", "--dbname", url], env=env, stdin=dumped.stdout, check=True)


DATABASES = {database.name: database for database in (PostgresDatabase, SqliteDatabase)}


class Stack:
    """Database, broker, bridge and workers; `rows(sql)` asks the database, `fleet(...)` runs simulated docks."""

    def __init__(self, database, broker, folder, redis=None, **env):
        self.database = database
        self.broker = broker
        self.redis = redis
        self.log = folder / "bridge.log"
        self.worker_log = folder / "worker.log"
        self.web_log = folder / "web.log"
        urls = {"DATABASE_URL": database.url, "MQTT_URL": broker.url}
        # Nothing is read by schedule between the commands of a test, and a bridge starts one process only.
        self.env = os.environ | LICENSE | {"LICENSE_SYNC_PER_MINUTE": "0", "CONTROL_PROCESS": "false"} | urls | env
        if redis:
            self.env["REDIS_URL"] = redis.url
        self.bridges = []
        self.workers = []
        self.webs = []
        self.issuer = None

    def prepare(self):
        """Create the tables and two organizations."""
        self.manage("shell", "-v0", "-c", MIGRATE + SETUP)

    def manage(self, *arguments):
        """Run one of the project's commands to its end and return what it printed."""
        return manage(*arguments, env=self.env)

    def start_bridge(self, *, command=("manage.py", "run_mqtt_bridge"), wait=True, **env):
        """Start a bridge; returns its process, when it serves docks unless told not to wait."""
        before = self.served()
        with self.log.open("ab") as log:
            bridge = Program(command, env=self.env | env, stderr=log.fileno())
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
        return bridge.wait(timeout=60)

    def start_worker(
        self, *, command=("-m", "celery"), concurrency=1, pool="prefork", queues="", beat=True, wait=True, **env
    ):
        """Start a Celery worker, and beat unless one runs; returns the worker's process, when it takes tasks."""
        assert self.redis, "a worker needs running_stack(redis=Redis())"
        before = self.ready()
        options = ["worker", "--concurrency", str(concurrency), "--pool", pool]
        options += ["--queues", queues] if queues else []
        worker = self._start_celery(command, options, env)
        if beat and not self.is_beating():
            self._start_celery(command, ["beat", "--pidfile", ""], env)
        if wait:
            wait_for(lambda: self.ready() > before or worker.poll() is not None)
            assert worker.poll() is None, self.worker_log.read_text()[-3000:]
        return worker

    def ready(self):
        """How often a worker has begun to take tasks."""
        return self.worker_log.read_text().count(" ready.") if self.worker_log.exists() else 0

    def is_beating(self):
        return any("beat" in process.args and process.poll() is None for process in self.workers)

    def stop_worker(self, worker, number=signal.SIGTERM):
        """Send a signal and return the exit code."""
        worker.send_signal(number)
        return worker.wait(timeout=60)

    def _start_celery(self, command, options, env):
        arguments = [*command, "-A", "cloudapi", *options]
        with self.worker_log.open("ab") as log:
            process = Program(
                arguments, env=self.env | env, stdout=log.fileno(), stderr=log.fileno(), start_new_session=True
            )
        self.workers.append(process)
        return process

    def start_web(self, *, port=0, **env):
        """Start uvicorn as in production, on a free port unless one is given; returns its `tests.web.Web`."""
        from tests.web import Web  # which waits with our wait_for

        web = Web(self.web_log, application="cloudapi.asgi:application", port=port, **(self.env | env))
        self.webs.append(web)
        return web

    def issue(self, sn, method, data=None, **options):
        """Ask a dock for a service from a process of its own, as a script would; returns {"id"} or {"refused"}."""
        if self.issuer is None:
            self.issuer = self._start_issuer()
        _, asked, answers = self.issuer
        asked.write(json.dumps({"sn": sn, "method": method, "data": data or {}, **options}) + "\n")
        asked.flush()
        return json.loads(answers.readline())

    def _start_issuer(self):
        (asking, asked), (answers, answering) = os.pipe(), os.pipe()
        process = Program(["-m", "tests.issuer"], env=self.env, stdin=asking, stdout=answering)
        os.close(asking), os.close(answering)
        issuer = process, os.fdopen(asked, "w"), os.fdopen(answers)
        assert issuer[2].readline() == "ready\n"
        return issuer

    def call(self, call_id):
        """(status, late, percent, version) of a service call."""
        columns = "status, late, percent, version, id"
        rows = self.rows(f"SELECT {columns} FROM devices_servicecall")
        return next(row[:4] for row in rows if uuid.UUID(str(row[4])) == uuid.UUID(call_id))

    def ended(self, call_id, seconds=60):
        """Wait until a call ended; returns its status."""
        open_ones = ("queued", "sent", "accepted", "in_progress", "paused")
        wait_for(lambda: self.call(call_id)[0] not in open_ones, seconds)
        return self.call(call_id)[0]

    def close(self):
        if self.issuer is not None:
            process, *files = self.issuer
            process.kill()
            process.wait()
            for file in files:
                file.close()
        for process in [*self.bridges, *(web.process for web in self.webs)]:
            if process.poll() is None:
                process.kill()
                process.wait()
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):  # children that outlived it are of its session
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()

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
        from cloudapi.mqtt_routes import SIMULATED  # Django is set up by now

        commands.learn(SIMULATED)
        docks = Fleet(
            count=count,
            organization_id=organization_id,
            binding_code=binding_code,
            options=options,
            **{"mqtt_url": self.broker.url} | more,
        )
        with run_in_thread(docks) as loop:
            yield docks, loop


def manage(*arguments, env):
    """Run one of the project's commands in this environment and return what it printed."""
    done = fork_server.run(["manage.py", *arguments], env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for(condition, seconds=60):
    """Wait until the condition is true; the limit is for a machine that is busy with other things.

    The longer it takes, the more rarely it is looked at, so that those who wait leave the machine to the others.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < seconds, "waited too long"
        time.sleep(min(0.2, 0.01 + waited / 20))


@contextmanager
def running_stack(kind, folder, *, broker=None, server_url=None, template=None, redis=None, **env):
    """A stack on "postgresql" (the run's server unless another is given) or "sqlite".

    Given a Redis of its own it may have workers. With `template`, the database of a prepared stack that is not in use,
    it starts from a copy of that.
    """
    with broker or Mosquitto() as running, redis or contextlib.nullcontext():
        database = DATABASES[kind](server_url or run_server(), folder, template)
        stack = Stack(database, running, folder, redis, **env)
        try:
            if template is None:
                stack.prepare()
            yield stack
        finally:
            stack.close()
            database.close()


def run_server():
    """The PostgreSQL server of this test run."""
    return os.environ["DATABASE_URL"]


__all__ = [
    "CODE",
    "LICENSE",
    "OTHER_CODE",
    "QUICK",
    "ROOT",
    "Mosquitto",
    "PostgreSQL",
    "Redis",
    "Stack",
    "manage",
    "running_stack",
    "wait_for",
]
