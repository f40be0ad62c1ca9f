"""Finds Mosquitto, Redis, PostgreSQL, Caddy and Chromium; fetches what is missing through the machine's own apt.

Make runs this file alone, before any package is installed, and has it install the packages too: it imports nothing but
Python's standard library.
"""

import argparse
import contextlib
import fcntl
import hashlib
import logging
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
LISTS_ARE_FRESH = 24 * 3600  # seconds; an older index may name packages that the mirror has dropped
ATTEMPTS = 2  # of apt, with a newer index each time; it tries each file again by itself
PIP_ATTEMPTS = 3  # a download that breaks off starts again and keeps the files it has
PIP = (
    "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile", "--retries=3", "--timeout=20",
)  # fmt: skip

# The C library belongs to the machine's loader. LLVM compiles queries or shaders: 100 MB that nothing here needs.
NEVER_EXTRACTED = re.compile(r"libc6$|libc-|libllvm|libz3-|libgl1-mesa-dri$|lib.*-perl$")

# Chromium draws no letter without fonts; a bare machine has none, and no configuration that finds the fetched ones.
FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir> <dir>/usr/share/fonts</dir> <dir prefix="xdg">fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""


class ProgramMissingError(RuntimeError):
    """A program is not installed and could not be fetched; the text says what to install."""


class PackagesMissingError(RuntimeError):
    """The Python packages could not be installed; the text says what to do."""


