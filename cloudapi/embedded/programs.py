"""Finds Mosquitto, Redis, PostgreSQL and Chromium; fetches what is missing through the machine's own apt."""

import argparse
import contextlib
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache"
LISTS_ARE_FRESH = 24 * 3600  # seconds; an older index may name packages that the mirror has dropped

# The C library belongs to the machine's loader. LLVM compiles queries or shaders, 100 MB we can do without.
NEVER_EXTRACTED = re.compile(r"libc6$|libc-|libllvm|libz3-|libgl1-mesa-dri$|lib.*-perl$")

# Chromium draws no letter without fonts; a bare machine has neither them nor a configuration that finds ours.
FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <dir prefix="xdg">fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""


class ProgramMissingError(RuntimeError):
    """A program is neither installed nor could it be fetched; the text says what to install."""


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
    """How a program is called, which Debian packages hold it, and how to see that it runs."""

    names: tuple[str, ...]
    extracted: str  # its place below the extracted tree, a glob
    packages: tuple[str, ...]
    trial: tuple[str, ...]  # arguments of a first run,
    answer: str  # and what that must print
    beside: tuple[str, ...] = ()  # what must lie in the same folder


SOURCES = {
    "mosquitto": Source(
        names=("mosquitto",),
        extracted="usr/sbin/mosquitto",
        packages=("mosquitto",),
        trial=("-h",),
        answer="mosquitto version",
    ),
    "mosquitto-clients": Source(
        names=("mosquitto_pub",),
        extracted="usr/bin/mosquitto_pub",
        packages=("mosquitto-clients",),
        trial=("--help",),
        answer="mosquitto_pub",
        beside=("mosquitto_sub",),
    ),
    "redis": Source(
        names=("redis-server",),
        extracted="usr/bin/redis-server",
        packages=("redis-server", "redis-tools"),  # the first holds a link into the second
        trial=("--version",),
        answer="Redis server",
    ),
    "postgresql": Source(
        names=("postgres",),
        extracted="usr/lib/postgresql/*/bin/postgres",
        packages=("postgresql",),
        trial=("--version",),
        answer="PostgreSQL",
        beside=("initdb",),
    ),
    "chromium": Source(
        names=("chromium", "google-chrome"),
        extracted="usr/lib/chromium/chromium",
        # The last is for Playwright's driver: run that in the program's environment, too.
        packages=("chromium", "chromium-common", "fonts-dejavu-core", "libatomic1"),
        trial=("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--dump-dom", "about:blank"),
        answer="<html",
    ),
}


def find(name: str, *, search_path: str | None = None, cache: Path = CACHE) -> Program:
    """Return the program `name` (a key of SOURCES), fetching it on first use.

    `search_path` is written like PATH and replaces the places where installed programs are looked for; the
    environment variable PROGRAMS_PATH does the same. Raises ProgramMissingError.
    """
    path = search_path if search_path is not None else os.environ.get("PROGRAMS_PATH", default_search_path())
    return installed(name, path) or cached(name, cache) or fetch(name, cache)


def default_search_path() -> str:
    """Return PATH, then the folders where Debian keeps servers, newest PostgreSQL first."""
    versions = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=_major_version, reverse=True)
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", *map(str, versions)])


def _major_version(folder: Path) -> float:
    return float(folder.parent.name)


def installed(name: str, search_path: str) -> Program | None:
    """Look the program up; a link is followed where other files must lie beside the real one."""
    source = SOURCES[name]
    for executable in source.names:
        if (found := shutil.which(executable, path=search_path)) is None:
            continue
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
    if path is None:
        return None
    libraries = sorted({str(library.parent) for library in root.rglob("*.so*")})
    inherited = [os.environ["LD_LIBRARY_PATH"]] if os.environ.get("LD_LIBRARY_PATH") else []
    env = {"LD_LIBRARY_PATH": os.pathsep.join(libraries + inherited)}
    if (fonts := root / "fonts.conf").exists():
        env["FONTCONFIG_FILE"] = str(fonts)
    return Program(path, env, root)


