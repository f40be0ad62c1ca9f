"""Programs of the project, forked from a process that has imported the libraries: a quarter of the cost of a start.

Only libraries are imported before the fork. Each program imports settings, models and all other project code itself, in
its own environment, and ends as any Python program does. From the second on, the server's own programs in one and the
same environment are forked from a process that has set Django up in it, which saves half of the rest.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from multiprocessing import connection
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Whatever the project imports that needs no settings, by the modules that import the rest. Not prometheus_client: it
# looks at the environment when it is imported.
LIBRARIES = (
    "authlib.integrations.django_client.apps",
    "babel.core",
    "celery.app.amqp",
    "celery.app.base",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.fixups.django",
    "celery.worker.consumer",
    "channels.generic.websocket",
    "channels.layers",
    "channels.routing",
    "channels.security.websocket",
    "channels_redis.pubsub",
    "cryptography.fernet",
    "csp.middleware",
    "django.contrib.admin.templatetags.admin_list",
    "django.contrib.admindocs.views",
    "django.contrib.messages.middleware",
    "django.contrib.sessions.middleware",
    "django.core.cache.backends.redis",
    "django.core.handlers.asgi",
    "django.core.management",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.forms",
    "django.middleware.locale",
    "django.template.defaulttags",
    "django.template.engine",
    "django.test.testcases",
    "django.views.generic",
    "django_filters.rest_framework",
    "drf_spectacular.utils",
    "environ",
    "import_export.resources",
    "kombu.transport.redis",
    "markdown_it",
    "msgspec",
    "openpyxl",
    "paho.mqtt.client",
    "psycopg.dbapi20",
    "pyotp",
    "redis.asyncio",
    "requests",
    "rest_framework.metadata",
    "segno",
    "uvicorn.lifespan.off",
    "uvicorn.main",
    "uvicorn.protocols.http.h11_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "websockets",
    "whitenoise.middleware",
)
# The programs that begin with setting Django up. All others may want to do something before it.
MODULES = ("celery", "uvicorn", "tests.fault.altered_bridge", "tests.fault.altered_worker", "tests.issuer")
OURS = ({"manage.py"}, *({"-m", module} for module in MODULES))
# Which test runs tells nobody anything. What says where a worker's figures are is looked at with its arguments.
PASSING, EARLY = "PYTEST_CURRENT_TEST", "WORKER_METRICS_ADDRESS"
KEPT = 3  # processes that have set Django up
RETIRE = b"retire"
LONGEST = 1_000_000  # bytes of a request
NUMBER = struct.Struct("i")


class Program:
    """A process that is used like `subprocess.Popen`; `arguments` are what would follow `python`.

    `stdin`, `stdout` and `stderr` are file descriptors.
    """

    def __init__(self, arguments, *, env, stdin=None, stdout=1, stderr=2, start_new_session=False):
        self.args = list(arguments)
        self.returncode = None
        self._report, theirs = os.pipe()
        wanted = {"arguments": self.args, "env": dict(env), "is_session": start_new_session}
        with Path(os.devnull).open("rb") as nothing:
            files = [nothing.fileno() if stdin is None else stdin, stdout, stderr, theirs]
            socket.send_fds(_server(), [json.dumps(wanted).encode()], files)
        os.close(theirs)
        self.pid = self._next()

    def poll(self):
        """The exit code, None while it runs."""
        return self._wait(0)

    def wait(self, timeout=None):
        """The exit code, a negative signal number where one ended it; raises subprocess.TimeoutExpired."""
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _wait(self, timeout):
        if self.returncode is None and connection.wait([self._report], timeout):
            self.returncode = self._next()
            os.close(self._report)
        return self.returncode

    def _next(self):
        said = os.read(self._report, NUMBER.size)
        assert said, "the fork server is gone"
        return NUMBER.unpack(said)[0]


def run(arguments, *, env):
    """Run a program to its end; returns a subprocess.CompletedProcess with its output as text."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        program = Program(arguments, env=env, stdout=out.fileno(), stderr=err.fileno())
        program.wait()
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(program.args, program.returncode, out.read().decode(), err.read().decode())