@dataclass(frozen=True)
class Program:
    """An executable and the environment variables to add when it is run (none for an installed one)."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)
    root: Path | None = None  # of the extracted tree; None when the program is installed on the machine

    def moved_to(self, root: Path) -> "Program":
        """Return the same program in a copy of its extracted tree."""
        if self.root is None:
            return self
        env = {name: value.replace(str(self.root), str(root)) for name, value in self.env.items()}
        return Program(root / self.path.relative_to(self.root), env, root)


@dataclass(frozen=True)
class Source:
    """What a program is called, which Debian packages hold it, and how to see that it runs."""

    names: tuple[str, ...]
    extracted: str  # its place below the extracted tree, a glob
    packages: tuple[str, ...]
    trial: tuple[str, ...]  # arguments of a first run,
    answer: str  # and what that must print
    beside: tuple[str, ...] = ()  # what must lie in the same folder
    also: str = ""  # what else the extracted tree must hold: one that was fetched before that is fetched again


SOURCES = {
    "mosquitto": Source(
        ("mosquitto",), "usr/sbin/mosquitto", ("mosquitto",), trial=("-h",), answer="mosquitto version"),
    "mosquitto-clients": Source(
        ("mosquitto_pub",), "usr/bin/mosquitto_pub", ("mosquitto-clients",),
        trial=("--help",), answer="mosquitto_pub", beside=("mosquitto_sub",)),
    "redis": Source(
        ("redis-server",), "usr/bin/redis-server", ("redis-server", "redis-tools"),  # a link into the second package
        trial=("--version",), answer="Redis server"),
    "postgresql": Source(
        ("postgres",), "usr/lib/postgresql/*/bin/postgres", ("postgresql",),
        trial=("--version",), answer="PostgreSQL", beside=("initdb",)),
    "postgresql-client": Source(
        ("pg_dump",), "usr/lib/postgresql/*/bin/pg_dump", ("postgresql-client",),
        trial=("--version",), answer="PostgreSQL", beside=("psql", "pg_restore", "pg_isready")),
    "caddy": Source(("caddy",), "usr/bin/caddy", ("caddy",), trial=("help",), answer="caddy"),
    "chromium": Source(
        ("chromium-headless-shell", "chromium", "google-chrome"), "usr/lib/chromium/chromium-headless-shell",
        # The last is for Playwright's driver: run that in the program's environment, too.
        ("chromium-headless-shell", "chromium-common", "fonts-dejavu-core", "fonts-wqy-microhei", "libatomic1"),
        trial=("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--dump-dom", "about:blank"), answer="<html",
        also="usr/share/fonts/truetype/wqy"),  # Chinese letters
    # Judges alerts; 19 MB that only `make check-alerts` fetches.
    "promtool": Source(
        ("promtool",), "usr/bin/promtool", ("prometheus",), trial=("--version",), answer="promtool, version"),
}  # fmt: skip


def find(name: str, *, search_path: str | None = None, cache: Path = CACHE) -> Program:
    """Return the program `name` (a key of SOURCES), fetching it on first use.

    `search_path` is written like PATH and replaces the places where installed programs are looked for; the
    environment variable PROGRAMS_PATH does the same. Raises ProgramMissingError.
    """
    if search_path is None:
        # PATH, then the folders where Debian keeps servers, newest PostgreSQL first.
        versions = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
        newest_first = sorted(versions, key=lambda folder: float(folder.parent.name), reverse=True)
        default = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", *map(str, newest_first)])
        search_path = os.environ.get("PROGRAMS_PATH", default)
    return installed(name, search_path) or cached(name, cache) or fetch(name, cache)


def installed(name: str, search_path: str) -> Program | None:
    """Look the program up; a link is followed where other files must lie beside the real one."""
    source = SOURCES[name]
    for executable in source.names:
        if found := shutil.which(executable, path=search_path):
            path = Path(found).resolve() if source.beside else Path(found)
            if all((path.parent / other).exists() for other in source.beside):
                return Program(path)
    return None


def cached(name: str, cache: Path) -> Program | None:
    """Return the program from an earlier fetch."""
    return _extracted(name, _home(cache) / name)


def _home(cache: Path) -> Path:
    """The folder for this kind of machine: a checkout may be mounted into containers of other systems."""
    system = platform.system()
    with contextlib.suppress(OSError):
        release = platform.freedesktop_os_release()
        system = f"{release['ID']}-{release.get('VERSION_ID', 'rolling')}"
    return cache / "programs" / f"{system}-{platform.machine()}"


def _extracted(name: str, root: Path) -> Program | None:
    path = next(root.glob(SOURCES[name].extracted), None)
    if path is None or not (root / SOURCES[name].also).exists():
        return None
    libraries = sorted({str(library.parent) for library in root.rglob("*.so*")})
    env = {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, [*libraries, os.environ.get("LD_LIBRARY_PATH")]))}
    if (fonts := root / "fonts.conf").exists():
        env["FONTCONFIG_FILE"] = str(fonts)
    return Program(path, env, root)


def fetch(name: str, cache: Path) -> Program:
    """Download and extract the program's packages and the libraries that this machine lacks.

    Different programs are fetched side by side, the same one only once; an interrupted fetch leaves nothing that a
    later one would trust. Raises ProgramMissingError.
    """
    advice = f"Install it (on Debian and Ubuntu: apt-get install {' '.join(SOURCES[name].packages)}) and try again."
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise ProgramMissingError(f"{name}: it is not on PATH and this machine has no apt. {advice}")
    home = _home(cache)
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / f"{name}.lock"):
        if (program := cached(name, cache)) and not complaint(name, program):
            return program
        apt = _Apt(home / "apt", home / f"{name}.log")
        apt.log.unlink(missing_ok=True)
        for attempt in range(ATTEMPTS):
            log.info("%s: fetching%s", name, " once more, with a new index" if attempt else "")
            try:
                return _fetch_once(name, home, apt, with_new_index=attempt > 0)
            except (subprocess.SubprocessError, OSError) as error:
                reason = apt.trouble or _reason(error)
                log.info("%s: %s", name, reason)
    raise ProgramMissingError(f"{name}: fetching it failed: {reason} (all of it in {apt.log}). {advice}")


def _fetch_once(name: str, home: Path, apt: "_Apt", *, with_new_index: bool) -> Program:
    unfinished = home / f"{name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    apt.update(even_if_fresh=with_new_index)
    apt.download(SOURCES[name].packages, unfinished)
    for package in sorted(unfinished.glob("*.deb")):
        apt.run("dpkg-deb", "-x", str(package), str(unfinished))
        package.unlink()
    if (unfinished / "usr/share/fonts").exists():
        (unfinished / "fonts.conf").write_text(FONTS)
    if (program := _extracted(name, unfinished)) is None:
        raise FileNotFoundError(f"the packages do not hold {SOURCES[name].extracted} {SOURCES[name].also}".rstrip())
    if found := complaint(name, program):
        raise OSError(found)
    shutil.rmtree(home / name, ignore_errors=True)  # only now: an older tree may be in use
    unfinished.rename(home / name)
    return program.moved_to(home / name)


def _reason(error: Exception) -> str:
    """What a command complained about last, in one line."""
    lines = str(getattr(error, "stderr", None) or error).strip().splitlines()
    return next((line for line in lines if line.startswith("E: ")), lines[-1] if lines else repr(error))


@contextlib.contextmanager
def _locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, how)
        yield


def complaint(name: str, program: Program) -> str:
    """Run the program and return what is wrong, if anything: libraries of the machine that it uses may have gone."""
    result = _run([program.path, *SOURCES[name].trial], program.env, timeout=60)
    return "" if SOURCES[name].answer in result.stdout else f"it does not run on this machine: {result.stderr[-2000:]}"


def _run(
    command: Sequence[str | Path], env: Mapping[str, str], *, cwd: Path | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **env}
    return subprocess.run(command, env=env, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False)  # noqa: S603


class _Apt:
    """The machine's apt, its sources and keys, with our own lists and caches: no root needed."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder = folder
        self.log = log  # what the commands printed
        self.lock = folder / "lock"
        self.trouble = ""  # why there is no good index
        self.options = {
            "Dir::State::lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "",  # root's apt would drop to a user who may not enter the checkout
            "APT::Update::Error-Mode": "any",  # else an update that reached nothing counts as done
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::http::Timeout": "20",  # seconds without a byte
            "Acquire::https::Timeout": "20",
        }
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    def run(self, command: str, *arguments: str, cwd: Path | None = None) -> str:
        """Return what the command prints; all of it goes into the log. Raises CalledProcessError."""
        options = [f"-o{key}={value}" for key, value in self.options.items()] if command.startswith("apt") else []
        result = _run([command, *options, *arguments], {"LC_ALL": "C"}, cwd=cwd)
        with self.log.open("a") as file:
            file.write(f"$ {command} {' '.join(arguments)}\n{result.stdout}{result.stderr}")
        result.check_returncode()
        return result.stdout

    def update(self, *, even_if_fresh: bool) -> None:
        """Get the package lists, once a day or after a failure; nobody reads them during that."""
        if even_if_fresh:
            self.options["Acquire::http::No-Cache"] = "true"  # a proxy may hold what broke
        asked = time.time()
        stamp = self.folder / "updated"  # when, and what came of it
        with _locked(self.lock):
            made, outcome = (stamp.stat().st_mtime, stamp.read_text()) if stamp.exists() else (0.0, "")
            is_stale = even_if_fresh or outcome != "good" or asked - made >= LISTS_ARE_FRESH
            if is_stale and made <= asked:
                try:
                    self.run("apt-get", "update")
                    outcome = "good"
                except subprocess.CalledProcessError as error:
                    # One dead source of several is no reason to stop: the others may have what we need.
                    outcome = _reason(error)
                stamp.write_text(outcome)
            self.trouble = outcome if outcome != "good" else ""

    def download(self, packages: tuple[str, ...], folder: Path) -> None:
        """Put the packages, and of their dependencies the libraries that this machine lacks, into the folder."""
        named = set()
        with _locked(self.lock, fcntl.LOCK_SH):
            for package in packages:  # `postgresql` is an empty package that depends on the real one, `postgresql-15`
                depends = self.run("apt-cache", "depends", package)
                named.update(re.findall(rf"Depends: ({re.escape(package)}-\d+)$", depends, re.MULTILINE) or [package])
            plan = self.run("apt-get", "-s", "install", "--no-install-recommends", *sorted(named))
            missing = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
            libraries = {p for p in missing if p.startswith("lib") and not NEVER_EXTRACTED.match(p)}
            self.run("apt-get", "download", *sorted(named | libraries), cwd=folder)


