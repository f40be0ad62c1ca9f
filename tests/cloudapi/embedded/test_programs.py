"""Programs are found where they are installed, else fetched; here from our own apt repository."""

import ctypes
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cloudapi.embedded import processes, programs
from tests.stack import wait_for

pytestmark = pytest.mark.turns(2)

needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="fetches through apt")

GREET = '#!/bin/sh\nroot=$(dirname "$0")/../..\ncat "$root/usr/lib/greeting/text.so"\n'


def package(repository, name, path, text, depends="", version="1"):
    """Add a package holding one executable file to the repository."""
    tree = repository / "trees" / name
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\n"
    control += f"Depends: {depends}\n" if depends else ""
    (tree / "DEBIAN/control").write_text(f"{control}Description: a greeting\n")
    (tree / path).parent.mkdir(parents=True)
    (tree / path).write_text(text)
    (tree / path).chmod(0o755)
    archive = repository / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", tree, archive], check=True, capture_output=True)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    with (repository / "Packages").open("a") as index:
        index.write(f"{control}Filename: ./{name}.deb\nSize: {archive.stat().st_size}\nSHA256: {digest}\n\n")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """An apt repository with the program `greet-server`, its library, and a dependency that is no library."""
    folder = tmp_path / "repository"
    folder.mkdir()
    package(folder, "greet-server", "usr/bin/greet", GREET, depends="libgreeting1, greet-manual")
    package(folder, "libgreeting1", "usr/lib/greeting/text.so", "hello")
    package(folder, "greet-manual", "usr/share/manual", "long")
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{folder} ./\n")
    settings = f'Dir::Etc::sourcelist "{tmp_path}/sources.list"; Dir::Etc::sourceparts "-";'
    (tmp_path / "apt.conf").write_text(settings)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.delenv("PROGRAMS_PATH", raising=False)
    source = programs.Source(("greet",), "usr/bin/greet", ("greet-server",), trial=(), answer="hello")
    monkeypatch.setitem(programs.SOURCES, "greet", source)
    return folder


def greeting(program):
    return subprocess.run([program.path], capture_output=True, text=True, check=False).stdout


@needs_apt
def test_missing_program_is_fetched_with_its_libraries_only(repository, tmp_path):
    program = programs.find("greet", cache=tmp_path / "cache")
    assert greeting(program) == "hello"
    assert program.env["LD_LIBRARY_PATH"].split(":")[0] == str(program.root / "usr/lib/greeting")
    assert not (program.root / "usr/share/manual").exists()


@needs_apt
def test_nothing_is_fetched_twice(repository, tmp_path):
    first = programs.find("greet", cache=tmp_path / "cache")
    shutil.rmtree(repository)
    assert programs.find("greet", cache=tmp_path / "cache") == first


@needs_apt
def test_older_tree_that_lacks_a_newer_package_is_fetched_again(repository, tmp_path, monkeypatch):
    old = programs.find("greet", cache=tmp_path / "cache")
    source = programs.SOURCES["greet"]
    newer = replace(source, packages=("greet-server", "greet-manual"), also="usr/share/manual")
    monkeypatch.setitem(programs.SOURCES, "greet", newer)
    assert programs.cached("greet", tmp_path / "cache") is None
    assert programs.find("greet", cache=tmp_path / "cache") == old
    assert (old.root / "usr/share/manual").read_text() == "long"


@needs_apt
def test_interrupted_fetch_is_begun_again(repository, tmp_path):
    half = programs._home(tmp_path / "cache") / "greet.unfinished/usr/bin/greet"
    half.parent.mkdir(parents=True)
    half.write_text("half a program")
    assert greeting(programs.find("greet", cache=tmp_path / "cache")) == "hello"


@needs_apt
def test_fetches_at_the_same_time_do_not_meet(repository, tmp_path):
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: programs.find("greet", cache=tmp_path / "cache"), range(4)))
    assert [greeting(program) for program in found] == ["hello"] * 4


@needs_apt
def test_program_that_does_not_run_is_not_kept(repository, tmp_path, monkeypatch):
    source = programs.Source(("greet",), "usr/bin/greet", ("greet-server",), trial=(), answer="good-bye")
    monkeypatch.setitem(programs.SOURCES, "greet", source)
    with pytest.raises(programs.ProgramMissingError, match="does not run on this machine"):
        programs.find("greet", cache=tmp_path / "cache")
    assert programs.cached("greet", tmp_path / "cache") is None


