"""The Celery app, which hands commands to the workers: `celery -A cloudapi worker`, `celery -A cloudapi beat`."""

import os
import sys
from typing import Any

import django
from celery import Celery
from celery.signals import setup_logging, task_postrun, task_prerun, worker_init
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections, connections

from cloudapi.checks import check_all
from mqtt_bridge import timeouts

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")


# Workers have nothing to say to each other, and each such conversation is one more that a lost Redis can break.
QUIET = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


class App(Celery):  # type: ignore[misc]
    """Celery with quiet workers, whose programs say so if there is no Redis instead of waiting for nothing."""

    def Worker(self, **options: Any) -> Any:  # noqa: N802 - Celery's name for what makes one
        """What `celery worker` runs."""
        _may_start()
        return self.subclass_with_self("celery.apps.worker:Worker")(**options | QUIET)

    def Beat(self, **options: Any) -> Any:  # noqa: N802
        """What `celery beat` runs."""
        _may_start()
        return self.subclass_with_self("celery.apps.beat:Beat")(**options)


def _may_start() -> None:
    try:
        if not settings.REDIS_URL:
            sys.exit("REDIS_URL is not set: without it only `manage.py demo` sends commands (docs/configuration.md).")
        django.setup(set_prefix=False)
        check_all()
    except ImproperlyConfigured as error:
        sys.exit(str(error))


app = App("cloudapi")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()  # for every thread
app.autodiscover_tasks()


@setup_logging.connect  # type: ignore[untyped-decorator]
def keep_logging(**_: Any) -> None:
    """Leave logging to Django's settings: that somebody listens here keeps Celery from its own."""


@worker_init.connect  # type: ignore[untyped-decorator]
def keep_connections(**_: Any) -> None:
    """Let a worker keep its database connection, and look at it before each use.

    Celery would open one for each task (8 ms), or with CELERY_DB_REUSE_MAX keep even a broken one.
    """
    connections.settings["default"] |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    timeouts.limit(timeouts.WORKER)


@task_prerun.connect  # type: ignore[untyped-decorator]
@task_postrun.connect  # type: ignore[untyped-decorator]
def drop_broken_connections(**_: Any) -> None:
    """As Django does around a request."""
    close_old_connections()