def install_packages(requirements: Path, venv: Path = ROOT / ".venv", cache: Path = CACHE) -> None:
    """Install a lock file into a virtual environment, which is made unless it works. Raises PackagesMissingError.

    Does nothing if the file is installed unchanged.
    """
    installed, log_file, python = venv / "installed", cache / "packages.log", venv / "bin/python"
    held = (requirements, requirements.with_name("requirements.txt"))  # the development packages hold both
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in held]

    def succeeds(*command: str | Path) -> bool:
        with log_file.open("a") as output, contextlib.suppress(OSError):
            return subprocess.run(command, check=False, stdout=output, stderr=output).returncode == 0  # noqa: S603
        return False

    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "packages.lock"):
        if installed.exists() and digests[0] in installed.read_text().split():
            return
        log_file.unlink(missing_ok=True)
        if not succeeds(python, "-m", "pip", "--version"):
            log.info("Python packages: making the virtual environment")
            if not succeeds(sys.executable, "-m", "venv", "--clear", venv):
                raise PackagesMissingError(
                    f"{sys.executable} cannot make virtual environments. Install what it lacks (on Debian and Ubuntu: "
                    f"apt-get install python3-venv) and try again; its output is in {log_file}"
                )
        log.info("Python packages: installing")
        installed.unlink(missing_ok=True)
        if not any(succeeds(python, *PIP, "--require-hashes", "-r", requirements) for _ in range(PIP_ATTEMPTS)):
            *_, reason = "pip failed", *re.findall(r"^ERROR: (.*?)\.?$", log_file.read_text(), re.MULTILINE)
            raise PackagesMissingError(
                f"Python packages: {reason}. Is the package index reachable? Try again; all of it is in {log_file}"
            )
        installed.write_text("\n".join(digests))
        log.info("Python packages: installed")


