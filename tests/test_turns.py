"""Which tests run this time."""

import pytest

from tests.stack import ROOT
from tests.turns_plugin import LONG, has_its_turn


@pytest.mark.parametrize("turns", [1, 2, 6])
def test_each_test_has_its_turn(turns):
    tests = [f"tests/test_{number}.py::test_a[x]" for number in range(1000)]
    runs = [{test for test in tests if has_its_turn(test, turns, seed)} for seed in range(20 * turns)]
    assert all(0.6 < len(run) * turns / 1000 < 1.4 for run in runs)
    assert set.union(*runs) == set(tests)


def test_the_files_to_begin_with_are_there():
    assert [name for name in LONG if not (ROOT / name).exists()] == []
