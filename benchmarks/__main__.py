"""`make bench`: the server beside programs that do less, in one run on one machine.

Each round measures every contender once, on fresh servers, in turn. The tables show medians over the rounds, their
spread, and ratios, because absolute figures mean little on a busy machine. The exit status is 1 if a row is below its
bar.
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Iterable

from benchmarks import (
    binds,
    broker_auth,
    commands,
    growth,
    handlers,
    licenses,
    pages,
    rest,
    retention,
    sizes,
    storm,
    telemetry,
)
from benchmarks.harness import documents, report
from benchmarks.harness.report import Row

Options = argparse.Namespace
# Title, and what runs it. A benchmark returns its rows; one without a bar may print its own table and return nothing.
BENCHMARKS: dict[str, tuple[str, Callable[[Options], Iterable[Row] | None]]] = {
    "binds": (
        "Requests of docks, 500 in flight at QoS 1, PostgreSQL, journal on",
        lambda one: binds.run(rounds=one.rounds, requests=one.requests, journal=one.journal),
    ),
    "storm": (
        "A whole fleet comes back at once",
        lambda one: storm.run(docks=one.docks or 10_000, rounds=one.rounds, journal=one.journal),
    ),
    "storm_emqx": (
        "A whole fleet comes back at once, and EMQX asks the server about each dock",
        lambda one: storm.run_with_emqx(docks=one.docks or 10_000, journal=one.journal),
    ),
    "telemetry": (
        "Telemetry of a fleet, two frames of 1.5 kB a device every two seconds",
        lambda one: telemetry.run(devices=one.devices, seconds=one.seconds, journal=one.journal),
    ),
    "commands": (
        "Commands",
        lambda one: commands.run(rounds=one.rounds, docks=one.docks or 1000, singles=one.commands),
    ),
    "handlers": (
        "Work of the bridge",
        lambda one: handlers.run(rounds=2 * one.rounds + 1, devices=one.devices, journal=one.journal),
    ),
    "licenses": ("Licenses", lambda one: licenses.run(rounds=one.rounds, rows=one.licenses)),
    "pages": (
        "Pages and lists, processor time",
        lambda one: pages.run(scale=one.scale, people=one.people, database_url=one.database_url),
    ),
    "rest": ("REST", lambda one: rest.run(rounds=one.rounds, docks=one.devices)),
    "broker_auth": ("EMQX asks the server", lambda one: broker_auth.run(rounds=one.rounds, docks=one.devices)),
    "sizes": (
        "100, 1,000 and 10,000 docks in the tables",
        lambda one: sizes.run(requests=one.requests, largest=one.docks or 10_000),
    ),
    "growth": ("Growth", lambda one: growth.run(seconds=5 if one.quick else 60)),
    "retention": ("Retention", lambda one: retention.run(rows=one.old, requests=1000)),
}
QUICK = {
    "journal": 5000,
    "rounds": 1,
    "requests": 1000,
    "docks": 200,
    "commands": 30,
    "licenses": 5000,
    "devices": 500,
    "seconds": 5,
    "old": 5000,
    "scale": 0.03,
}


def main() -> None:
    """Run the benchmarks, print their tables, and exit with 1 if a row is below its bar."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="may be given more than once")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: a look in a minute or two")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=5000, help="requests of each kind in a round")
    parser.add_argument("--journal", type=int, default=100_000, help="journal rows before docks ask")
    parser.add_argument("--docks", type=int, help="docks that come back, or are commanded, at once")
    parser.add_argument("--commands", type=int, default=150, help="commands sent one after another in a round")
    parser.add_argument("--licenses", type=int, default=100_000, help="rows behind the list of licenses")
    parser.add_argument("--devices", type=int, default=10_000, help="rows behind the list of devices")
    parser.add_argument("--scale", type=float, default=1, help="pages: 1 is 10,000 docks and a million calls")
    parser.add_argument("--people", default="staff,small,large,three,forty", help="pages: who visits them")
    parser.add_argument("--database-url", default="", help="pages: a PostgreSQL to fill once and to use again")
    parser.add_argument("--seconds", type=float, default=30, help="of telemetry")
    parser.add_argument("--old", type=int, default=100_000, help="old rows in each table that is pruned")
    if "--quick" in sys.argv:
        parser.set_defaults(**QUICK)
    parser.add_argument("--write-docs", action="store_true", help="write the figures into docs/performance.md")
    options = parser.parse_args()
    below, failed = 0, []
    for name in options.only or BENCHMARKS:
        title, run = BENCHMARKS[name]
        state = report.state_of_machine() | {"quick": options.quick}
        try:
            rows = list(run(options) or ())
        except Exception:  # the others run all the same
            traceback.print_exc()
            failed.append(name)
            continue
        if rows:
            report.print_rows(title, rows)
            report.keep(name, title, rows, state)
            below += sum(row.verdict == "below" for row in rows)
    if options.write_docs:
        documents.write()
    sys.exit(f"{below} rows are below their bar; failed: {', '.join(failed) or 'none'}" if below or failed else 0)


if __name__ == "__main__":
    main()
