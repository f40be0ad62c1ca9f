"""`make bench`: what is ours beside programs that do less, in one run on one machine.

Each round measures everything once, on servers of its own; what is printed are medians over the rounds and
their ratios, for absolute figures mean little on a machine with other things to do.
"""

import argparse

from benchmarks import binds, broker_auth, commands, growth, licenses, rest, retention


def main() -> None:
    """Measure what was asked for, and print it."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "--only", choices=["binds", "broker_auth", "commands", "growth", "licenses", "rest", "retention"]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=5000, help="bind requests in a round")
    parser.add_argument("--docks", type=int, default=1000, help="docks that are commanded at once")
    parser.add_argument("--commands", type=int, default=150, help="commands sent one after another in a round")
    parser.add_argument("--licenses", type=int, default=100_000, help="rows behind the list of licenses")
    parser.add_argument("--devices", type=int, default=10_000, help="rows behind the list of devices")
    parser.add_argument("--old", type=int, default=100_000, help="old rows in each table that is pruned")
    options = parser.parse_args()
    if options.only in (None, "binds"):
        binds.run(rounds=options.rounds, requests=options.requests)
    if options.only in (None, "commands"):
        commands.run(rounds=options.rounds, docks=options.docks, singles=options.commands)
    if options.only in (None, "licenses"):
        licenses.run(rounds=options.rounds, rows=options.licenses)
    if options.only in (None, "rest"):
        rest.run(rounds=options.rounds, docks=options.devices)
    if options.only in (None, "broker_auth"):
        broker_auth.run(rounds=options.rounds, docks=options.devices)
    if options.only in (None, "growth"):
        growth.run(seconds=60)
    if options.only in (None, "retention"):
        retention.run(rows=options.old, requests=1000)


if __name__ == "__main__":
    main()
