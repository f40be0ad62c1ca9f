"""Finds Mosquitto, Redis, PostgreSQL and Chromium; what the machine lacks is fetched from its own apt, without root."""

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

# Packages that the loader must not see twice (the C library belongs to the machine), and big ones that only
# the compiler of queries inside PostgreSQL needs, which our private servers switch off.
NEVER_EXTRACTED = re.compile(r"libc6$|libc-|libllvm|libz3-|libgl1-mesa-dri$|lib.*-perl$|lib(pam-)?systemd")

# Chromium draws no letter without fonts; a bare machine has neither them nor a configuration that finds ours.
FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <dir prefix="xdg">fonts</dir>
  <cachedir prefix="relative">fonts-cache</cachedir>
</fontconfig>
"""


class ProgramMissingError(RuntimeError):
    """A program is neither installed nor fetchable; the text says what to install."""


@dataclass(frozen=True)
class Program:
    """An executable and the environment variables to add when it is run (empty for an installed one)."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)
    root: Path | None = None  # of the extracted tree; None when the program is installed on the machine


@dataclass(frozen=True)
class Source:
    """How a program is called, where its packages put it, and which Debian packages these are."""

    names: tuple[str, ...]
    extracted: str  # glob below the extracted tree
    packages: tuple[str, ...]
    beside: tuple[str, ...] = ()  # what must lie in the same folder


SOURCES = {
    "mosquitto": Source(("mosquitto",), "usr/sbin/mosquitto", ("mosquitto",)),
    "redis": Source(("redis-server",), "usr/bin/redis-server", ("redis-server", "redis-tools")),
    "postgresql": Source(("postgres",), "usr/lib/postgresql/*/bin/postgres", ("postgresql",), ("initdb",)),
    "chromium": Source(
        ("chromium", "google-chrome"),
        "usr/lib/chromium/chromium",
        ("chromium", "chromium-common", "fonts-dejavu-core"),
    ),
}


def find(name: str, *, search_path: str | None = None, cache: Path = CACHE) -> Program:
    """Return the program `name` (a key of SOURCES), fetching it on first use.

    `search_path` is written like PATH and replaces the places where installed programs are looked for; the
    environment variable PROGRAMS_PATH does the same. Raises ProgramMissingError.
    """
    source = SOURCES[name]
    path = search_path if search_path is not None else os.environ.get("PROGRAMS_PATH", default_search_path())
    return installed(source, path) or cached(name, cache) or fetch(name, cache)


def default_search_path() -> str:
    """PATH, then the folders where Debian keeps servers that are not meant for PATH, newest PostgreSQL first."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_major_version, reverse=True)
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", *map(str, versions)])


def _major_version(folder: Path) -> float:
    with contextlib.suppress(ValueError):
        return float(folder.parent.name)
    return 0


def installed(source: Source, search_path: str) -> Program | None:
    """Look the program up; links are followed, because PostgreSQL finds its other files from its real place."""
    for name in source.names:
        if (found := shutil.which(name, path=search_path)) is None:
            continue
        path = Path(found).resolve() if source.beside else Path(found)
        if all((path.parent / other).exists() for other in source.beside):
            return Program(path)
    return None


def cached(name: str, cache: Path) -> Program | None:
    """Return the program from an earlier fetch."""
    return _extracted(name, _home(cache) / name)


def _home(cache: Path) -> Path:
    """The folder of this machine's programs: a checkout may be mounted into containers of other systems."""
    with contextlib.suppress(OSError):
        release = platform.freedesktop_os_release()
        return cache / "programs" / f"{release['ID']}-{release.get('VERSION_ID', 'x')}-{platform.machine()}"
    return cache / "programs" / platform.machine()


def _extracted(name: str, root: Path) -> Program | None:
    path = next(root.glob(SOURCES[name].extracted), None)
    if path is None:
        return None
    libraries = sorted({str(library.parent) for library in root.rglob("*.so*")})
    inherited = os.environ.get("LD_LIBRARY_PATH")
    env = {"LD_LIBRARY_PATH": os.pathsep.join([*libraries, *([inherited] if inherited else [])])}
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
        if program := cached(name, cache):
            return program
        unfinished = home / f"{name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            _extract(_download(name, cache, unfinished), unfinished)
            if (unfinished / "usr/share/fonts").exists():
                (unfinished / "fonts.conf").write_text(FONTS)
            _check_runs(name, unfinished)
        except (subprocess.CalledProcessError, OSError) as error:
            said = getattr(error, "stderr", None) or str(error)
            raise ProgramMissingError(
                _what_to_install(name, f"fetching it failed: {said.strip()}")
            ) from error
        unfinished.rename(home / name)
    program = cached(name, cache)
    assert program is not None  # noqa: S101  (_check_runs has just run it)
    return program


def _what_to_install(name: str, reason: str) -> str:
    packages = " ".join(SOURCES[name].packages)
    return f"{name}: {reason}. Install it (on Debian and Ubuntu: apt-get install {packages}) and try again."


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(name: str, cache: Path, folder: Path) -> list[Path]:
    apt = _Apt(cache / "apt")
    apt.update()
    packages = apt.resolve(SOURCES[name].packages)
    apt.run("apt-get", "download", *packages, cwd=folder)
    return sorted(folder.glob("*.deb"))


def _extract(packages: list[Path], root: Path) -> None:
    for package in packages:
        subprocess.run(
            ["dpkg-deb", "-x", str(package), str(root)], check=True, capture_output=True, text=True
        )  # noqa: S603, S607
        package.unlink()


def _check_runs(name: str, root: Path) -> None:
    program = _extracted(name, root)
    if program is None:
        raise OSError("its packages do not hold the program")
    command = [str(program.path), "--version"]
    result = subprocess.run(  # noqa: S603
        command, env={**os.environ, **program.env}, capture_output=True, text=True, check=False, timeout=60
    )
    # Mosquitto does not know --version and exits with an error; only a failing loader matters here.
    if "shared libraries" in result.stderr or "symbol lookup" in result.stderr:
        raise OSError(result.stderr)


class _Apt:
    """The machine's apt with its own sources and keys, but lists and caches of ours: no root, no touched system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options = {
            "Dir::State::lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "",  # root's apt would drop to a user who may not enter the checkout
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }

    def run(self, *command: str, cwd: Path | None = None) -> str:
        options = [argument for key, value in self.options.items() for argument in ("-o", f"{key}={value}")]
        return subprocess.run(  # noqa: S603
            [command[0], *options, *command[1:]],
            check=True,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C"},
        ).stdout

    def update(self) -> None:
        stamp = self.folder / "updated"
        if stamp.exists() and time.time() - stamp.stat().st_mtime < LISTS_ARE_FRESH:
            return
        for part in ("lists/partial", "cache/archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        try:
            self.run("apt-get", "update")
        except subprocess.CalledProcessError as error:
            # One dead source of many is no reason to stop: the others may have what we need.
            sys.stderr.write(error.stderr)
        else:
            stamp.touch()

    def resolve(self, packages: tuple[str, ...]) -> list[str]:
        """Return the packages themselves and those of their dependencies that are libraries and missing here."""
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
    """Make sure that the named programs are there; one line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="+", choices=sorted(SOURCES), metavar="program")
    for name in parser.parse_args().programs:
        try:
            sys.stdout.write(f"{name}: {find(name).path}\n")
        except ProgramMissingError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