def fetch(name: str, cache: Path) -> Program:
    """Download and extract the program's packages and the libraries that this machine lacks.

    One process fetches at a time; a fetch that was interrupted leaves nothing that a later one would believe.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise ProgramMissingError(_what_to_install(name, "it is not on PATH and this machine has no apt"))
    home = _home(cache)
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / "lock"):
        if (program := cached(name, cache)) and runs(name, program):
            return program
        unfinished = home / f"{name}.unfinished"
        for folder in (unfinished, home / name):
            shutil.rmtree(folder, ignore_errors=True)
        unfinished.mkdir()
        try:
            _download(name, _Apt(home / "apt"), unfinished)
            _extract(unfinished)
            if complaint := _complaint(name, _existing(name, unfinished)):
                raise OSError(complaint)
        except (subprocess.SubprocessError, OSError) as error:
            reason = str(getattr(error, "stderr", None) or error).strip()
            raise ProgramMissingError(_what_to_install(name, f"fetching it failed: {reason}")) from error
        unfinished.rename(home / name)
        return _existing(name, home / name)


def _what_to_install(name: str, reason: str) -> str:
    packages = " ".join(SOURCES[name].packages)
    return f"{name}: {reason}. Install it (on Debian and Ubuntu: apt-get install {packages}) and try again."


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(name: str, apt: "_Apt", folder: Path) -> None:
    apt.update()
    apt.run("apt-get", "download", *apt.resolve(SOURCES[name].packages), cwd=folder)


def _extract(folder: Path) -> None:
    for package in sorted(folder.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(folder)])
        package.unlink()
    if (folder / "usr/share/fonts").exists():
        (folder / "fonts.conf").write_text(FONTS)


def _existing(name: str, root: Path) -> Program:
    if (program := _extracted(name, root)) is None:
        raise FileNotFoundError(f"the packages do not hold {SOURCES[name].extracted}")
    return program


def runs(name: str, program: Program) -> bool:
    """Try it out: libraries of the machine that a fetched program counts on may be gone."""
    return not _complaint(name, program)


def _complaint(name: str, program: Program) -> str:
    source = SOURCES[name]
    result = subprocess.run(  # noqa: S603
        [program.path, *source.trial],
        env={**os.environ, **program.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if source.answer in result.stdout:
        return ""
    return f"it does not run on this machine: {result.stderr[-2000:]}"


def _run(command: list[str], cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd, env=environment)  # noqa: S603
    return result.stdout


class _Apt:
    """The machine's apt, its sources and keys, with lists and caches of ours: no root needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options = {
            "Dir::State::lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "",  # root's apt would drop to a user who may not enter the checkout
            "APT::Update::Error-Mode": "any",  # else an update that reached nothing counts as done
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }

    def run(self, command: str, *arguments: str, cwd: Path | None = None) -> str:
        options = [option for key, value in self.options.items() for option in ("-o", f"{key}={value}")]
        return _run([command, *options, *arguments], cwd)

    def update(self) -> None:
        """Get the package lists, once a day."""
        stamp = self.folder / "updated"
        if stamp.exists() and time.time() - stamp.stat().st_mtime < LISTS_ARE_FRESH:
            return
        for part in ("lists/partial", "cache/archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        try:
            self.run("apt-get", "update")
        except subprocess.CalledProcessError as error:
            # One dead source of several is no reason to stop: the others may have what we need.
            sys.stderr.write(error.stderr)
        else:
            stamp.touch()

    def resolve(self, packages: tuple[str, ...]) -> list[str]:
        """Return the packages, and of their dependencies the libraries that this machine lacks."""
        named = {actual for package in packages for actual in self._versioned(package)}
        plan = self.run("apt-get", "-s", "install", "--no-install-recommends", *sorted(named))
        missing = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
        libraries = {p for p in missing if p.startswith("lib") and not NEVER_EXTRACTED.match(p)}
        return sorted(named | libraries)

    def _versioned(self, package: str) -> list[str]:
        """`postgresql` is an empty package that depends on the real one, `postgresql-15`."""
        depends = self.run("apt-cache", "depends", package)
        return re.findall(rf"Depends: ({re.escape(package)}-\d+)$", depends, re.MULTILINE) or [package]


def main() -> int:
    """Make sure that the named programs are there and run; print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="+", choices=sorted(SOURCES), metavar="program")
    for name in parser.parse_args().programs:
        try:
            program = find(name)
            if program.root and not runs(name, program):
                program = fetch(name, CACHE)
            sys.stdout.write(f"{name}: {program.path}\n")
        except ProgramMissingError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
