"""Programs of the project, forked from a process that has imported the libraries: a quarter of the cost of a start.

Only libraries are imported before the fork. Each program imports settings, models and all other project code itself, in
its own environment, and ends as any Python program does.
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
    "kombu.transport.redis",
    "msgspec",
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


def serve(line):
    """Fork a process for each request. Returns None in the server, at the end; in each new process what it shall be."""
    waking, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    reports = {}  # of the running ones, by process id
    while True:
        ready, _, _ = select.select([line, waking], [], [])
        if waking in ready:
            os.read(waking, 1000)
            _report_ends(reports)
        if line not in ready:
            continue
        request, files, _, _ = socket.recv_fds(line, LONGEST, 4)
        if not request:
            for pid in reports:
                os.kill(pid, signal.SIGKILL)
            return None
        *standard, report = files
        if not (pid := os.fork()):
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            line.close()
            for place, file in enumerate(standard):
                os.dup2(file, place)
            for file in (*files, *reports.values(), waking, wake):
                os.close(file)
            return json.loads(request)
        os.write(report, NUMBER.pack(pid))
        reports[pid] = report
        for file in standard:
            os.close(file)


def _report_ends(reports):
    while reports and (ended := os.waitpid(-1, os.WNOHANG))[0]:
        report = reports.pop(ended[0])
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know
            os.write(report, NUMBER.pack(os.waitstatus_to_exitcode(ended[1])))
        os.close(report)


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
        program = serve(requests)
    if program:
        become(program)
