"""How a private server starts, answers and ends: on loopback, on a free port, with temporary data, gone with us."""

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

from cloudapi.embedded import processes, programs

HOST = "127.0.0.1"
START_TIMEOUT = 30.0  # seconds
STOP_TIMEOUT = 10.0  # seconds, then SIGKILL
PORT_ATTEMPTS = 10
JUST_MADE = 60.0  # seconds
PREFIX = "dock-cloud-server-"
POLL = 0.02  # seconds


class ServerError(RuntimeError):
    """A private server did not start; the text holds the last lines of its log."""


class Server(ABC):
    """One private server, a context manager.

    It takes a free port unless `port` is given. `start` and `stop` may be repeated: port and data stay until
    `close`. `program` is what to run, by default what `programs.find` gives.
    """

    program_name: str
    stop_signal = signal.SIGTERM
    orphan_signal = signal.SIGKILL  # what it gets when our process dies

    def __init__(self, *, port: int | None = None, program: programs.Program | None = None) -> None:
        self.program = program or programs.find(self.program_name)
        self.is_port_fixed = port is not None
        self.port = port or 0
        for claim in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/claim"):  # of owners that were killed
            # The maker of a new directory may not have locked the file yet; what belongs to others stays.
            with contextlib.suppress(OSError):
                if time.time() - claim.stat().st_mtime > JUST_MADE:
                    _claim(claim.parent).close()
                    shutil.rmtree(claim.parent, ignore_errors=True)
        self.directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.claim = _claim(self.directory)
        self.log = self.directory / "server.log"  # of the latest start
        self.user: pwd.struct_passwd | None = None  # who runs it, None for ourselves
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it, as the environment variables of the settings want it."""

    @abstractmethod
    def command(self) -> list[str]:
        """Write what it needs to run on `self.port`, and return its command line."""

    @abstractmethod
    def answers(self, pid: int) -> bool:
        """Tell whether the process `pid`, and not another one on its port, serves clients."""

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop it and remove its data."""
        self.close()

    def start(self) -> None:
        """Start it, and return when it answers. Raises ServerError."""
        if self.is_running():
            raise ServerError(f"{self.program_name} is running already")
        for _ in range(PORT_ATTEMPTS):
            if not self.is_port_fixed:
                self.port = free_port()
            if self._starts():
                self.is_port_fixed = True
                return
            if "ddress already in use" not in self.last_lines():
                break
            # Another process was quicker. A port that we chose is given up, a fixed one may come free.
            time.sleep(0.2 if self.is_port_fixed else 0)
        raise ServerError(f"{self.program_name} did not start on port {self.port}:\n{self.last_lines()}")

    def stop(self) -> None:
        """Stop it cleanly; its data stay."""
        if self.process is None:
            return
        self.thaw()
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it and its children with SIGKILL, as a power cut would; its data stay."""
        if self.process is None:
            return
        children = self._signal_all(signal.SIGKILL)
        self.process.wait()
        while any(processes.is_alive(child) for child in children):
            time.sleep(POLL)

    def restart(self) -> None:
        """Stop it and start it again on the same port with the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Suspend it and its children: connections stay open, nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove its data."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.claim.close()

    def is_running(self) -> bool:
        """Tell whether its process is there, answering or not."""
        return self.process is not None and self.process.poll() is None

    def last_lines(self) -> str:
        """Return the end of its log."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        return ""

    def _starts(self) -> bool:
        command = self.command()
        with self.log.open("wb") as log:
            process = self.process = processes.spawn(
                command,
                folder=self.directory,
                env=self.environment(),
                log=log,
                user=self.user,
                orphan_signal=self.orphan_signal,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            if self.answers(process.pid):
                return True
            time.sleep(POLL)
        self.kill()
        return False

    def environment(self) -> dict[str, str]:
        """Return the environment variables of its process."""
        return {**os.environ, **self.program.env, "LC_ALL": "C"}

    def _signal_all(self, number: signal.Signals) -> list[int]:
        """Signal it and its children, which PostgreSQL puts into their own groups; return the children."""
        if self.process is None or not self.is_running():
            return []
        os.kill(self.process.pid, signal.SIGSTOP)  # so that it makes no more children
        children = processes.children(self.process.pid)
        for pid in [*children, self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return children


def _claim(directory: Path) -> IO[str]:
    """Lock a file in the directory, which is free again when our process ends or closes the file. Raises OSError."""
    claim = (directory / "claim").open("a")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        claim.close()
        raise
    return claim


def free_port() -> int:
    """Return a port that no process listens on."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def ask(port: int, request: bytes, *, enough: Callable[[bytes], bool]) -> bytes:
    """Send the request and return what comes back, until it is enough or for two seconds."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=2) as connection:
        connection.sendall(request)
        while not enough(answer) and (part := connection.recv(4096)):
            answer += part
    return answer
