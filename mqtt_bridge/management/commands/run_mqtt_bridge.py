"""`manage.py run_mqtt_bridge`: the process between the broker and the database."""

import gc
import signal
import sys

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError, connections
from django.db.migrations.executor import MigrationExecutor
from prometheus_client import REGISTRY

from mqtt_bridge.bridge import Bridge
from mqtt_bridge.checks import MQTT
from mqtt_bridge.database import timeouts
from mqtt_bridge.monitoring import exposition, log_fields
from mqtt_bridge.monitoring.metrics import BRIDGE


class Command(BaseCommand):
    """Look at the database, build the bridge, run it until SIGTERM or SIGINT, exit 0."""

    help = "Answer docks: bridge MQTT and the database until SIGTERM. Start a second one as a stand-by."
    requires_system_checks = (MQTT,)  # the others would import all pages

    def handle(self, *_args: object, **_options: object) -> None:
        log_fields.name_process("bridge")
        # What the broker sends passes the interpreter's lock several times, and the thread that handles a batch may
        # hold it for so long each time (seconds; 0.005 if not set).
        sys.setswitchinterval(0.0005)
        connections.settings["default"]["CONN_MAX_AGE"] = None  # opening one costs 8 ms per batch
        timeouts.limit(timeouts.BRIDGE)
        try:
            executor = MigrationExecutor(connections["default"])
            if executor.migration_plan(executor.loader.graph.leaf_nodes()):
                raise CommandError("The database lacks migrations: run manage.py migrate first.")
        except (DatabaseError, InterfaceError):
            pass  # it does not answer: the bridge waits for it
        finally:
            connections["default"].close()
        try:
            bridge = Bridge(url=settings.MQTT_URL, client_id=settings.MQTT_CLIENT_ID)
        except ValueError as error:
            raise CommandError(str(error)) from None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: bridge.stop())
        exposition.serve(settings.BRIDGE_METRICS_ADDRESS, [REGISTRY, BRIDGE])
        gc.freeze()  # as the web process (cloudapi/asgi.py): no dock waits a tenth of a second for the collector
        bridge.run()
