"""How much one dock makes the journal grow in a day at the rate that it is allowed, without and with a limit."""

import json
import secrets
import time

import psycopg

from benchmarks.binds import BRIDGE, SETUP
from benchmarks.harness.load import BINDS, LoadClient
from benchmarks.harness.processes import environment, manage, running
from cloudapi.embedded.servers import HOST, Mosquitto, PostgreSQL

RATE = 50  # messages a second
SIZE = 8_000  # bytes of each, as many as are kept
DAY = 86_400


def run(*, seconds: int) -> None:
    """Let a dock say so many bytes for so long, twice, and print what the table takes."""
    print(f"Journal of one dock that says {RATE} messages of {SIZE} bytes a second, for {seconds} s.\n")
    for name, options in {"no limit": {"JOURNAL_BYTES_PER_DAY": "0"}, "the default": {}}.items():
        sizes = _sizes(seconds, options)
        last = (sizes[-1] - sizes[len(sizes) * 2 // 3]) / (seconds - seconds * 2 // 3)
        day = sizes[-1] + last * (DAY - seconds)
        print(f"  {name:12} {sizes[-1] / 1e6:6.1f} MB, at the end {last / 1e3:6.1f} kB/s: {day / 1e9:8.3f} GB a day")
    print()


def _sizes(seconds: int, options: dict[str, str]) -> list[int]:
    """Bytes of the table, its indexes and long texts after each second."""
    with PostgreSQL() as database, Mosquitto() as broker:
        env = environment(DATABASE_URL=database.url, MQTT_URL=broker.url, REDIS_URL="", **options)
        manage(env, "migrate", "-v0")
        manage(env, "shell", "-v0", "-c", SETUP)
        with running(BRIDGE, env, sign="Serving docks"), psycopg.connect(database.url, autocommit=True) as connection:
            client = LoadClient(HOST, broker.port, replies=BINDS)
            sizes = []
            for second in range(seconds):
                began = time.monotonic()
                client.run([_said(second * RATE + number) for number in range(RATE)], in_flight=RATE)
                row = connection.execute("SELECT pg_total_relation_size('mqtt_bridge_exchange')").fetchone()
                sizes.append(int(row[0]) if row else 0)
                time.sleep(max(0.0, 1 - (time.monotonic() - began)))
            client.close()
    return sizes


def _said(number: int) -> tuple[str, bytes]:
    """A question that a dock may ask, with what cannot be compressed."""
    data = {"padding": secrets.token_hex(SIZE // 2)}
    said = {"tid": str(number), "bid": str(number), "timestamp": 1, "method": "offline_map_get", "data": data}
    return "thing/product/TALKER1/requests", json.dumps(said).encode()
