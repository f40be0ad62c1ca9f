"""A web process of its own on the test's database and Redis, and a client for its WebSockets."""

import json
import os
import re
import signal
import time
from contextlib import closing, contextmanager

from django.db import connection
from django.test import Client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.fork_server import Program
from tests.stack import wait_for


def database_url():
    """Where another process finds the database that this test writes to."""
    own = connection.settings_dict
    return f"postgres://{own['USER']}@{own['HOST']}:{own['PORT']}/{own['NAME']}"


class Web:
    """uvicorn on a free port of loopback."""

    def __init__(self, log, *, application="tests.quick_asgi:application", port=0, **env):
        self.log = log
        self.application = application
        self.env = os.environ | {"DATABASE_URL": database_url()} | env
        self.start(port)

    def start(self, port=0):
        command = ["-m", "uvicorn", self.application, "--port", str(port), "--lifespan", "off"]
        command += ["--ws", "websockets-sansio", "--ws-max-size", "65536"]
        with self.log.open("wb") as output:
            self.process = Program(command, env=self.env, stderr=output.fileno(), stdout=output.fileno())
        wait_for(lambda: self.process.poll() is not None or "Uvicorn running on" in self.said())
        self.host = re.search(r"Uvicorn running on http://(\S+)", self.said()).group(1)

    def restart(self):
        """End it in good order and start it again on the same port."""
        self.close()
        self.start(self.host.rsplit(":", 1)[1])

    def said(self):
        """What it printed so far."""
        return self.log.read_text(errors="replace")

    def close(self):
        self.process.terminate()
        # uvicorn ends in good order and then lets the signal do what it would have done
        assert self.process.wait(timeout=60) in (0, -signal.SIGTERM), self.said()

    def socket(self, path, user=None, *, client=None, origin=None, **options):
        """Open a WebSocket as a page of this server would, signed in as this user, or as this test client."""
        client = client or Client()
        if user is not None:
            client.force_login(user)
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        return Socket(
            connect(
                f"ws://{self.host}{path}",
                origin=origin or f"http://{self.host}",
                additional_headers={"Cookie": cookies} if cookies else None,
                **options,
            )
        )

    def program(self, path, authorization, **headers):
        """Open a WebSocket as a program would, with this `Authorization` and no origin."""
        headers = {"Authorization": authorization, **headers}
        return Socket(connect(f"ws://{self.host}{path}", additional_headers=headers))


@contextmanager
def running_web(log, **options):
    """A web process that must end in good order."""
    with closing(Web(log, **options)) as web:
        yield web


class Socket:
    """A browser's end of a WebSocket."""

    def __init__(self, connector):
        self.connector = connector

    def __enter__(self):
        self.connection = self.connector.__enter__()
        return self

    def __exit__(self, *exception):
        self.connector.__exit__(*exception)

    def send(self, content):
        self.connection.send(content if isinstance(content, str | bytes) else json.dumps(content))

    def next(self, kind=None, *, timeout=30.0):
        """The next frame, or the next of a kind; TimeoutError if none comes."""
        deadline = time.monotonic() + timeout
        while True:
            frame = json.loads(self.connection.recv(timeout=max(0.0, deadline - time.monotonic())))
            if kind in (None, frame["type"]):
                return frame

    def within(self, seconds):
        """All frames of so many seconds."""
        frames, deadline = [], time.monotonic() + seconds
        try:
            while True:
                frames.append(self.next(timeout=deadline - time.monotonic()))
        except TimeoutError:
            return frames

    def code(self, *, timeout=30.0):
        """The code with which the server closes."""
        try:
            deadline = time.monotonic() + timeout
            while True:
                self.connection.recv(timeout=deadline - time.monotonic())
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
