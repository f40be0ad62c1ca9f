"""A pytest plugin for runs on several workers: how many there are, what they begin with, and which tests take turns.

Some tests take turns, chosen by pytest's random seed: those that show what is lost without a protection, those of what
seldom changes, and, of tests over the wire, those on SQLite, which only the demo uses. FAULT_FULL=1 runs them all, and
so does a run without workers.
"""

import os
import re
import zlib

import pytest

TWICE = ("tests/field/", "tests/fault/")  # on PostgreSQL and on SQLite
SQLITE = re.compile(r"[\[-]sqlite[]-]")
# Those wait for servers, browsers and docks, up to a minute each: begun last, one would run on while the other workers
# have nothing left. The many short ones come after them and fill what is left evenly.
LONG = (
    "tests/browser/",
    "tests/cloudapi/embedded/test_demo.py",
    "tests/cloudapi/embedded/test_demo_ends.py",
    "tests/cloudapi/embedded/test_demo_live.py",
    "tests/cloudapi/rest/test_contract.py",
    "tests/cloudapi/rest/test_whole_story.py",
    "tests/cloudapi/test_admin_pages.py",
    "tests/cloudapi/test_celery.py",
    "tests/cloudapi/test_waiting.py",
    "tests/cloudapi/web/test_sign_in.py",
    "tests/deploy/",
    "tests/devices/admin/test_devices.py",
    "tests/devices/calls/test_commands.py",
    "tests/devices/live/",
    "tests/devices/test_consumers.py",
    "tests/devices/test_pairing.py",
    "tests/fault/",
    "tests/field/",
    "tests/licenses/admin/test_licenses.py",
    "tests/mqtt_bridge/line/test_publisher.py",
    "tests/mqtt_bridge/management/",
    "tests/mqtt_bridge/test_onboarding.py",
    "tests/test_adding_a_service.py",
    "tests/test_readme.py",
)
MOST_WORKERS = 8  # each has its servers and dozens of connections to one PostgreSQL


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Take two workers for each core with `-n auto`: most long tests wait for other processes half of their time."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return min(MOST_WORKERS, 2 * len(os.sched_getaffinity(0)))


def turns_of(item: pytest.Item) -> int:
    """Return of how many runs a test takes part in one."""
    mark = item.get_closest_marker("turns")
    on_sqlite = item.nodeid.startswith(TWICE) and SQLITE.search(item.nodeid)
    return (4 if on_sqlite else 1) * (mark.args[0] if mark else 1)


def has_its_turn(nodeid: str, turns: int, seed: int) -> bool:
    """Tell whether a test runs this time."""
    return zlib.crc32(f"{seed} {nodeid}".encode()) % turns == 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the long files, and leave out what has its turn another time."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
    if os.environ.get("FAULT_FULL") == "1":
        return
    seed = config.getoption("randomly_seed", 0)
    waiting = {item for item in items if not has_its_turn(item.nodeid, turns_of(item), seed)}
    config.hook.pytest_deselected(items=[*waiting])
    items[:] = [item for item in items if item not in waiting]
