"""`manage.py demo`: the whole server with simulated docks, in one process and from nothing."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from cloudapi.embedded import demo
from cloudapi.embedded.demo_data import DemoError
from cloudapi.embedded.programs import ProgramMissingError
from cloudapi.embedded.servers import ServerError
from cloudapi.embedded.worker import WorkerError


class Command(BaseCommand):
    help = "Run the server with simulated docks on this machine, until Ctrl-C. For trying it out, not for production."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="of the admin, on loopback")
        parser.add_argument("--docks", type=int, default=3, help="simulated docks; the last one is left unbound")
        parser.add_argument("--data", type=Path, default=demo.DATA, help="folder of its data, made if missing")

    def handle(self, *_args: object, port: int, docks: int, data: Path, **_options: object) -> None:
        try:
            demo.run(port=port, docks=docks, say=self.stdout.write, data=data)
        except (DemoError, ProgramMissingError, ServerError, WorkerError, ValueError) as error:
            raise CommandError(str(error)) from None
