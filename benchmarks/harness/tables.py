"""Tables of a real size before a benchmark starts: a fleet with its states, its journal, and an app license."""

import subprocess
import sys

from benchmarks.harness.processes import ROOT

ORGANIZATION_ID, CODE = "12345678", "BENC-HMAR-K234"
PROPERTIES = 3000  # bytes of the last reported state of each device
PAYLOAD = 300  # bytes of a journal row
DOCK, AIRCRAFT = "DOCK{:05}", "DRONE{:05}"


def fill(env: dict[str, str], *, docks: int, journal: int, accounts: bool = False) -> list[list[str]]:
    """Make so many bound docks, each with its aircraft, and so many journal rows; in a process of its own.

    With `accounts` each dock has an account at the broker; returns user name, secret, digest and salt of each.
    """
    call = f"from benchmarks.harness import tables; tables.write(docks={docks}, journal={journal}, accounts={accounts})"
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", call]
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def write(*, docks: int, journal: int, accounts: bool) -> None:
    """Write the rows into the database of this process, and print the accounts."""
    from django.db import connection
    from django.utils import timezone

    from devices.broker.accounts import issue_many
    from devices.models import Device, DeviceState, Pairing
    from organizations.audit import Actor
    from organizations.models import AuditEvent, BindingCode, Organization

    now = timezone.now()
    owner = Organization.objects.create(
        organization_id=ORGANIZATION_ID, name="Benchmark", device_limit=None,
        app_id="154321", app_key="k" * 32, app_license="l" * 344,
    )  # fmt: skip
    BindingCode.objects.issue(organization=owner, code=CODE)
    bound = {"organization": owner, "bound_at": now, "bound_with": BindingCode.objects.get()}
    made = Device.objects.bulk_create(
        [
            Device(sn=sn, model_key="3-1-0", callsign=f"callsign of {sn}", claim="code", **bound)
            for sn in map(DOCK.format, range(docks))
        ],
        batch_size=1000,
    )
    aircraft = Device.objects.bulk_create(
        [
            Device(sn=sn, model_key="0-67-0", callsign=f"callsign of {sn}", claim="named", gateway=dock, **bound)
            for sn, dock in zip(map(AIRCRAFT.format, range(docks)), made, strict=True)
        ],
        batch_size=1000,
    )
    pairs = [
        Pairing(dock=dock, aircraft=one, since=now, changed_at=now, linked_since=now, witness="topology")
        for dock, one in zip(made, aircraft, strict=True)
    ]
    Pairing.objects.bulk_create(pairs, batch_size=1000)
    state = {"last_seen": now, "latitude": 22.5, "longitude": 113.9, "mode_code": 0, "properties": properties()}
    DeviceState.objects.bulk_create([DeviceState(device=one, **state) for one in [*made, *aircraft]], batch_size=500)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO mqtt_bridge_exchange (gateway_sn, organization_id, channel, method, tid, bid, received_at,"
            " payload, reply, outcome, reason, by_enrolment)"
            " SELECT 'DOCK' || lpad((n %% %s)::text, 5, '0'), %s, 'requests', 'airport_bind_status', n::text, n::text,"
            " now() - n * interval '1 second', repeat('p', %s), repeat('r', %s), 'answered', '', false"
            " FROM generate_series(1, %s) n",
            [docks, owner.pk, PAYLOAD, PAYLOAD, journal],
        )
    for first in range(0, docks if accounts else 0, 1000):
        for row in issue_many(made[first : first + 1000], actor=Actor(AuditEvent.Through.COMMAND)).accounts:
            sys.stdout.write(f"{row.username} {row.plain} {row.digest} {row.salt}\n")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def properties() -> dict[str, object]:
    """What a device has reported: many numbers, as JSON of `PROPERTIES` bytes."""
    some = {"network_state": {"type": 2, "quality": 4, "rate": 33.5}, "sub_device": {"device_online_status": 0}}
    per_field = len('"field_000": 1234.567, ')
    return some | {f"field_{number:03}": 1234.567 + number for number in range((PROPERTIES - 120) // per_field)}
