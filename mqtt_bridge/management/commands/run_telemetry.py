"""`manage.py run_telemetry`: takes a share of the telemetry from the bridge."""

import signal
import sys
import threading

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from prometheus_client import REGISTRY

from mqtt_bridge import telemetry
from mqtt_bridge.database import timeouts
from mqtt_bridge.line.client import parse_url
from mqtt_bridge.monitoring import exposition, log_fields
from mqtt_bridge.monitoring.metrics import BRIDGE


class Command(BaseCommand):
    """Run until SIGTERM or SIGINT, exit 0."""

    help = "Write what docks measure: any number of these share it with the bridge, until SIGTERM."
    requires_system_checks = ()  # they would import all pages

    def handle(self, *_args: object, **_options: object) -> None:
        log_fields.name_process("telemetry")
        sys.setswitchinterval(0.0005)  # as in the bridge
        connections.settings["default"]["CONN_MAX_AGE"] = None
        timeouts.limit(timeouts.BRIDGE, name=timeouts.TELEMETRY_NAME)
        try:
            address = parse_url(settings.MQTT_URL, settings.MQTT_CERTIFICATES)
        except ValueError as error:
            raise CommandError(str(error)) from None
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        exposition.serve(settings.TELEMETRY_METRICS_ADDRESS, [REGISTRY, BRIDGE])
        telemetry.run(address, client_id=settings.MQTT_CLIENT_ID, stop=stop)
