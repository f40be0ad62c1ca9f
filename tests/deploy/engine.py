"""Starts what deploy/compose.yaml describes, without containers: the same commands, environment, files and secrets.

What differs from a container engine: hosts and ports are free ports of loopback, paths of a container are paths below
a temporary folder, nothing is limited, and two images are played: PostgreSQL's (which makes the user and the database)
and our own (whose Python starts from the tests' fork server).
"""

import contextlib
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import yaml

from cloudapi.embedded import processes, programs
from cloudapi.embedded.servers import PostgreSQL
from tests.fork_server import Program
from tests.stack import ROOT

# The ports that each service listens on, besides those that compose.yaml publishes.
INSIDE = {
    "postgres": [5432],
    "redis": [6379],
    "mosquitto": [8882],
    "enrolment": [8881],
    "web": [8000],
    "worker": [9111],
    "files": [9112],
    "bridge": [9101],
    "bridge-standby": [9101],
}
PROGRAMS = ("mosquitto", "mosquitto-clients", "redis", "postgresql-client", "caddy")
VARIABLE = re.compile(r"\$\{(\w+)(?:(:?[-?])([^}]*))?\}")
PATIENCE = 180  # seconds, for a busy machine; an idle one needs ten


class EngineError(Exception):
    """A service did not start or is not healthy; the text holds the end of its log."""


def free_port():
    """A port that nobody listens on and no outgoing connection takes, for it is used seconds later."""
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_server(("127.0.0.1", random.randint(10000, 32000))) as listener,
        ):
            return listener.getsockname()[1]


def values_of(path):
    """The lines NAME=value of an environment file."""
    lines = Path(path).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def filled_in(text, values):
    """The text with ${NAME}, ${NAME:-default} and ${NAME:?complaint} replaced, as Compose does."""

    def value(match):
        name, sign, other = match.groups()
        found = values.get(name)
        if sign in ("?", ":?") and not found:
            raise EngineError(f"{name}: {other or 'is not set'}")
        return found or (other if sign in ("-", ":-") else "")

    return VARIABLE.sub(value, text.replace("$$", "\0")).replace("\0", "$")


