"""Which worker runs a test."""

import itertools
import os
import re
import subprocess
import sys

import pytest

from tests.schedule_plugin import AMONG, APART, FIRST, TOGETHER, group_of, has_its_turn, in_order
from tests.stack import ROOT


@pytest.mark.parametrize("path", sorted({*TOGETHER, *APART, *FIRST, *AMONG}))
def test_what_has_a_place_exists(path):
    assert (ROOT / path.split("::")[0]).exists()


def test_pages_share_a_browser_and_a_module_keeps_its_tests():
    assert group_of("tests/browser/test_live.py::test_a") == group_of("tests/browser/test_admin.py::test_b[x]")
    assert group_of("tests/test_a.py::test_a[tests/b.py::c]") == "tests/test_a.py"
    assert group_of(f"{APART[0]}::test_a") == APART[0]


def test_modules_of_the_field_are_spread_and_stay_on_one_database():
    modules = [f"tests/field/test_{name}.py" for name in ("pairing", "clock", "words", "accounts", "binds", "release")]
    for end in ("[postgresql]", "[a-postgresql-1]", "[postgresql-b]"):
        groups = {group_of(f"{module}::test_a{end}") for module in modules}
        assert groups == {"tests/field/postgresql0", "tests/field/postgresql1"}
    assert group_of(f"{modules[0]}::test_a[x-sqlite]") != group_of(f"{modules[0]}::test_a[x-postgresql]")
    assert group_of(f"{modules[0]}::test_a") == group_of(f"{modules[0]}::test_b[x]")


def test_long_groups_begin_and_those_that_wait_are_spread_among_the_others():
    others = [f"tests/test_{number}.py" for number in range(100)]
    groups = in_order([*others, *reversed(AMONG), FIRST[3], "tests/field/sqlite0", FIRST[0]])
    assert groups[:3] == [FIRST[0], "tests/field/sqlite0", FIRST[3]]
    assert [group for group in groups if group in AMONG] == list(AMONG)
    assert [group for group in groups if group in others] == others
    places = [groups.index(group) for group in AMONG]
    assert all(after - before > 2 for before, after in itertools.pairwise(places))
    assert places[-1] < len(groups) * 0.8
    assert in_order(AMONG) == list(AMONG)


@pytest.mark.parametrize("turns", [1, 2, 6])
def test_each_test_has_its_turn(turns):
    tests = [f"tests/test_{number}.py::test_a[x]" for number in range(1000)]
    runs = [{test for test in tests if has_its_turn(test, turns, seed)} for seed in range(20 * turns)]
    assert all(0.6 < len(run) * turns / 1000 < 1.4 for run in runs)
    assert set.union(*runs) == set(tests)


def test_each_module_runs_on_one_worker(tmp_path, pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("tests.schedule_plugin")
    modules = [f"test_{name}.py" for name in "abcd"]
    for module in modules:
        (tmp_path / module).write_text("def test_1(): ...\ndef test_2(): ...\ndef test_3(): ...\n")
    # Only the plugins that matter here: with Django and all others this would take ten seconds.
    command = [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "tests.schedule_plugin"]
    command += ["-n", "2", "--dist", "loadgroup", "-v", "--rootdir", str(tmp_path)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    ran = set(re.findall(r"\[(gw\d)\].* PASSED (\S+?\.py)::", said))
    assert sorted(module for _, module in ran) == modules
    assert len({worker for worker, _ in ran}) == 2
