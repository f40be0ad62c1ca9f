"""How the bridge process starts: what it does without tables, and without a database."""

import os

import pytest

from tests.fork_server import Program
from tests.stack import wait_for


@pytest.fixture
def log(tmp_path):
    return tmp_path / "bridge.log"


@pytest.fixture
def start(log):
    """Start a bridge on this database; it is gone at the end."""
    started = []

    def start(database_url):
        env = os.environ | {"DATABASE_URL": database_url}
        with log.open("wb") as output:
            started.append(Program(["manage.py", "run_mqtt_bridge"], env=env, stderr=output.fileno()))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_database_without_tables_ends_it_with_what_to_do(start, log, tmp_path):
    bridge = start(f"sqlite:///{tmp_path}/empty.sqlite3")
    assert bridge.wait(timeout=60) == 1
    assert "run manage.py migrate first" in log.read_text()


def test_a_database_that_is_down_is_named_and_waited_for(start, log):
    bridge = start("postgres://nobody@127.0.0.1:1/none")
    wait_for(lambda: "Not serving" in log.read_text() or "Standing by" in log.read_text())
    assert "Not serving: DatabaseUnavailable" in log.read_text()
    bridge.terminate()
    assert bridge.wait(timeout=60) == 0
