"""`manage.py demo` as a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys

from tests.stack import ROOT, wait_for


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def running_demo(data):
    """A demo with its data in this folder; yields where it serves, as host:port."""
    port = free_port()
    command = [sys.executable, "-u", "manage.py", "demo", f"--port={port}", f"--data={data}"]
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while (line := process.stdout.readline()) and "Ctrl-C ends it" not in line:
            pass
        wait_for(lambda: _answers(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=60)
    assert "Traceback" not in said


def _answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
