"""A pytest plugin for runs on several workers: the tests of a module stay together, and long modules come first.

A module makes its stack, its web server or its browser once, so it must not be spread over the workers. xdist's groups
would do for that, but it writes them into the ids of tests where pytest 9.2 no longer looks: `--dist loadgroup` spreads
every test on its own. What takes longest comes first, or one worker would do it alone at the end.
"""

import os

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/browser/",)  # they share one Chromium
APART = ("tests/browser/test_commands_end_to_end.py",)
# By how long they take, which need not be exact; all others follow in random order.
FIRST = (
    "tests/cloudapi/rest/test_contract.py",
    "tests/browser/",
    "tests/browser/test_commands_end_to_end.py",
    "tests/fault/test_kill.py",
    "tests/fault/test_flood.py",
    "tests/fault/test_worker.py",
    "tests/devices/test_commands.py",
    "tests/fault/test_exit.py",
    "tests/cloudapi/test_celery.py",
    "tests/mqtt_bridge/test_onboarding.py",
    "tests/fault/test_live.py",
    "tests/cloudapi/embedded/test_servers.py",
    "tests/devices/test_consumers.py",
    "tests/cloudapi/rest/test_whole_story.py",
    "tests/fault/test_poison.py",
    "tests/fault/test_redis.py",
    "tests/fault/test_disorder.py",
    "tests/fault/test_canary.py",
    "tests/fault/test_standby.py",
    "tests/fault/test_database.py",
    "tests/cloudapi/test_settings.py",
    "tests/fault/test_terminate.py",
    "tests/fault/test_broker.py",
    "tests/fault/test_absent_dock.py",
    "tests/cloudapi/test_admin_pages.py",
    "tests/cloudapi/embedded/test_worker.py",
    "tests/cloudapi/embedded/test_demo.py",
    "tests/devices/test_sender.py",
    "tests/mqtt_bridge/test_publisher.py",
)
PLACES = {group: place for place, group in enumerate(FIRST)}


def group_of(nodeid: str) -> str:
    """Return what stays together with a test: its module, or a folder."""
    module = nodeid.split("::", 1)[0]
    folders = [folder for folder in TOGETHER if module.startswith(folder) and module not in APART]
    return folders[0] if folders else module


class Schedule(LoadScopeScheduling):
    """Hands out groups in the order in which the workers have collected them."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Schedule | None:
    """Take the place of xdist's own groups."""
    if config.getoption("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False
    return Schedule(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let long groups begin; a worker that runs alone keeps its random order."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: PLACES.get(group_of(item.nodeid), len(PLACES)))