@functools.cache
def _server():
    """Our end of the line to this process's fork server."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())]
        server = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True)

    @atexit.register
    def close():
        ours.close()
        server.wait()

    return ours


# --- the server


class Server:
    """Forks a process for each request that comes through the line."""

    def __init__(self, line):
        self._line = line
        self._waking, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._reports = {}  # of the running ones, by process id
        self._lines = {}  # to servers that have set Django up, by environment; None where one is not worth it yet
        self._retired = []  # lines to those that end with their last program
        self._is_retired = False

    def serve(self):
        """Returns None in the server, at the end; in each new process what it shall be."""
        while self._reports or not self._is_retired:
            ready, _, _ = select.select([self._line, self._waking], [], [])
            if self._waking in ready:
                os.read(self._waking, 1000)
                self._report_ends()
            if self._line not in ready:
                continue
            request, files, _, _ = socket.recv_fds(self._line, LONGEST, 4)
            if not request:
                for pid in self._reports:
                    os.kill(pid, signal.SIGKILL)
                return None
            if request == RETIRE:
                self._is_retired = True
            elif program := self._answer(json.loads(request), files):
                return program
        return None

    def _answer(self, wanted, files):
        """Fork, or let another do it. Returns None here, and in a new process what it shall be."""
        key = _environment(wanted)
        if key in self._lines:
            if not self._lines[key] and self._start(key, wanted["env"]):
                for file in files:
                    os.close(file)
                return Server(self._line).serve() or sys.exit()
            socket.send_fds(self._lines[key], [json.dumps(wanted | {"is_ready": True}).encode()], files)
            for file in files:
                os.close(file)
            return None
        if key:
            self._lines[key] = None
        *standard, report = files
        if pid := os.fork():
            os.write(report, NUMBER.pack(pid))
            self._reports[pid] = report
            for file in standard:
                os.close(file)
            return None
        for place, file in enumerate(standard):
            os.dup2(file, place)
        for file in files:
            os.close(file)
        self._leave()
        return wanted

    def _start(self, key, env):
        """Start a server that has set Django up in this environment; true there."""
        kept = [other for other, line in self._lines.items() if line]
        for other in kept[: 1 - KEPT]:
            self._retired.append(self._lines.pop(other))
            self._retired[-1].send(RETIRE)
        self._lines[key], theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork():
            theirs.close()
            return False
        self._leave()
        self._line = theirs
        _set_django_up(env)
        return True

    def _leave(self):
        """In a new process, let go of all that is the server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for line in (self._line, *self._retired, *filter(None, self._lines.values())):
            line.close()
        for file in (*self._reports.values(), self._waking, self._wake):
            os.close(file)

    def _report_ends(self):
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if not (report := self._reports.pop(ended[0], None)):
                    continue  # a server that has set Django up
                with contextlib.suppress(BrokenPipeError):  # nobody wants to know
                    os.write(report, NUMBER.pack(os.waitstatus_to_exitcode(ended[1])))
                os.close(report)


def _environment(wanted):
    """What a program finds in its environment, if it may start from a process that has set Django up in it."""
    program = set(wanted["arguments"][:2])
    is_early = "celery" in program and wanted["env"].get(EARLY)
    if "is_ready" in wanted or is_early or not any(ours <= program for ours in OURS):
        return None
    return frozenset((name, value) for name, value in wanted["env"].items() if name != PASSING)


def _set_django_up(env):
    """If that fails, each program of this environment finds out for itself."""
    os.environ.clear()
    os.environ.update({"DJANGO_SETTINGS_MODULE": "cloudapi.settings"} | env)
    with contextlib.suppress(Exception):
        importlib.import_module("django").setup()
        importlib.import_module("cloudapi.urls")
    gc.freeze()


def become(wanted):
    """Be the program until it ends."""
    os.environ.clear()
    os.environ.update(wanted["env"])
    if wanted["is_session"]:
        os.setsid()
    kind, *arguments = wanted["arguments"]
    match kind:
        case "-c":
            code, *sys.argv[1:] = arguments
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - what `python -c` does
        case "-m":
            name, *sys.argv[1:] = arguments
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        case path:
            sys.argv = [path, *arguments]
            runpy.run_path(path, run_name="__main__")


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # a collection would copy every page of the libraries
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        program = Server(requests).serve()
    if program:
        become(program)
