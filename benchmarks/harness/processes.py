"""The processes that are measured: started with one environment, ready when they say so, ended with the block."""

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cryptography.fernet import Fernet

from cloudapi.embedded.processes import children
from cloudapi.embedded.servers import HOST

ROOT = Path(__file__).parent.parent.parent
START_TIMEOUT = 30.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")  # a second, in /proc


class Running:
    """A process that was started here."""

    def __init__(self, arguments: list[str], env: dict[str, str], output: IO[bytes]) -> None:
        self._output = output
        self.process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT
        )

    def said(self) -> str:
        """What it printed so far."""
        return os.pread(self._output.fileno(), 1 << 20, 0).decode(errors="replace")

    def cpu(self) -> float:
        """Seconds of a processor that it and its children have used."""
        return cpu(self.process.pid)

    def memory(self) -> dict[int, float]:
        """Megabytes in memory of it and of each of its children, by process id; shared pages in part."""
        return {pid: _memory(pid) for pid in [self.process.pid, *children(self.process.pid)]}


def cpu(pid: int) -> float:
    """Seconds of a processor that a process and its children have used, with those that have ended."""
    return _ticks(pid, ended=True) + sum(_ticks(child) for child in children(pid))


def cpu_by_process(pid: int, name: str) -> dict[str, float]:
    """The same of the process, as `name`, and of each of its children in the order of their start."""
    used = {name: _ticks(pid)}
    return used | {f"{name}, child {place}": _ticks(child) for place, child in enumerate(sorted(children(pid)), 1)}


def _ticks(pid: int, *, ended: bool = False) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # it ended just now
        return 0.0
    return sum(map(int, fields[11 : 15 if ended else 13])) / TICKS


def _memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def environment(**urls: str) -> dict[str, str]:
    """The environment of a server in production, but for TLS."""
    return os.environ | {
        "DEBUG": "false",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "ALLOWED_HOSTS": HOST,
        "PUBLIC_URL": f"http://{HOST}",
        "SECURE_SSL_REDIRECT": "false",
        "LOG_LEVEL": "INFO",
        "DEVICE_OFFLINE_AFTER": "3600",  # made-up docks say nothing until they are asked
        "DJANGO_SETTINGS_MODULE": "cloudapi.settings",
        **urls,
    }


def manage(env: dict[str, str], *arguments: str) -> None:
    """Run one of the project's commands to its end."""
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, check=True)


@contextmanager
def running(arguments: list[str], env: dict[str, str], *, sign: str) -> Iterator[Running]:
    """Run `python <arguments>` until the block ends, ready when it printed `sign`."""
    with tempfile.TemporaryFile() as output:
        program = Running(arguments, env, output)
        try:
            wait(lambda: sign in program.said() or program.process.poll() is not None)
            if program.process.poll() is not None:
                raise RuntimeError(f"{arguments} ended at once:\n{program.said()[-2000:]}")
            yield program
        finally:
            program.process.send_signal(signal.SIGTERM)
            program.process.wait()


@contextmanager
def web_process(env: dict[str, str]) -> Iterator[tuple[Running, str]]:
    """uvicorn on a free port, and host:port."""
    command = ["-m", "uvicorn", "cloudapi.asgi:application", "--port", "0", "--lifespan", "off"]
    command += ["--ws", "websockets-sansio"]
    with running(command, env, sign="Uvicorn running on") as web:
        address = re.search(r"Uvicorn running on http://(\S+)", web.said())
        assert address is not None  # noqa: S101
        yield web, address.group(1)


def wait(condition: Callable[[], bool], *, timeout: float = START_TIMEOUT, every: float = 0.1) -> None:
    """Wait until the condition holds; raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not come")
        time.sleep(every)
