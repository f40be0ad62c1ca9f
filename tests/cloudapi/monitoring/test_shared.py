"""The folder in which processes keep the figures that they share."""

import os

import pytest

from cloudapi.monitoring.shared import VARIABLE, share_with_siblings, shared_folder
from tests import fork_server


@pytest.fixture(autouse=True)
def variable(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")  # is put back at the end
    monkeypatch.delenv(VARIABLE)


def test_siblings_use_the_folder_that_the_first_of_them_made(tmp_path):
    for _ in range(2):
        share_with_siblings(tmp_path / "figures")
        assert os.environ.pop(VARIABLE) == str(tmp_path / "figures")
    assert (tmp_path / "figures").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_somebody_else_put_there_is_not_used(tmp_path, kind):
    place = tmp_path / "figures"
    place.symlink_to(tmp_path) if kind == "link" else place.touch()
    share_with_siblings(place)
    assert VARIABLE not in os.environ
    assert shared_folder() is None


def test_present_state_of_a_process_that_is_gone_is_forgotten_and_its_counts_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    gone = 2**22 + 1  # more than any process has
    for name in (f"gauge_livesum_{gone}.db", f"gauge_livesum_{os.getpid()}.db", f"counter_{gone}.db"):
        (tmp_path / name).touch()
    assert shared_folder() == tmp_path
    assert {file.name for file in tmp_path.iterdir()} == {f"gauge_livesum_{os.getpid()}.db", f"counter_{gone}.db"}


def test_nothing_else_shares_figures():
    script = f"import cloudapi, os; print(os.environ.get({VARIABLE!r}))"
    done = fork_server.run(["-c", script, "worker"], env=os.environ | {"WORKER_METRICS_ADDRESS": "127.0.0.1:0"})
    assert done.stdout == "None\n"
