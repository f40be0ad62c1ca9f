"""What `benchmarks/handlers.py` runs against a database of its own."""

import argparse
import cProfile
import gc
import json
import pstats
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, cycle
from statistics import median
from typing import Any, NamedTuple

import django

django.setup()

from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from devices.models import Device, DeviceState, Pairing  # noqa: E402
from mqtt_bridge import dispatch, journal  # noqa: E402
from mqtt_bridge.database import bulk  # noqa: E402
from mqtt_bridge.line.inbox import Delivery  # noqa: E402
from mqtt_bridge.models import Exchange  # noqa: E402
from organizations.models import BindingCode, Organization  # noqa: E402

BATCH = 256  # the bridge's
ALONE = 20  # messages of a round, one after another
ORGANIZATIONS = 20
PROPERTIES = {f"property_{number:03}": number + 0.123456 for number in range(125)}  # 3 kB as JSON
LICENSE = "7Tn2" * 86  # about as long as DJI's


class Dock(NamedTuple):
    """A dock with its aircraft, and what was typed in to bind them."""

    sn: str
    organization_id: str
    code: str

    @property
    def aircraft_sn(self) -> str:
        return f"{self.sn}A"


class World:
    """The rows that are there before anything is measured: docks of twenty organizations, each with an aircraft."""

    def __init__(self, *, devices: int, rows: int) -> None:
        self.organizations: list[tuple[str, str]] = []  # id and code
        pairs: list[tuple[Organization, BindingCode]] = []
        for number in range(ORGANIZATIONS):
            organization = Organization.objects.create(
                name=f"Organization {number}", device_limit=1_000_000, app_id="1", app_key=LICENSE, app_license=LICENSE
            )
            code, plain = BindingCode.objects.issue(organization=organization, expires_at=None)
            pairs.append((organization, code))
            self.organizations.append((organization.organization_id, plain))
        self.bound = [self._dock(f"BENCH{number:06}", number) for number in range(devices // 2)]
        filled = [(dock, *pairs[number % ORGANIZATIONS]) for number, dock in enumerate(self.bound)]
        for start in range(0, len(filled), 2500):
            self._fill(filled[start : start + 2500])
        self._fill_journal(rows)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        self._next_new = count()
        self._next_bound = cycle(self.bound)

    def _dock(self, sn: str, number: int) -> Dock:
        return Dock(sn, *self.organizations[number % ORGANIZATIONS])

    def _fill(self, docks: Sequence[tuple[Dock, Organization, BindingCode]]) -> None:
        now = timezone.now()
        rows, aircraft = [], []
        for dock, owner, code in docks:
            given: dict[str, Any] = {"organization": owner, "bound_at": now, "bound_with": code}
            rows.append(Device(sn=dock.sn, callsign=dock.sn, model_key="3-1-0", claim="code", **given))
            aircraft.append(
                Device(sn=dock.aircraft_sn, callsign=dock.aircraft_sn, model_key="0-67-0", claim="named", **given)
            )
        Device.objects.bulk_create(rows)
        for dock_row, row in zip(rows, aircraft, strict=True):
            row.gateway = dock_row
        Device.objects.bulk_create(aircraft)
        seen = {"online": True, "last_seen": now, "connected_since": now, "properties": PROPERTIES}
        DeviceState.objects.bulk_create(DeviceState(device=row, **seen) for row in [*rows, *aircraft])
        paired = {"since": now, "changed_at": now, "linked_since": now, "witness": "bind", "is_heard": True}
        Pairing.objects.bulk_create(
            Pairing(dock=one, aircraft=other, **paired) for one, other in zip(rows, aircraft, strict=True)
        )

    def _fill_journal(self, rows: int) -> None:
        now = timezone.now()
        given = {"received_at": now, "payload": "x" * 200, "reply": "x" * 300, "outcome": "answered"}
        for start in range(0, rows, 10_000):
            bulk.insert(
                Exchange,
                bulk.values_of(
                    Exchange(
                        gateway_sn=self.bound[number % len(self.bound)].sn, channel="requests", method="config", **given
                    )
                    for number in range(start, min(start + 10_000, rows))
                ),
            )

    def new(self, size: int) -> list[Dock]:
        """Docks that nobody has heard of."""
        numbers = [next(self._next_new) for _ in range(size)]
        return [self._dock(f"NEW{number:06}", number) for number in numbers]

    def known(self, size: int) -> list[Dock]:
        """The next ones of those that are bound and online."""
        return [next(self._next_bound) for _ in range(size)]

    def unlinked(self, size: int) -> list[Dock]:
        """The next ones, after they were switched off."""
        docks = self.known(size)
        sns = [sn for dock in docks for sn in (dock.sn, dock.aircraft_sn)]
        DeviceState.objects.filter(device__sn__in=sns).update(online=False)
        Pairing.objects.filter(dock__sn__in=sns).update(linked_since=None)
        return docks


def _message(dock: Dock, method: str, data: object, topic: str = "thing/product/{sn}/requests") -> Delivery:
    tid = f"{method}-{secrets.token_hex(8)}"
    message = {"tid": tid, "bid": tid, "timestamp": 1654070968655, "method": method, "data": data}
    return Delivery(topic=topic.format(sn=dock.sn), payload=json.dumps(message).encode(), mid=1)


def config(dock: Dock) -> Delivery:
    return _message(dock, "config", {"config_type": "json", "config_scope": "product"})


def bind_status(dock: Dock) -> Delivery:
    return _message(dock, "airport_bind_status", {"devices": [{"sn": dock.aircraft_sn}, {"sn": dock.sn}]})


def organization_get(dock: Dock) -> Delivery:
    data = {"device_binding_code": dock.code, "organization_id": dock.organization_id}
    return _message(dock, "airport_organization_get", data)


def bind(dock: Dock) -> Delivery:
    pair = {"device_binding_code": dock.code, "organization_id": dock.organization_id}
    entries = [
        {**pair, "device_callsign": sn, "sn": sn, "device_model_key": key}
        for sn, key in ((dock.sn, "3-1-0"), (dock.aircraft_sn, "0-67-0"))
    ]
    return _message(dock, "airport_organization_bind", {"bind_devices": entries})


def topology(dock: Dock) -> Delivery:
    own = {"domain": "3", "type": 1, "sub_type": 0, "device_secret": "", "nonce": "", "thing_version": "1.1.2"}
    sub = own | {"sn": dock.aircraft_sn, "domain": "0", "type": 67, "index": "A"}
    return _message(dock, "update_topo", own | {"sub_devices": [sub]}, "sys/product/{sn}/status")


def event(dock: Dock) -> Delivery:
    return _message(dock, "hms", {"list": [{"code": "0x16100083", "level": 0}]}, "thing/product/{sn}/events")


class Kind(NamedTuple):
    """One line of the table: which docks send what."""

    docks: Callable[[World, int], list[Dock]]
    message: Callable[[Dock], Delivery]
    words: str


KINDS = {
    "config": Kind(World.known, config, "config"),
    "bind_status": Kind(World.known, bind_status, "airport_bind_status"),
    "organization_get": Kind(World.known, organization_get, "airport_organization_get"),
    "first_bind": Kind(World.new, bind, "first bind, dock and aircraft"),
    "repeated_bind": Kind(World.known, bind, "repeated bind"),
    "topology": Kind(World.unlinked, topology, "update_topo, first"),
    "topology_again": Kind(World.known, topology, "update_topo, again"),
    "event": Kind(World.known, event, "an event that nobody acts on"),
}


def work(deliveries: Iterable[Delivery]) -> list[dispatch.Result]:
    """What the bridge's worker does with a batch, but for publishing."""
    results = [result for wave in dispatch.handle(deliveries) for result in wave.results]
    journal.write(results)
    return results


def check(results: Iterable[dispatch.Result]) -> None:
    """Raise RuntimeError unless every message was dealt with as a success."""
    for result in results:
        if result.reason or (result.reply and b'"err_code":2' in result.reply):
            raise RuntimeError(f"{result.decoded.envelope.method}: {result.outcome} {result.reason} {result.reply!r}")


@contextmanager
def counting() -> Iterator[list[str]]:
    """The statements that are executed meanwhile, without those that begin and end transactions."""
    statements: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        yield statements


def measure(world: World, kind: Kind, *, rounds: int) -> tuple[float, float, int, int]:
    """Microseconds of this process per message in a batch, and alone; statements of a batch, and of a message alone."""
    together, alone = [], []
    for _ in range(rounds):
        batch = [kind.message(dock) for dock in kind.docks(world, BATCH)]
        began = time.process_time()
        work(batch)
        together.append((time.process_time() - began) / BATCH)
        singles = [kind.message(dock) for dock in kind.docks(world, ALONE)]
        began = time.process_time()
        for delivery in singles:
            work([delivery])
        alone.append((time.process_time() - began) / ALONE)
    with counting() as of_batch:
        check(work([kind.message(dock) for dock in kind.docks(world, BATCH)]))
    with counting() as of_one:
        check(work([kind.message(dock) for dock in kind.docks(world, 1)]))
    return median(together) * 1e6, median(alone) * 1e6, len(of_batch), len(of_one)


def profile(world: World, kind: Kind, *, rounds: int, size: int) -> None:
    """Print where the time goes, by what each function takes for itself."""
    profiler = cProfile.Profile()
    for _ in range(rounds):
        batches = [[kind.message(dock) for dock in kind.docks(world, size)] for _ in range(1 if size > 1 else ALONE)]
        profiler.enable()
        for batch in batches:
            work(batch)
        profiler.disable()
    with counting() as statements:
        work([kind.message(dock) for dock in kind.docks(world, size)])
    pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
    for sql in statements:
        print(f"  {sql[:300]}")


def main() -> None:
    """Fill the database, warm up, measure each kind and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--journal", type=int, required=True)
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this one; may be given several times")
    parser.add_argument("--profile", choices=KINDS, help="print the profile of this kind instead")
    parser.add_argument("--alone", action="store_true", help="the profile of one message at a time")
    options = parser.parse_args()
    world = World(devices=options.devices, rows=options.journal)
    for kind in KINDS.values():  # plans are made, caches filled
        for size in (BATCH, 1, 1, 1):
            work([kind.message(dock) for dock in kind.docks(world, size)])
    gc.freeze()  # as the bridge
    if options.profile:
        profile(world, KINDS[options.profile], rounds=options.rounds, size=1 if options.alone else BATCH)
        return
    print(
        f"\nProcessor time of the bridge's worker per message, handled and journalled, in microseconds; medians of"
        f"\n{options.rounds}. PostgreSQL with {options.devices:,} devices, {len(json.dumps(PROPERTIES)):,} bytes of"
        f" properties each, and {options.journal:,} journal rows.\n"
    )
    print(f"  {'':32} {f'batch of {BATCH}':>13} {'alone':>9} {'statements of a batch':>22} {'of one':>7}")
    for name, kind in KINDS.items():
        if options.kind is None or name in options.kind:
            together, alone, of_batch, of_one = measure(world, kind, rounds=options.rounds)
            print(f"  {kind.words:32} {together:13.0f} {alone:9.0f} {of_batch:22} {of_one:7}", flush=True)


if __name__ == "__main__":
    main()
