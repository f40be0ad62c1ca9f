"""Simulated docks for any broker, until SIGTERM or Ctrl-C."""

import asyncio
from argparse import ArgumentParser, BooleanOptionalAction
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from mqtt_bridge import router
from mqtt_bridge.line.tls import Certificates, build_context
from mqtt_bridge.simulator import commands
from mqtt_bridge.simulator.dock import Dock, Options, Step
from mqtt_bridge.simulator.faults import FAULTS
from mqtt_bridge.simulator.fleet import CredentialsFile, Fleet, run_until_signal
from mqtt_bridge.simulator.habits import HABITS
from mqtt_bridge.simulator.misbehaviour import MISBEHAVIOURS


class Command(BaseCommand):
    help = "Runs docks that bind themselves to an organization and then report, until SIGTERM or Ctrl-C."
    requires_system_checks = ()  # docks need nothing of the server, not even its database

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--count", type=int, default=1, help="docks, each with its aircraft")
        add("--mqtt-url", required=True, help="mqtt://user:password@host:port, or mqtts://")
        add(
            "--credentials",
            metavar="FILE",
            default="",
            help="the docks' own accounts: CSV with the columns sn, username and password, read again while docks wait",
        )
        add(
            "--enrolment-url",
            default="",
            help="where docks without an account in --credentials go first, with the account that they share",
        )
        add("--ca-file", default="", help="for mqtts://: the broker's authority; the system's if left out")
        add("--client-cert-file", default="", help="for a broker that wants one; all docks use it")
        add("--client-key-file", default="", help="left out: the key is in the file of the certificate")
        add("--organization-id", default="", help="what a technician types into Pilot 2")
        add("--binding-code", default="", help="what a technician types into Pilot 2")
        add("--sn-prefix", default="SIMDOCK", help="five digits follow; the aircraft's ends in A")
        add(
            "--aircraft",
            dest="aircraft_on",
            action=BooleanOptionalAction,
            help="keep it on, or off; else it is on for the onboarding, then off, and on for a minute in ten",
        )
        add("--rate", type=float, default=0.5, help="osd beats per second of each device; 0 for none")
        add("--misbehave", action="append", default=[], choices=MISBEHAVIOURS)
        faults = "; ".join(f"{name}: {about}" for name, about in FAULTS.items())
        add(
            "--fault",
            dest="faults",
            metavar="NAME",
            action="append",
            default=[],
            help=f"of answers to commands; {faults}",
        )
        habits = "; ".join(f"{name}: {about}" for name, about in HABITS.items())
        add("--habit", dest="habits", metavar="NAME", action="append", default=[], help=f"of real docks; {habits}")
        add("--exit-when-onboarded", action="store_true", help="fail if a dock does not get there")
        add("--timeout", type=float, default=60.0, help="seconds, for --exit-when-onboarded")

    def handle(self, *_args: object, **options: Any) -> None:
        def print_step(dock: Dock, step: Step) -> None:
            self.stdout.write(f"{dock.sn} {step.name} {step.outcome} {step.detail}".rstrip())
            self.stdout.flush()  # a pipe would get it in blocks

        routes = getattr(settings, "MQTT_ROUTES", None)
        if routes:  # without a server's settings docks have the simulator's own services
            commands.learn(router.tables(routes).SIMULATED)
        certificates = Certificates(options["ca_file"], options["client_cert_file"], options["client_key_file"])
        url, credentials = options["mqtt_url"], options["credentials"]
        try:
            build_context(certificates)
            fleet = Fleet(
                count=options["count"],
                mqtt_url=url,
                enrolment_url=options["enrolment_url"],
                credentials=CredentialsFile(credentials, url) if credentials else None,
                organization_id=options["organization_id"],
                binding_code=options["binding_code"],
                sn_prefix=options["sn_prefix"],
                aircraft_on=options["aircraft_on"],
                misbehave=options["misbehave"],
                faults=options["faults"],
                habits=options["habits"],
                options=Options(osd_rate=options["rate"], certificates=certificates),
                on_step=print_step,
            )
        except (ValueError, OSError) as error:
            raise CommandError(str(error)) from error
        within = options["timeout"] if options["exit_when_onboarded"] else None
        onboarded = asyncio.run(run_until_signal(fleet, onboarded_within=within))
        self.stdout.write("\n".join(fleet.report()))
        if within is not None and not onboarded:
            raise CommandError("Not all docks were onboarded.")
