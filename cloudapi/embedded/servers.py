"""Private Mosquitto, Redis and PostgreSQL: on loopback, on free ports, with temporary data, gone with us."""

import base64
import contextlib
import fcntl
import hashlib
import os
import pwd
import secrets
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

import psycopg

from cloudapi.embedded import processes, programs

HOST = "127.0.0.1"
START_TIMEOUT = 30.0  # seconds
STOP_TIMEOUT = 10.0  # seconds, then SIGKILL
PORT_ATTEMPTS = 10
JUST_MADE = 60.0  # seconds
PREFIX = "dock-cloud-server-"
POLL = 0.02  # seconds
# Of a PostgreSQL that is safe but for power cuts, and does not live long enough to be vacuumed.
QUICK = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}


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
        _remove_abandoned_data()
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
                self.port = _free_port()
            if self._starts():
                self.is_port_fixed = True
                return
            if "ddress already in use" not in self.last_lines():
                break
            # Somebody was quicker. A port of our own choice is given up, a fixed one may come free.
            time.sleep(0.2 if self.is_port_fixed else 0)
        raise ServerError(f"{self.program_name} did not start on port {self.port}:\n{self.last_lines()}")

    def stop(self) -> None:
        """Stop it in good order; its data stay."""
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
        process = self.process = self._spawn(self.command())
        deadline = time.monotonic() + START_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            if self.answers(process.pid):
                return True
            time.sleep(POLL)
        self.kill()
        return False

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            return processes.spawn(
                command,
                folder=self.directory,
                env=self._environment(),
                log=log,
                user=self.user,
                orphan_signal=self.orphan_signal,
            )

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.program.env, "LC_ALL": "C"}

    def _signal_all(self, number: signal.Signals) -> list[int]:
        """Signal it and its children, which PostgreSQL puts into groups of their own; return these."""
        if self.process is None or not self.is_running():
            return []
        os.kill(self.process.pid, signal.SIGSTOP)  # so that it makes no child meanwhile
        children = processes.children(self.process.pid)
        for pid in [*children, self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return children


class Mosquitto(Server):
    """An MQTT broker that queues enough for a whole fault test.

    Without `username` and `password` everybody may come in. With `persistence` sessions and queued messages
    survive `stop`, and `kill` but for the last two seconds. `config` is added to its configuration file.
    """

    program_name = "mosquitto"

    def __init__(
        self,
        *,
        username: str = "",
        password: str = "",
        persistence: bool = False,
        config: str = "",
        port: int | None = None,
        program: programs.Program | None = None,
    ) -> None:
        super().__init__(port=port, program=program)
        self.username = username
        self.password = password
        self.persistence = persistence
        self.config = config

    @property
    def url(self) -> str:
        """Return mqtt://[username:password@]127.0.0.1:port."""
        login = f"{self.username}:{self.password}@" if self.username else ""
        return f"mqtt://{login}{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Write the configuration file."""
        lines = [
            f"listener {self.port} {HOST}",
            "log_dest stderr",
            "max_queued_messages 100000",
            # Also the receive maximum told to MQTT 5 publishers, 20 if not set: the broker's worst throttle.
            "max_inflight_messages 1000",
            "set_tcp_nodelay true",
            f"allow_anonymous {'false' if self.username else 'true'}",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # it would become somebody who may not read its own folder
        if self.username:
            passwords = self.directory / "passwords"
            passwords.write_text(f"{self.username}:{_mosquitto_hash(self.password)}\n")
            passwords.chmod(0o600)
            lines.append(f"password_file {passwords}")
        if self.persistence:
            lines += ["persistence true", f"persistence_location {self.directory}/", "autosave_interval 1"]
        path = self.directory / "mosquitto.conf"
        path.write_text("\n".join([*lines, self.config, ""]))
        return [str(self.program.path), "-c", str(path)]

    def answers(self, pid: int) -> bool:
        """Wait for its own word that it has its port, then for an answer to CONNECT, be it a refusal."""
        if " running" not in self.log.read_text(errors="replace"):
            return False
        connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00"
        return _exchange(self.port, connect, enough=lambda answer: bool(answer)).startswith(b"\x20")


class Redis(Server):
    """A Redis that keeps nothing on disk."""

    program_name = "redis"

    @property
    def url(self) -> str:
        """Return redis://127.0.0.1:port."""
        return f"redis://{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Give every option on the command line."""
        options = f"--bind {HOST} --port {self.port} --dir {self.directory} --appendonly no --daemonize no"
        return [str(self.program.path), *options.split(" "), "--save", ""]

    def answers(self, pid: int) -> bool:
        """Compare the process id it tells."""
        answer = _exchange(self.port, b"INFO server\r\n", enough=lambda answer: b"\r\nuptime_" in answer)
        return f"process_id:{pid}\r\n".encode() in answer


class PostgreSQL(Server):
    """A PostgreSQL that trusts everybody on loopback; superuser and database are called `postgres`.

    With `durable` it survives a power cut of the machine, too, and is slower. `settings` are added to its
    configuration. When we are root it runs as `postgres` or `nobody`, as it insists.
    """

    program_name = "postgresql"
    stop_signal = signal.SIGINT  # "fast": ends sessions instead of waiting for them
    orphan_signal = signal.SIGQUIT

    def __init__(
        self,
        *,
        durable: bool = False,
        settings: dict[str, str] | None = None,
        port: int | None = None,
        program: programs.Program | None = None,
    ) -> None:
        super().__init__(port=port, program=program)
        self.data = self.directory / "data"
        self.token = secrets.token_hex(8)
        speed = {} if durable else QUICK
        self.settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": "200",
            "cluster_name": self.token,
            "jit": "off",  # its compiler is not fetched
            "dynamic_shared_memory_type": "mmap",  # leaves nothing behind outside our folder
            **speed,
            **(settings or {}),
        }
        if os.geteuid() == 0:
            self.user = _unprivileged_user()
            os.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
            self.program = self._reachable()

    @property
    def url(self) -> str:
        """Return postgres://postgres@127.0.0.1:port/postgres."""
        return f"postgres://postgres@{HOST}:{self.port}/postgres"

    def command(self) -> list[str]:
        """Create the cluster, the first time, and give every setting on the command line."""
        if not self.data.exists():
            self._initdb()
        settings = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.program.path), "-D", str(self.data), "-p", str(self.port), *settings]

    def answers(self, pid: int) -> bool:
        """Compare the name of the cluster it tells."""
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(self.url, connect_timeout=2) as db,
        ):
            return db.execute("SHOW cluster_name").fetchone() == (self.token,)
        return False

    def _initdb(self) -> None:
        initdb = self.program.path.with_name("initdb")
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = self._run([str(initdb), "-D", str(self.data), *options])
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise ServerError(f"initdb failed:\n{done.stdout[-2000:]}")

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            command,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
            env=self._environment(),
            user=self.user and self.user.pw_uid,
            group=self.user and self.user.pw_gid,
            extra_groups=self.user and [],
        )

    def _reachable(self) -> programs.Program:
        """Return the program, linked elsewhere when its user may not enter the checkout with it."""
        with contextlib.suppress(PermissionError):
            if self._run([str(self.program.path), "--version"]).returncode == 0:
                return self.program
        if self.program.root is None:
            raise ServerError(f"the user {self.user} may not run {self.program.path}")
        copy = self.directory / "program"
        shutil.copytree(self.program.root, copy, symlinks=True, copy_function=_link)
        copy.chmod(0o755)
        return self.program.moved_to(copy)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _unprivileged_user() -> pwd.struct_passwd:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def _mosquitto_hash(password: str) -> str:
    """Hash as mosquitto_passwd does: PBKDF2 with SHA-512, the number of rounds written beside the salt."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _claim(directory: Path) -> IO[str]:
    """Lock a file in the directory; it is free again when we end or close the file."""
    claim = (directory / "claim").open("a")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        claim.close()
        raise
    return claim


def _remove_abandoned_data() -> None:
    """Remove what servers left whose owners were killed before they could."""
    for claim in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/claim"):
        # Who has just made the directory may not have locked the file yet; neither may strangers' be touched.
        with contextlib.suppress(OSError):
            if time.time() - claim.stat().st_mtime > JUST_MADE:
                _claim(claim.parent).close()
                shutil.rmtree(claim.parent, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _exchange(port: int, request: bytes, *, enough: Callable[[bytes], bool]) -> bytes:
    """Send the request and return what comes back, until it is enough or for two seconds."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=2) as connection:
        connection.sendall(request)
        while not enough(answer) and (part := connection.recv(4096)):
            answer += part
    return answer