@needs_apt
def test_program_that_runs_no_longer_is_fetched_again(repository, tmp_path):
    broken = programs.find("greet", cache=tmp_path / "cache")
    (broken.root / "usr/lib/greeting/text.so").unlink()
    assert programs.complaint("greet", broken)
    assert greeting(programs.fetch("greet", tmp_path / "cache")) == "hello"


@needs_apt
def test_failed_download_says_in_one_line_what_to_install_and_where_the_rest_is(repository, tmp_path):
    (repository / "greet-server.deb").unlink()
    with pytest.raises(programs.ProgramMissingError, match=r"apt-get install greet-server") as failure:
        programs.find("greet", cache=tmp_path / "cache")
    assert "\n" not in str(failure.value)
    named = re.search(r"all of it in (\S+)\)", str(failure.value)).group(1)
    assert "apt-get update" in Path(named).read_text()


@needs_apt
def test_index_that_cannot_be_reached_is_named(repository, tmp_path):
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/nowhere ./\n")
    with pytest.raises(programs.ProgramMissingError, match=r"Failed to fetch file:.*/nowhere/"):
        programs.find("greet", cache=tmp_path / "cache")


@needs_apt
def test_index_that_the_mirror_has_changed_since_is_fetched_again(repository, tmp_path):
    """What the index of yesterday names is gone, and a newer version is there."""
    programs.find("greet", cache=tmp_path / "cache")
    shutil.rmtree(programs._home(tmp_path / "cache") / "greet")
    for old in (*repository.glob("greet-server.deb"), repository / "Packages"):
        old.unlink()
    shutil.rmtree(repository / "trees")
    package(repository, "greet-server", "usr/bin/greet", "#!/bin/sh\necho hello again\n", version="2")
    assert greeting(programs.find("greet", cache=tmp_path / "cache")) == "hello again\n"


@needs_apt
@pytest.mark.parametrize("command", ["update", "download"])
def test_command_that_fails_once_is_tried_again(repository, tmp_path, monkeypatch, command):
    """The first `apt-get` that does this breaks off, as with a network that comes and goes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "apt-get").write_text(
        f"""#!/bin/sh
        case "$*" in *{command}*) [ -e {tmp_path}/failed ] || {{ touch {tmp_path}/failed; exit 100; }};; esac
        exec {shutil.which("apt-get")} "$@"
        """
    )
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    assert greeting(programs.find("greet", cache=tmp_path / "cache")) == "hello"
    assert (tmp_path / "failed").exists()


@needs_apt
def test_download_that_breaks_the_package_is_tried_again(repository, tmp_path, monkeypatch):
    """What apt has checked breaks on the way to the disk: once, then no more."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dpkg-deb").write_text(
        f"""#!/bin/sh
        [ -e {tmp_path}/failed ] || {{ touch {tmp_path}/failed; truncate -s 100 "$2"; }}
        exec {shutil.which("dpkg-deb")} "$@"
        """
    )
    (folder / "dpkg-deb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    assert greeting(programs.find("greet", cache=tmp_path / "cache")) == "hello"


@needs_apt
def test_different_programs_are_fetched_side_by_side(repository, tmp_path, monkeypatch):
    names = [f"greet-{number}" for number in range(4)]
    for name in names:
        package(repository, name, f"usr/bin/{name}", "#!/bin/sh\necho hello\n")
        source = programs.Source((name,), f"usr/bin/{name}", (name,), trial=(), answer="hello")
        monkeypatch.setitem(programs.SOURCES, name, source)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda name: programs.find(name, cache=tmp_path / "cache"), names))
    assert [greeting(program) for program in found] == ["hello\n"] * 4
    logs = "".join(log.read_text() for log in programs._home(tmp_path / "cache").glob("*.log"))
    assert logs.count("$ apt-get update") == 1


def lock_file(folder, text):
    path = folder / "requirements.txt"
    path.write_text(text)
    return path


@pytest.fixture
def venv(tmp_path):
    """A virtual environment whose pip, a script, fails as often as the file `failures` says; calls are in `calls`."""
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f"""#!/bin/sh
        [ "$3" = --version ] && exit 0
        echo "$@" >> {tmp_path}/calls
        echo "WARNING: noise"
        [ $(wc -l < {tmp_path}/calls) -gt $(cat {tmp_path}/failures) ] || {{ echo "ERROR: no such thing."; exit 1; }}
        """
    )
    python.chmod(0o755)
    return tmp_path / "venv"


def test_packages_are_installed_once_and_again_when_their_lock_file_has_changed(venv, tmp_path, capfd):
    (tmp_path / "failures").write_text("0")
    for text, calls in (("a", 1), ("a", 1), ("b", 2), ("a", 3)):
        programs.install_packages(lock_file(tmp_path, text), venv, tmp_path / "cache")
        assert len((tmp_path / "calls").read_text().splitlines()) == calls
    assert capfd.readouterr() == ("", "")  # what pip says is in its log


