"""Programs are found where they are installed, else fetched; here from an apt repository of our own."""

import hashlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloudapi.embedded import programs

needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="fetches through apt")

GREET = '#!/bin/sh\nroot=$(dirname "$0")/../..\ncat "$root/usr/lib/greeting/text.so"\n'


def package(repository, name, path, text, depends=""):
    """Add a package holding one executable file to the repository."""
    tree = repository / "trees" / name
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\n"
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
    assert not programs.runs("greet", broken)
    assert greeting(programs.fetch("greet", tmp_path / "cache")) == "hello"


@needs_apt
def test_failed_download_says_what_to_install(repository, tmp_path):
    (repository / "greet-server.deb").unlink()
    with pytest.raises(programs.ProgramMissingError, match="apt-get install greet-server"):
        programs.find("greet", cache=tmp_path / "cache")


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
