"""What one message of a dock costs the bridge's worker, without a broker: processor time and statements.

`python -m benchmarks.handlers --profile first_bind` prints where the time of one kind goes.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.harness.processes import ROOT, environment, manage
from cloudapi.embedded.servers import PostgreSQL


def run(*, rounds: int, devices: int, journal: int, more: Sequence[str] = ()) -> None:
    """Measure each kind of message `rounds` times on a full database and print the table."""
    with PostgreSQL() as database:
        env = environment(DATABASE_URL=database.url, MQTT_URL="mqtt://127.0.0.1", REDIS_URL="")
        manage(env, "migrate", "-v0")
        size = ["--rounds", str(rounds), "--devices", str(devices), "--journal", str(journal)]
        subprocess.run(
            [sys.executable, "-m", "benchmarks.programs.handler_work", *size, *more], cwd=ROOT, env=env, check=True
        )


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks.handlers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--devices", type=int, default=10_000, help="docks and aircraft, half of each, in the tables")
    parser.add_argument("--journal", type=int, default=100_000, help="rows of the journal in the tables")
    options, more = parser.parse_known_args()  # --kind, --profile and --alone are those of handler_work
    run(rounds=options.rounds, devices=options.devices, journal=options.journal, more=more)


if __name__ == "__main__":
    main()