def test_download_of_packages_that_breaks_off_is_tried_again(venv, tmp_path):
    (tmp_path / "failures").write_text("2")
    programs.install_packages(lock_file(tmp_path, "a"), venv, tmp_path / "cache")
    assert len((tmp_path / "calls").read_text().splitlines()) == 3


def test_packages_that_cannot_be_installed_are_told_in_one_line(venv, tmp_path):
    (tmp_path / "failures").write_text("99")
    with pytest.raises(programs.PackagesMissingError, match=r"^Python packages: no such thing\. Is the") as failure:
        programs.install_packages(lock_file(tmp_path, "a"), venv, tmp_path / "cache")
    assert "WARNING: noise" in (tmp_path / "cache/packages.log").read_text()
    assert str(failure.value).endswith(f"all of it is in {tmp_path}/cache/packages.log")
    with pytest.raises(programs.PackagesMissingError):  # half an installation does not count
        programs.install_packages(lock_file(tmp_path, "a"), venv, tmp_path / "cache")


def test_half_a_virtual_environment_is_made_again(tmp_path):
    requirements = lock_file(tmp_path, "")
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/python").symlink_to(sys.executable)
    (tmp_path / "venv/pyvenv.cfg").write_text("home = /nowhere\n")
    programs.install_packages(requirements, tmp_path / "venv", tmp_path / "cache")
    assert "pip" in subprocess.check_output([tmp_path / "venv/bin/python", "-m", "pip", "--version"], text=True)


def test_it_says_what_a_python_without_venv_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(programs.PackagesMissingError, match="apt-get install python3-venv"):
        programs.install_packages(lock_file(tmp_path, ""), tmp_path / "venv", tmp_path / "cache")


@pytest.mark.parametrize("thread", ["main", "another"])
def test_it_needs_no_package_and_a_signal_ends_what_it_started(tmp_path, thread):
    """As make runs it: with Python alone. The fake `apt-get` sleeps.

    To the main thread, a signal that another one gets is like one that comes just before it begins to wait.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "apt-get").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    (folder / "dpkg-deb").touch()
    for file in folder.iterdir():
        file.chmod(0o755)
    shutil.copy(programs.__file__, tmp_path / "programs.py")
    command = [sys.executable, "-I", "-S", tmp_path / "programs.py", "redis"]
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "PROGRAMS_PATH": ""}
    script = Path(programs.__file__).read_text().replace("parents[2]", "parents[0]")  # its cache is here, too
    (tmp_path / "programs.py").write_text(script)
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "redis: fetching\n"
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
        threads = sorted(int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir())
        receiver = process.pid if thread == "main" else next(other for other in threads if other != process.pid)
        assert ctypes.CDLL(None).tgkill(process.pid, receiver, signal.SIGTERM) == 0
        assert process.wait(30) == 128 + signal.SIGTERM  # the sleep alone would last for 60 s
    wait_for(lambda: not processes.is_alive(int((tmp_path / "pid").read_text())))


def test_installed_program_is_preferred(tmp_path):
    executable = tmp_path / "redis-server"
    executable.touch(0o755)
    assert programs.find("redis", search_path=str(tmp_path)) == programs.Program(executable)


def test_postgres_without_initdb_beside_it_is_passed_over(tmp_path):
    (tmp_path / "postgres").touch(0o755)
    assert programs.installed("postgresql", str(tmp_path)) is None
    (tmp_path / "initdb").touch(0o755)
    assert programs.installed("postgresql", str(tmp_path)) == programs.Program(tmp_path / "postgres")


def test_environment_can_hide_installed_programs(tmp_path, monkeypatch):
    (tmp_path / "redis-server").touch(0o755)
    monkeypatch.setenv("PROGRAMS_PATH", str(tmp_path))
    assert programs.find("redis").path == tmp_path / "redis-server"


def test_machine_without_apt_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(programs.ProgramMissingError, match=r"no apt.*apt-get install redis-server"):
        programs.find("redis", search_path="", cache=tmp_path)


def test_moved_program_takes_its_libraries_along(tmp_path):
    here = tmp_path / "here"
    program = programs.Program(here / "bin/a", {"LD_LIBRARY_PATH": f"{here}/lib{os.pathsep}/lib"}, here)
    moved = program.moved_to(tmp_path / "there")
    assert moved.path == tmp_path / "there/bin/a"
    assert moved.env == {"LD_LIBRARY_PATH": f"{tmp_path}/there/lib{os.pathsep}/lib"}
