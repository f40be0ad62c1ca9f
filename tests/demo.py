"""`manage.py demo` as a process of its own."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys

from tests.stack import ROOT


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def demo_environment():
    return {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}


@contextlib.contextmanager
def started_demo(data):
    """A demo with its data in this folder; yields the process and what it has said by the time it serves or ends."""
    command = [sys.executable, "-u", "manage.py", "demo", "--port=0", f"--data={data}"]
    environment = {name: value for name, value in demo_environment().items() if name != "DEBUG"}  # it sets that itself
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
        try:
            lines = []
            while (line := process.stdout.readline()) and "Ctrl-C ends it" not in line:
                lines.append(line)
            yield process, "".join(lines)
            process.terminate()
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert "Traceback" not in said


@contextlib.contextmanager
def running_demo(data, tables):
    """A demo with its data in this folder; yields where it serves, as host:port. Its tables are those of a SQLite."""
    data.mkdir(exist_ok=True)
    shutil.copy(tables.path, data / "db.sqlite3")
    with started_demo(data) as (_, said):
        yield re.search(r"http://(\S+)/admin/", said)[1]
