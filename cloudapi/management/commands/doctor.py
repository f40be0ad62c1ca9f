"""`manage.py doctor`: whether everything that the server needs is there and set up well."""

import json
import sys
from argparse import ArgumentParser

from django.core.management.base import BaseCommand

from cloudapi.diagnosis import checks
from cloudapi.diagnosis.findings import Level

MARKS = {Level.OK: "ok", Level.NOTE: "look", Level.PROBLEM: "WRONG"}


class Command(BaseCommand):
    help = "Looks at broker, Redis, database, processes, clock, certificates and addresses. Exit status 1: it is wrong."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one list of {name, level, text, advice}")

    def handle(self, **options: object) -> None:
        found = list(checks.run())
        if options["json"]:
            self.stdout.write(json.dumps([one._asdict() for one in found], indent=1))
        else:
            for one in found:
                self.stdout.write(f"{MARKS[one.level]:5}  {one.name}: {one.text} {one.advice}".rstrip())
        if any(one.level == Level.PROBLEM for one in found):
            sys.exit(1)
