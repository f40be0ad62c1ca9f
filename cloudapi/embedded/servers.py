"""Private Mosquitto, Redis and PostgreSQL, for the demo, the tests and the benchmarks."""

import base64
import contextlib
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess

import psycopg

from cloudapi.embedded import programs
from cloudapi.embedded.lifecycle import HOST, Server, ServerError, ask

__all__ = ["HOST", "Mosquitto", "PostgreSQL", "Redis", "Server", "ServerError"]

# Of a PostgreSQL that survives everything but a power cut, and does not live long enough to be vacuumed.
QUICK = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}


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
            # Also the receive maximum of MQTT 5 publishers, 20 if not set: the broker's worst throttle.
            "max_inflight_messages 1000",
            "set_tcp_nodelay true",
            f"allow_anonymous {'false' if self.username else 'true'}",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # else it becomes a user who may not read its folder
        if self.username:
            # As mosquitto_passwd hashes: PBKDF2 with SHA-512, the number of rounds written beside the salt.
            salt = secrets.token_bytes(12)
            digest = hashlib.pbkdf2_hmac("sha512", self.password.encode(), salt, 101)
            hashed = f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
            passwords = self.directory / "passwords"
            passwords.write_text(f"{self.username}:{hashed}\n")
            passwords.chmod(0o600)
            lines.append(f"password_file {passwords}")
        if self.persistence:
            lines += ["persistence true", f"persistence_location {self.directory}/", "autosave_interval 1"]
        path = self.directory / "mosquitto.conf"
        path.write_text("\n".join([*lines, self.config, ""]))
        return [str(self.program.path), "-c", str(path)]

    def answers(self, pid: int) -> bool:
        """Look in its log whether it has its port, then for an answer to CONNECT, even a refusal."""
        if " running" not in self.log.read_text(errors="replace"):
            return False
        connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00"
        return ask(self.port, connect, enough=lambda answer: bool(answer)).startswith(b"\x20")


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
        """Compare the process id that it reports."""
        answer = ask(self.port, b"INFO server\r\n", enough=lambda answer: b"\r\nuptime_" in answer)
        return f"process_id:{pid}\r\n".encode() in answer


class PostgreSQL(Server):
    """A PostgreSQL that trusts everybody on loopback; superuser and database are called `postgres`.

    With `durable` it survives a power cut of the machine too, and is slower. `settings` are added to its configuration.
    It refuses to run as root; if we are root, it runs as `postgres` or `nobody`.
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
            try:
                self.user = pwd.getpwnam("postgres")
            except KeyError:
                self.user = pwd.getpwnam("nobody")
            os.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
            self.program = self._reachable()

    @property
    def url(self) -> str:
        """Return postgres://postgres@127.0.0.1:port/postgres."""
        return f"postgres://postgres@{HOST}:{self.port}/postgres"

    def command(self) -> list[str]:
        """Create the cluster, the first time, and give every setting on the command line."""
        if not self.data.exists():
            self.create_cluster()
        settings = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.program.path), "-D", str(self.data), "-p", str(self.port), *settings]

    def create_cluster(self) -> None:
        """Make its data directory. Raises ServerError."""
        initdb = [str(self.program.path.with_name("initdb")), "-D", str(self.data)]
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = self._run(initdb + options)
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise ServerError(f"initdb failed:\n{done.stdout[-2000:]}")

    def answers(self, pid: int) -> bool:
        """Compare the name of the cluster that it reports."""
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(self.url, connect_timeout=2) as db,
        ):
            return db.execute("SHOW cluster_name").fetchone() == (self.token,)
        return False

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            command,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
            env=self.environment(),
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
        try:
            shutil.copytree(self.program.root, copy, symlinks=True, copy_function=os.link)
        except shutil.Error:  # another file system
            shutil.rmtree(copy)
            shutil.copytree(self.program.root, copy, symlinks=True)
        copy.chmod(0o755)
        return self.program.moved_to(copy)
