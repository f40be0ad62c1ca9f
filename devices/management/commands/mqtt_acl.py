"""`manage.py mqtt_acl`: keeps Mosquitto's accounts and access lists in step with our rows."""

import json
import os
import signal
import threading
from argparse import ArgumentParser
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from devices.broker import comparison, wanted
from devices.broker.keeping import Keeper, keep
from devices.broker.wanted import Broker
from mqtt_bridge.database import timeouts
from mqtt_bridge.line.connection import BrokerUnavailableError


class Command(BaseCommand):
    """Choose the brokers, then keep, compare or set up each."""

    help = "Keep the accounts and access lists of Mosquitto in step with the database until SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Without an option it runs as a service."""
        parser.add_argument("--broker", choices=[wanted.MAIN, wanted.ENROLMENT], help="only this broker")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--once", action="store_true", help="end all differences and exit")
        what.add_argument("--check", action="store_true", help="print each difference; exit status 1 if there is any")
        what.add_argument(
            "--init",
            type=Path,
            metavar="FILE",
            help="write dynamic-security.json for a fresh broker (the main one unless --broker says otherwise)",
        )

    def handle(
        self, *_args: object, broker: str | None, once: bool, check: bool, init: Path | None, **_options: object
    ) -> None:
        only = broker or (wanted.MAIN if init else None)
        try:
            chosen = [one for one in wanted.brokers() if only in (None, one.name)]
            if not chosen:
                raise CommandError("Set MQTT_ADMIN_URL (or ENROLMENT_MQTT_ADMIN_URL): mqtts://admin:password@host:port")
            if init:
                self._write(chosen[0], init)
            elif once or check:
                self._look(chosen, change=once)
            else:
                self._serve(chosen)
        except (BrokerUnavailableError, ImproperlyConfigured, ValueError) as error:
            raise CommandError(str(error)) from None

    def _write(self, broker: Broker, path: Path) -> None:
        """Never over an existing file: a running broker would write its own again, and an operator lose theirs."""
        document = wanted.complete_file(broker, wanted.wanted(broker, timezone.now()))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise CommandError(
                f"{path} is there already: stop the broker, move the file away, and try again."
            ) from None
        with os.fdopen(descriptor, "w") as file:
            json.dump(document, file)
        self.stdout.write(f"{path}: {len(document['clients'])} accounts for the {broker.name} broker")

    def _look(self, chosen: list[Broker], *, change: bool) -> None:
        left: list[object] = []
        for broker in chosen:
            found = wanted.wanted(broker, timezone.now())
            with broker.control() as control:
                has = control.read()
                differences = comparison.compare(found, has, admin=broker.admin)
                for name in comparison.foreign(found, has, admin=broker.admin):
                    self.stdout.write(f"{broker.name} broker: user {name} is not ours and is left alone")
                for difference in differences:
                    self.stdout.write(f"{broker.name} broker: {difference.text}")
                left += Keeper(broker, control).synchronize(timezone.now()) if change else differences
        if left:
            raise CommandError(f"{len(left)} differences.", returncode=1)
        self.stdout.write("The brokers are in step.")

    def _serve(self, chosen: list[Broker]) -> None:
        timeouts.limit(timeouts.WORKER)
        for broker in chosen:
            wanted.ours(broker)  # what is wrong with the settings shows at the start
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        threads = [threading.Thread(target=keep, args=(broker, stop), name=broker.name) for broker in chosen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
