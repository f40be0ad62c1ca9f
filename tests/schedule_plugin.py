"""A pytest plugin for runs on several workers: the tests of a module stay together, and long modules come first.

Some tests take turns, chosen by pytest's random seed: runs without a protection, tests of what seldom changes, and
tests over the wire on SQLite, which only the demo uses. FAULT_FULL=1 runs them all, and so does a run without workers.

A module makes its stack, its web server or its browser once, so it must not be spread over the workers. The modules of
`tests/field` share a stack for each worker and database, so a worker gets many of them on one database. xdist's groups
would do for that, but it writes them into the ids of tests where pytest 9.2 no longer looks: `--dist loadgroup` spreads
every test on its own. What takes longest comes first, or one worker would do it alone at the end.
"""

import os
import re
import zlib
from collections.abc import Sequence

import pytest
from xdist.scheduler import LoadScopeScheduling

FIELD = "tests/field/"
TWICE = (FIELD, "tests/fault/")  # on PostgreSQL and on SQLite
FIELD_PARTS = 2  # for each database
DATABASE = re.compile(r"[\[-](postgresql|sqlite)[]-]")
MOST_WORKERS = 8  # each has its servers and dozens of connections to one PostgreSQL
TOGETHER = ("tests/browser/",)  # they share one Chromium
APART = ("tests/browser/test_commands_end_to_end.py",)
# What takes long, in turn what keeps a core busy and what mostly waits, so that the cores have enough to do.
FIRST = (
    "tests/browser/",
    FIELD,
    "tests/browser/test_commands_end_to_end.py",
    "tests/cloudapi/rest/test_contract.py",
    "tests/devices/test_consumers.py",
    "tests/fault/test_live.py",
    "tests/fault/test_flood.py",
    "tests/cloudapi/embedded/test_demo_ends.py",
    "tests/fault/test_locks.py",
    "tests/cloudapi/test_admin_pages.py",
    "tests/devices/calls/test_commands.py",
    "tests/fault/test_redis.py",
    "tests/cloudapi/test_addresses.py",
    "tests/cloudapi/embedded/test_demo.py",
    "tests/fault/test_canary.py",
    "tests/fault/test_kill.py",
    "tests/cloudapi/test_attention.py",
    "tests/fault/test_worker.py",
    "tests/fault/test_database.py",
)
# What waits, too, but not for long: among all others, which keep a core busy.
AMONG = (
    "tests/cloudapi/test_celery.py",
    "tests/fault/test_disorder.py",
    "tests/fault/test_poison.py",
    "tests/cloudapi/embedded/test_servers.py",
    "tests/cloudapi/embedded/test_worker.py",
    "tests/fault/test_broker.py",
    "tests/fault/test_absent_dock.py",
    "tests/mqtt_bridge/line/test_publisher.py",
    "tests/fault/test_standby.py",
    "tests/cloudapi/embedded/test_demo_live.py",
    "tests/cloudapi/test_waiting.py",
    "tests/fault/test_terminate.py",
    "tests/fault/test_exit.py",
    "tests/devices/live/test_frame_sender.py",
    "tests/cloudapi/rest/test_whole_story.py",
    "tests/cloudapi/test_settings.py",
    "tests/mqtt_bridge/test_onboarding.py",
)
BEFORE_THE_END = 0.75  # of all others: by then the last of AMONG has begun


def group_of(nodeid: str) -> str:
    """Return what stays together with a test: its module, a folder, or modules of a folder on one database."""
    module, _, test = nodeid.partition("::")
    if module.startswith(FIELD):
        database = DATABASE.search(test)
        part = zlib.crc32(module.encode()) % FIELD_PARTS
        return f"{FIELD}{database[1] if database else ''}{part}"
    folders = [folder for folder in TOGETHER if module.startswith(folder) and module not in APART]
    return folders[0] if folders else module


def in_order(groups: Sequence[str]) -> list[str]:
    """Return these groups in the order in which they shall begin; those that have no place stay in theirs."""
    kinds = [FIELD if group.startswith(FIELD) else group for group in groups]
    first = sorted((FIRST.index(kind), group) for kind, group in zip(kinds, groups, strict=True) if kind in FIRST)
    among = [group for group in AMONG if group in groups]
    others = [group for kind, group in zip(kinds, groups, strict=True) if kind not in FIRST and kind not in AMONG]
    gap = max(1, int(len(others) * BEFORE_THE_END / max(1, len(among))))
    mixed = []
    for start in range(0, max(len(others), len(among) * gap), gap):
        mixed += among[start // gap : start // gap + 1] + others[start : start + gap]
    return [*(group for _, group in first), *mixed]


class Schedule(LoadScopeScheduling):
    """Hands out groups in the order in which the workers have collected them."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Take two workers for each core with `-n auto`: most long tests wait for other processes half of their time."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return min(MOST_WORKERS, 2 * len(os.sched_getaffinity(0)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Schedule | None:
    """Take the place of xdist's own groups."""
    if config.getoption("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False
    return Schedule(config, log)


def turns_of(item: pytest.Item) -> int:
    """Return of how many runs a test takes part in one."""
    on_sqlite = item.nodeid.startswith(TWICE) and (found := DATABASE.search(item.nodeid)) and found[1] == "sqlite"
    mark = item.get_closest_marker("turns")
    return (4 if on_sqlite else 1) * (mark.args[0] if mark else 1)


def has_its_turn(nodeid: str, turns: int, seed: int) -> bool:
    """Tell whether a test runs this time."""
    return zlib.crc32(f"{seed} {nodeid}".encode()) % turns == 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let long groups begin; a worker that runs alone keeps its random order, and every test."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    if os.environ.get("FAULT_FULL") != "1":
        seed = config.getoption("randomly_seed", 0)
        waiting = {item for item in items if not has_its_turn(item.nodeid, turns_of(item), seed)}
        config.hook.pytest_deselected(items=[*waiting])
        items[:] = [item for item in items if item not in waiting]
    groups = [group_of(item.nodeid) for item in items]
    places = {group: place for place, group in enumerate(in_order(list(dict.fromkeys(groups))))}
    items.sort(key=lambda item: places[group_of(item.nodeid)])
