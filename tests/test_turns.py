"""Which tests run this time."""

import pytest

from tests.stack import ROOT
from tests.turns_plugin import ALONE, BUSY, SHARED, WAITING, has_its_turn, in_order, unit_of


@pytest.mark.parametrize("turns", [1, 2, 6])
def test_each_test_has_its_turn(turns):
    tests = [f"tests/test_{number}.py::test_a[x]" for number in range(1000)]
    runs = [{test for test in tests if has_its_turn(test, turns, seed)} for seed in range(20 * turns)]
    assert all(0.6 < len(run) * turns / 1000 < 1.4 for run in runs)
    assert set.union(*runs) == set(tests)


def test_the_files_to_begin_with_are_there():
    assert [name for name in (*WAITING, *BUSY, *SHARED, *ALONE) if not (ROOT / name).exists()] == []


def test_a_file_that_waits_begins_beside_one_that_keeps_a_core_busy_and_the_short_ones_come_last():
    short = ["tests/licenses/test_views.py::test_a", "tests/test_house.py::test_a"]
    waiting = [f"tests/fault/test_{name}.py::test_a" for name in "abc"]
    busy = ["tests/cloudapi/test_settings.py::test_a", "tests/devices/admin/test_calls.py::test_a"]
    files = [nodeid.split("::")[0] for nodeid in (busy[0], waiting[0], busy[1], *waiting[1:], *short)]
    assert list(in_order([*short, *waiting, *busy])) == files


def test_files_that_share_a_browser_run_on_few_workers():
    files = (ROOT / "tests/browser").glob("test_*.py")
    assert len({unit_of(f"tests/browser/{file.name}::test_a") for file in files} - {*ALONE}) == 2
