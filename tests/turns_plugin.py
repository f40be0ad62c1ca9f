"""A pytest plugin for runs on several workers: how many there are, what they begin with, and which tests take turns.

Some tests take turns, chosen by pytest's random seed: those that show what is lost without a protection, those of what
seldom changes, and, of tests over the wire, those on SQLite, which only the demo uses. The parameters of one test take
them one after the other, and a file whose tests share servers takes them as a whole. FAULT_FULL=1 runs them all, and so
does a run without workers.
"""

import hashlib
import os
import re
import zlib
from collections.abc import Iterable
from itertools import groupby

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

TWICE = ("tests/field/", "tests/fault/")  # on PostgreSQL and on SQLite
SQLITE = re.compile(r"[\[-]sqlite[]-]")
# Files and folders that take long, in the order in which they begin. Those of the first kind mostly wait: for docks,
# brokers and deadlines. Those of the second keep a core busy, and so do the many short files, which come after them.
WAITING = (
    "tests/test_fork_server.py",
    "tests/mqtt_bridge/management/",
    "tests/field/",
    "tests/devices/test_consumers.py",
    "tests/deploy/",
    "tests/cloudapi/test_celery.py",
    "tests/devices/calls/test_commands.py",
    "tests/fault/",
    "tests/cloudapi/test_waiting.py",
    "tests/cloudapi/embedded/test_worker.py",
    "tests/cloudapi/monitoring/test_processes.py",
    "tests/cloudapi/rest/test_hung_redis.py",
    "tests/devices/live/",
    "tests/mqtt_bridge/line/",
    "tests/cloudapi/file_jobs/test_worker.py",
    "tests/cloudapi/diagnosis/test_doctor.py",
    "tests/mqtt_bridge/simulator/",
)
BUSY = (
    "tests/browser/test_story.py",
    "tests/browser/test_commands_end_to_end.py",
    "tests/browser/",
    "tests/cloudapi/embedded/",
    "tests/test_readme.py",
    "tests/cloudapi/rest/test_contract.py",
    "tests/cloudapi/rest/test_whole_story.py",
    "tests/cloudapi/test_admin_pages.py",
    "tests/cloudapi/test_addresses.py",
    "tests/cloudapi/test_attention.py",
    "tests/cloudapi/test_settings.py",
    "tests/cloudapi/web/test_sign_in.py",
    "tests/licenses/admin/test_licenses.py",
    "tests/devices/admin/",
    "tests/devices/test_pairing.py",
    "tests/mqtt_bridge/test_onboarding.py",
    "tests/mqtt_bridge/test_bridge.py",
    "tests/mqtt_bridge/protocol/test_properties.py",
    "tests/test_adding_a_service.py",
    "tests/cloudapi/rest/test_rights.py",
    "tests/cloudapi/tables/",
    "tests/organizations/test_typed.py",
)
# Their tests share a browser, or a bridge with its broker and database, which each worker starts that has one of them.
SHARED = ("tests/browser/", "tests/field/")
SHARED_BY = 2  # workers
# These take a minute or more each, on servers of their own.
ALONE = ("tests/browser/test_commands_end_to_end.py", "tests/browser/test_story.py")
CORES = len(os.sched_getaffinity(0))
MOST_WORKERS = 8  # each has its servers and dozens of connections to one PostgreSQL


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Take two workers for each core with `-n auto`: many tests wait for other processes. More were no faster."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return min(MOST_WORKERS, 2 * CORES)


def unit_of(nodeid: str) -> str:
    """Return the name of those tests that run on the same worker: a file, or one part of a folder's files."""
    file = nodeid.split("::", 1)[0]
    for folder in SHARED:
        if file.startswith(folder) and file not in ALONE:
            return f"{folder}{zlib.crc32(file.encode()) % SHARED_BY}"
    return file


def waits(unit: str) -> bool:
    """Tell whether these tests mostly wait."""
    return unit.startswith(WAITING)


class Scheduling(LoadFileScheduling):
    """What `--dist loadfile` does, with those units; from the beginning to the end as many workers compute as there are
    cores, and the others, at least half, have tests that wait.
    """

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give a worker the next unit of the kind that too few of the others have, while there is one."""
        newest = [next(reversed(units)) for other, units in self.assigned_work.items() if units and other is not node]
        wanted = max(len(self.nodes) // 2, len(self.nodes) - CORES)
        may_wait = sum(map(waits, newest)) < wanted
        if fitting := next((unit for unit in self.workqueue if waits(unit) == may_wait), None):
            self.workqueue.move_to_end(fitting, last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Replace the one of `--dist loadfile`."""
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def turns_of(item: pytest.Item) -> int:
    """Return of how many runs a test takes part in one."""
    mark = item.get_closest_marker("turns")
    on_sqlite = item.nodeid.startswith(TWICE) and SQLITE.search(item.nodeid)
    return (4 if on_sqlite else 1) * (mark.args[0] if mark else 1)


def name_of(nodeid: str) -> str:
    """Return its name without parameters."""
    return nodeid.partition("[")[0]


def has_its_turn(nodeid: str, turns: int, seed: int, place: int = 0) -> bool:
    """Tell whether a test runs this time; `place` is its number among those of the same name: of `turns`, one runs."""
    number = hashlib.blake2b(f"{seed} {name_of(nodeid)}".encode(), digest_size=4).digest()
    return (int.from_bytes(number) + place) % turns == 0


def in_order(nodeids: Iterable[str]) -> dict[str, list[str]]:
    """Group tests into units, in the order in which they shall begin."""
    units: dict[str, list[str]] = {}
    for nodeid in nodeids:
        units.setdefault(unit_of(nodeid), []).append(nodeid)
    long = [name for place in (*WAITING, *BUSY) for name in units if name.startswith(place)]
    return {name: units[name] for name in [*long, *units]}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the long files, and leave out what has its turn another time."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    order = {name: place for place, name in enumerate(in_order(item.nodeid for item in items))}
    items.sort(key=lambda item: order[unit_of(item.nodeid)])
    if os.environ.get("FAULT_FULL") == "1":
        return
    seed = config.getoption("randomly_seed", 0)
    files = {item: mark.args[0] for item in items if (mark := item.get_closest_marker("file_turns"))}
    waiting = {one for one, turns in files.items() if not has_its_turn(one.nodeid.partition("::")[0], turns, seed)}
    for _, same in groupby(sorted(items, key=lambda item: item.nodeid), lambda item: name_of(item.nodeid)):
        waiting |= {one for place, one in enumerate(same) if not has_its_turn(one.nodeid, turns_of(one), seed, place)}
    config.hook.pytest_deselected(items=[*waiting])
    items[:] = [item for item in items if item not in waiting]
