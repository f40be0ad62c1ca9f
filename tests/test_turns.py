"""Which tests run this time."""

from unittest.mock import Mock

import pytest

from tests import turns_plugin
from tests.stack import ROOT
from tests.turns_plugin import ALONE, BUSY, SHARED, WAITING, Scheduling, has_its_turn, in_order, unit_of


@pytest.mark.parametrize("turns", [1, 2, 6])
def test_each_test_has_its_turn(turns):
    tests = [f"tests/test_{number}.py::test_a[x]" for number in range(1000)]
    runs = [{test for test in tests if has_its_turn(test, turns, seed)} for seed in range(20 * turns)]
    assert all(0.6 < len(run) * turns / 1000 < 1.4 for run in runs)
    assert set.union(*runs) == set(tests)


def test_of_as_many_parameters_as_turns_one_has_its_turn():
    name = "tests/test_a.py::test_a[x]"
    runs = [[place for place in range(4) if has_its_turn(name, 4, seed, place)] for seed in range(8)]
    assert [len(run) for run in runs] == [1] * 8
    assert len({place for [place] in runs}) > 1


def test_the_files_to_begin_with_are_there():
    assert [name for name in (*WAITING, *BUSY, *SHARED, *ALONE) if not (ROOT / name).exists()] == []


def test_as_many_workers_compute_as_there_are_cores_the_others_wait_and_the_short_files_come_last(monkeypatch):
    monkeypatch.setattr(turns_plugin, "CORES", 2)
    short = [f"tests/licenses/test_{name}.py::test_a" for name in ("rest", "views")]
    waiting = [f"tests/fault/test_{name}.py::test_a" for name in "abcdef"]
    busy = [f"tests/devices/admin/test_{name}.py::test_a" for name in ("calls", "map")]
    collection = [nodeid for nodeids in in_order([*short, *waiting, *busy]).values() for nodeid in nodeids]
    scheduling = Scheduling(Mock(getvalue=lambda _option: ["5*popen"]), Mock())
    workers = [Mock(shutting_down=False) for _ in range(5)]
    for worker in workers:
        scheduling.add_node(worker)
        scheduling.add_node_collection(worker, collection)
    scheduling.schedule()  # two files for each
    given = [[list(call.args[0]) for call in worker.send_runtest_some.mock_calls] for worker in workers]
    begun, next_ones = zip(*given, strict=True)
    files = [[collection[number] for [number] in numbers] for numbers in (begun, next_ones)]
    assert files == [[*waiting[:3], *busy], [*waiting[3:], *short]]


def test_files_that_share_a_browser_run_on_few_workers():
    files = (ROOT / "tests/browser").glob("test_*.py")
    assert len({unit_of(f"tests/browser/{file.name}::test_a") for file in files} - {*ALONE}) == 2