def provide(name: str) -> None:
    """Find the program, and fetch it again if it no longer runs."""
    program = find(name)
    if program.root and complaint(name, program):
        program = fetch(name, CACHE)
    log.info("%s: %s", name, program.path)


def main() -> int:
    """Make sure that the packages and programs of the command line are there; print a line for each step."""

    def end(number: int, _frame: object) -> None:
        # With the child processes: they must not go on beside a later run, which makes half a thing whole.
        for children in Path("/proc/self/task").glob("*/children"):
            for pid in children.read_text().split():
                os.kill(int(pid), signal.SIGTERM)
        os._exit(128 + number)

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, help="a lock file to install into .venv beside that")
    parser.add_argument("programs", nargs="*", metavar="program", help=", ".join(SOURCES))
    arguments = parser.parse_args()
    if unknown := set(arguments.programs) - SOURCES.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with ThreadPoolExecutor(1 + len(SOURCES)) as threads:
        attempts = [threads.submit(install_packages, arguments.packages)] if arguments.packages else []
        attempts += [threads.submit(provide, name) for name in arguments.programs]
        # A signal wakes a thread that waits, not one that is just about to: look up now and then.
        while wait(attempts, timeout=0.5).not_done:
            pass
    errors = [error for attempt in attempts if (error := attempt.exception())]
    for error in errors:
        if not isinstance(error, ProgramMissingError | PackagesMissingError):
            raise error
        sys.stderr.write(f"{error}\n")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
