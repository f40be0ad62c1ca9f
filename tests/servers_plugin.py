"""A pytest plugin: real servers, passed to Django in the environment before it reads its settings.

A conftest.py would come too late: pytest-django loads the settings before it. PostgreSQL is started once a
run, and pytest-django makes a database in it for every worker. Redis and Mosquitto could not keep two workers
apart, so every process that runs tests gets its own; they start in 30 ms.
A server whose variable is already set is not started.
"""

import argparse
import os
from pathlib import Path

import pytest

from cloudapi.embedded import servers

ONCE_A_RUN = {"DATABASE_URL": servers.PostgreSQL}
ONCE_A_PROCESS = {"REDIS_URL": servers.Redis, "MQTT_URL": servers.Mosquitto}
WITHOUT_SERVERS = [Path("tests/mqtt_bridge/protocol")]  # nothing below needs one


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start what this process and, through the inherited environment, its workers will want."""
    os.environ.setdefault("DEBUG", "true")
    options = early_config.known_args_namespace
    if options.help or options.version or options.collectonly or _is_pure(early_config):
        return
    for variable, make in (ONCE_A_RUN if _only_hands_out(options) else ONCE_A_RUN | ONCE_A_PROCESS).items():
        if not os.environ.get(variable):
            server = make()
            early_config.add_cleanup(server.close)
            server.start()
            os.environ[variable] = server.url
            early_config.add_cleanup(lambda variable=variable: os.environ.pop(variable, None))


def _only_hands_out(options: argparse.Namespace) -> bool:
    """Tell whether this process gives all tests to workers; a worker is called with the same options."""
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    return not is_worker and bool(getattr(options, "numprocesses", None) or getattr(options, "tx", None))


def _is_pure(config: pytest.Config) -> bool:
    chosen = [Path(argument.split("::")[0]).resolve() for argument in config.known_args_namespace.file_or_dir]
    pure = [config.rootpath / folder for folder in WITHOUT_SERVERS]
    return bool(chosen) and all(any(path.is_relative_to(folder) for folder in pure) for path in chosen)