class Engine:
    """Services by name. `folder` is a copy of deploy/ with the .env and secrets/ of a first start.

    `tables` is a dump that a fresh database starts from, which saves the seconds of all migrations.
    """

    def __init__(self, folder, scratch, tables=None):
        self.folder, self.scratch, self.tables = Path(folder), Path(scratch), tables
        self.values = values_of(self.folder / ".env")
        self.compose = yaml.safe_load(filled_in((self.folder / "compose.yaml").read_text(), self.values))
        self.services = self.compose["services"]
        self.ports = {name: self._ports_of(name) for name in self.services}
        self.running = {}  # service name: process
        self.codes = {}  # service name: exit code of the last process
        self.started = []  # names, in the order of their start
        self.postgres = None
        self.ready = set()  # (name, condition) that held during the present start
        found = [programs.find(name) for name in PROGRAMS]
        self.tools = {
            "PATH": os.pathsep.join([
                str(Path(sys.executable).parent),
                *(str(program.path.parent) for program in found),
                os.environ.get("PATH", os.defpath),
            ]),
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, (p.env.get("LD_LIBRARY_PATH") for p in found))),
        }  # fmt: skip
        self.broker = found[0]

    def _ports_of(self, name):
        published = [int(port.split("/")[0].split(":")[1]) for port in self.services[name].get("ports", ())]
        return {port: free_port() for port in {*published, *INSIDE.get(name, ())}}

    # --- translation --------------------------------------------------------------------------------

    def local(self, name, text):
        """A text of the service `name`, with the hosts, ports and paths that it has here."""
        for host, ports in self.ports.items():
            for port, ours in ports.items():
                text = re.sub(rf"(?<![\w.-]){host}([: ]){port}(?!\d)", rf"localhost\g<1>{ours}", text)
        for port, ours in self.ports[name].items():
            text = re.sub(rf"(?:(?<=0\.0\.0\.0:)|(?<![\w.:])){port}(?![\w.])", str(ours), text)
        for inside, ours in self.places(name).items():
            text = re.sub(rf"(?<![\w.])(?:{re.escape(inside)})(?=[/\s\"']|$)", str(ours), text, flags=re.MULTILINE)
        return text.replace("0.0.0.0", "127.0.0.1")  # noqa: S104

    def places(self, name):
        """{path in the container: path here}"""
        found = {"/run/secrets": self.scratch / "secrets" / name}
        for volume in self.services[name].get("volumes", ()):
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                found[target] = self.scratch / "files" / name / Path(target).name
            else:
                found[target] = self.scratch / "volumes" / source
        for mount in self.services[name].get("tmpfs", ()):
            target = mount.split(":")[0]
            if target != "/tmp":  # noqa: S108
                found[target] = self.scratch / "tmpfs" / name / target.strip("/").replace("/", "_")
        return dict(sorted(found.items(), key=lambda item: -len(item[0])))

    def lay_out(self, name):
        """Make the folders of a service, and its copies of configuration files and secrets."""
        service = self.services[name]
        for volume in service.get("volumes", ()):
            source, target, *_ = volume.split(":")
            ours = self.places(name)[target]
            if source.startswith("."):
                ours.parent.mkdir(parents=True, exist_ok=True)
                ours.write_text(self.adapted(name, (self.folder / source).read_text()))
            else:
                ours.mkdir(parents=True, exist_ok=True)
        for target, ours in self.places(name).items():
            if "tmpfs" in ours.parts or target == "/run/secrets":
                ours.mkdir(parents=True, exist_ok=True)
        for secret in service.get("secrets", ()):
            source = self.folder / self.compose["secrets"][secret]["file"]
            self.place_secret(name, source)

    def place_secret(self, name, source):
        ours, text = self.scratch / "secrets" / name / source.name, self.adapted(name, source.read_text())
        if not ours.exists() or ours.read_text() != text:  # another process of the service may be reading it
            ours.write_text(text)
        ours.chmod(0o600)

    def adapted(self, name, text):
        """A configuration file as it must be here."""
        text = self.local(name, text)
        if name == "proxy":
            text = text.replace("\tadmin off", "\tadmin off\n\tdefault_bind 127.0.0.1")
        if name in ("mosquitto", "enrolment"):
            text = re.sub(r"^(listener \d+)\s*$", r"\1 127.0.0.1", text, flags=re.MULTILINE)
            # deploy/Dockerfile links the plugin to this place; here it lies where Debian's package has it.
            plugin = next(((self.broker.root or Path("/")) / "usr/lib").rglob("mosquitto_dynamic_security.so"))
            text = re.sub(r"/\S*/mosquitto_dynamic_security\.so", str(plugin), text)
            if os.geteuid() == 0 and "\nlistener " in text:  # else it becomes a user who may not read its folder
                text = f"user root\n{text}"
        return text

    def environment(self, name):
        """What the process of a service finds in its environment; of ours it gets only what programs need here."""
        service = self.services[name]
        env = {}
        for file in service.get("env_file", ()):
            env |= values_of(self.folder / file)
        env |= {key: str(value) for key, value in service.get("environment", {}).items()}
        env = {key: self.local(name, value) for key, value in env.items()}
        if name == "proxy":
            env |= {"HTTP_PORT": str(self.ports[name][80]), "HTTPS_PORT": str(self.ports[name][443])}
        ours = {key: os.environ[key] for key in ("HOME", "LANG", "TZ") if key in os.environ}
        return {**ours, **self.tools, **env, "PYTHONUNBUFFERED": "1"}

    def command(self, name, command=None):
        return [self.local(name, part) for part in command or self.services[name]["command"]]

    # --- processes ----------------------------------------------------------------------------------

    def log(self, name):
        return self.scratch / f"{name}.log"

    def said(self, name):
        return self.log(name).read_text(errors="replace") if self.log(name).exists() else ""

    def logs(self):
        """The end of each service's log."""
        return "\n".join(f"--- {name}\n{self.said(name)[-1500:]}" for name in self.services)

    def spawn(self, name, command, log):
        """Start a command as this service would; Python's own from the fork server."""
        env = self.environment(name)
        program, *rest = command
        with log.open("ab") as output:
            if program in ("python", "uvicorn", "celery"):
                arguments = rest if program == "python" else ["-m", program, *rest]
                fd = output.fileno()
                return Program(arguments, env=env, stdout=fd, stderr=fd, start_new_session=True)
            program = shutil.which(program, path=env["PATH"]) or program
            command = [program, *rest]
            options = {"folder": ROOT, "env": env, "log": output, "user": None, "orphan_signal": signal.SIGKILL}
            return processes.spawn(command, **options)

    def start(self, name):
        self.lay_out(name)
        self.codes.pop(name, None)
        if name == "postgres":
            self.running[name] = self.start_postgres()
        else:
            self.running[name] = self.spawn(name, self.command(name), self.log(name))
        self.started.append(name)

    def start_postgres(self):
        """What the start script of PostgreSQL's image does with the variables of compose.yaml."""
        env = self.environment("postgres")
        password = Path(env["POSTGRES_PASSWORD_FILE"]).read_text()
        if self.postgres is None:
            self.postgres = PostgreSQL(port=self.ports["postgres"][5432])
            self.postgres.settings["unix_socket_directories"] = str(self.postgres.directory)
            self.postgres.start()
            with psycopg.connect(self.postgres.url, autocommit=True) as db:
                db.execute(f"CREATE ROLE {env['POSTGRES_USER']} SUPERUSER LOGIN PASSWORD '{password}'")
                db.execute(f"CREATE DATABASE {env['POSTGRES_DB']} OWNER {env['POSTGRES_USER']}")
                rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
                (self.postgres.data / "pg_hba.conf").write_text(rules)
                db.execute("SELECT pg_reload_conf()")
            self.tools |= {"PGHOST": str(self.postgres.directory), "PGPORT": str(self.postgres.port)}
            if self.tables:
                names = ["--username", env["POSTGRES_USER"], "--dbname", env["POSTGRES_DB"]]
                command = ["pg_restore", "--no-owner", *names, str(self.tables)]
                subprocess.run(command, env=os.environ | self.tools, check=True, timeout=PATIENCE)
            self.postgres.answers = lambda _pid: True  # its own question has no password; the health check asks
        else:
            self.postgres.start()
        return self.postgres.process

    def is_ready(self, name, condition):
        if condition == "service_completed_successfully":
            code = self.running[name].poll()
            if code not in (None, 0):
                raise EngineError(f"{name} ended with {code}:\n{self.said(name)[-3000:]}")
            return code == 0
        return condition == "service_started" or self.is_healthy(name)

    def is_healthy(self, name):
        """Run the health check once."""
        self.must_run(name)
        kind, *test = self.services[name]["healthcheck"]["test"]
        test = ["sh", "-c", *test] if kind == "CMD-SHELL" else test
        process = self.spawn(name, [self.local(name, part) for part in test], self.log(f"{name}-health"))
        return process.wait(timeout=PATIENCE) == 0

    def must_run(self, name):
        code = self.running[name].poll()
        if code is not None:
            raise EngineError(f"{name} ended with {code}:\n{self.said(name)[-3000:]}")

    def up(self, *names):
        """Start these services, or all, and what they depend on; wait until they are healthy. Raises EngineError."""
        wanted = self.with_dependencies(names or self.services)
        left, self.ready = [name for name in wanted if not self.is_running(name)], set()
        deadline = time.monotonic() + PATIENCE
        while left:
            for name in [name for name in left if self.may_start(name, left)]:
                self.start(name)
                left.remove(name)
            if time.monotonic() > deadline:
                raise EngineError(f"not started: {left}\n{self.logs()}")
            time.sleep(0.02)
        for name in wanted:
            while "test" in self.services[name].get("healthcheck", {}) and not self.is_healthy(name):
                if time.monotonic() > deadline:
                    raise EngineError(f"{name} is not healthy: {self.said(name)[-2000:]}")
                time.sleep(0.1)
        for name in wanted:
            if self.services[name]["restart"] != "no":
                self.must_run(name)

    def may_start(self, name, left):
        """Tell whether all that the service waits for is as it must be; no condition is looked at again."""
        conditions = {(other, how["condition"]) for other, how in self.services[name].get("depends_on", {}).items()}
        if any(other in left for other, _ in conditions):
            return False
        self.ready |= {(other, how) for other, how in conditions - self.ready if self.is_ready(other, how)}
        return conditions <= self.ready

    def with_dependencies(self, names):
        """These services and what they depend on, dependencies first."""
        ordered = []

        def add(name):
            for other in self.services[name].get("depends_on", {}):
                add(other)
            if name not in ordered:
                ordered.append(name)

        for name in names:
            add(name)
        return ordered

    def is_running(self, name):
        return name in self.running and self.running[name].poll() is None

    def stop(self, *names):
        """End these services, or all, dependents first, as `docker compose stop` does."""
        for name in reversed(self.with_dependencies(names or self.services) if not names else list(names)):
            if self.is_running(name):
                # The image of PostgreSQL declares SIGINT.
                self.send(name, signal.SIGINT if name == "postgres" else signal.SIGTERM)
                self.running[name].wait(timeout=PATIENCE)
            if name in self.running:
                self.codes[name] = self.running.pop(name).poll()

    def send(self, name, number):
        process = self.running[name]
        process.send_signal(number)

    def run(self, name, command):
        """Run a command to its end as this service would; returns (exit code, output)."""
        self.lay_out(name)
        log = self.scratch / f"run-{name}.log"
        log.unlink(missing_ok=True)
        code = self.spawn(name, [self.local(name, part) for part in command], log).wait(timeout=PATIENCE)
        return code, log.read_text(errors="replace")

    def shell(self, name, command):
        """The command line, for a shell, of what `run` would start."""
        env = " ".join(f"{key}={shlex.quote(value)}" for key, value in self.environment(name).items())
        return f"cd {ROOT} && exec env -i {env} {shlex.join(self.local(name, part) for part in command)}"

    def close(self):
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self.postgres:
            self.postgres.close()


def dump_of(url, path):
    """Dump this database into the file."""
    program = programs.find("postgresql-client")
    command = [program.path, "--format", "custom", "--file", path, url]
    subprocess.run(command, env=os.environ | program.env, check=True, timeout=PATIENCE)
    return path


def copy_of_deploy(folder):
    """A copy of deploy/, where a first start may write."""
    return Path(shutil.copytree(ROOT / "deploy", folder, ignore=shutil.ignore_patterns(".env", "secrets")))
