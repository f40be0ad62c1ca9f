"""What Celery's worker and beat do when they start, and around each task."""

import gc
import logging
import sys
from typing import Protocol

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections, connections

from cloudapi.checks import check_all
from cloudapi.monitoring.processes import own_collectors
from mqtt_bridge.database import timeouts
from mqtt_bridge.monitoring import exposition, log_fields


class Worker(Protocol):
    """Celery's worker, as far as it matters here."""

    options: dict[str, object]  # it reads them when it connects to Redis


def check_settings(**_: object) -> None:
    """End the program with status 1 and a message if there is no Redis, or if a check of the settings fails."""
    if not settings.COMMANDS_AVAILABLE:
        sys.exit("REDIS_URL is not set: without it only `manage.py demo` sends commands (docs/configuration.md).")
    try:
        check_all()
    except ImproperlyConfigured as error:
        sys.exit(str(error))


def prepare(sender: Worker, **_: object) -> None:
    """Make the worker quiet, and let it keep its database connection, which it checks before each use.

    Workers have nothing to say to each other, and each such conversation is one more that a lost Redis can break.
    Celery would open a connection for each task (8 ms), or with CELERY_DB_REUSE_MAX keep even a broken one.
    """
    # A command passes the interpreter's lock on its way from the task to paho's thread, while the thread that sends
    # frames to browsers may hold it for so long each time (seconds; 0.005 if not set). Children inherit that.
    sys.setswitchinterval(0.0005)
    sender.options |= {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
    connections.settings["default"] |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    timeouts.limit(timeouts.WORKER)
    log_fields.name_process("worker")
    exposition.serve(settings.WORKER_METRICS_ADDRESS, own_collectors())
    gc.freeze()  # as the web process (cloudapi/asgi.py); and what is not looked at, its children share


def name_beat(**_: object) -> None:
    """Let the log say that this is beat."""
    log_fields.name_process("beat")


def drop_broken_connections(**_: object) -> None:
    """As Django does around a request."""
    close_old_connections()


def leave_logging(**_: object) -> None:
    """Leave logging to Django's settings: Celery sets up its own unless this signal has a receiver."""


class FirstLine(logging.Filter):
    """Cuts each record to its first line: beat logs a lost Redis with a hundred lines of stack, at every turn."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and let it pass."""
        record.msg, record.args, record.exc_info = record.getMessage().partition("\n")[0], (), None
        return True
