"""What lists of licenses cost: applying one to the database, and showing many."""

import json
import subprocess
import sys

from benchmarks.harness.processes import ROOT, environment, manage
from cloudapi.embedded.servers import PostgreSQL, Redis

SIZE = 1000  # licenses in a list


def run(*, rounds: int, rows: int) -> None:
    """Measure `rounds` times in one process and print the table."""
    with PostgreSQL() as database, Redis() as redis:
        env = environment(DATABASE_URL=database.url, REDIS_URL=redis.url, MQTT_URL="mqtt://127.0.0.1")
        manage(env, "migrate", "-v0")
        manage(env, "collectstatic", "-v0", "--no-input")
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.programs.license_work", str(SIZE), str(rows), str(max(rounds, 3))],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    figures = {name: seconds * 1000 for name, seconds in json.loads(done.stdout).items()}
    print(
        f"\nA list of {SIZE:,} licenses, asked for, decoded, validated, stored with its history; processor time of our"
    )
    print(f"own, PostgreSQL; medians of {max(rounds, 3)}.\n")
    for name, words in (
        ("parse", "parse the JSON and no more"),
        ("new", "all of them new"),
        ("same", "the same as before"),
        ("switched", "all of them switched"),
        ("gone", "none of them left"),
    ):
        print(f"  {words:34} {figures[name]:8.1f} ms {figures[name] / figures['parse']:8.1f} x parsing")
    print(f"\nThe page of the list of licenses, 100 rows of {rows:,}; processor time of the web process.\n")
    ratio = figures["full page"] / figures["empty page"]
    print(f"  {'without a license':34} {figures['empty page']:8.1f} ms")
    print(f"  {f'with {rows:,}':34} {figures['full page']:8.1f} ms {ratio:8.1f} x the empty one")
