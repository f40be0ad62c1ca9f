"""How the bridge process starts: what it does without tables, and without a database."""

import os
import subprocess
import sys

import pytest

from tests.stack import ROOT


@pytest.fixture
def start():
    """Start a bridge on this database; it is gone at the end."""
    started = []

    def start(database_url):
        command = [sys.executable, "manage.py", "run_mqtt_bridge"]
        env = os.environ | {"DATABASE_URL": database_url}
        process = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_database_without_tables_ends_it_with_what_to_do(start, tmp_path):
    bridge = start(f"sqlite:///{tmp_path}/empty.sqlite3")
    _, said = bridge.communicate(timeout=60)
    assert "run manage.py migrate first" in said
    assert bridge.returncode == 1


def test_a_database_that_is_down_is_named_and_waited_for(start):
    bridge = start("postgres://nobody@127.0.0.1:1/none")
    said = next(line for line in bridge.stderr if "Not serving" in line or "Standing by" in line)
    assert "Not serving: DatabaseUnavailable" in said
    bridge.terminate()
    assert bridge.wait(timeout=60) == 0
