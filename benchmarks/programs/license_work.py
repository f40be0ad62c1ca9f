"""What `benchmarks/licenses.py` runs against a database of its own: prints one JSON object of figures in seconds."""

import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from devices.calls import asking, sending  # noqa: E402
from devices.models import Device, DeviceState  # noqa: E402
from licenses.models import LicenseEvent, LicenseList, UnlockLicense  # noqa: E402
from mqtt_bridge import dispatch  # noqa: E402
from mqtt_bridge.database import bulk  # noqa: E402
from mqtt_bridge.line.inbox import Delivery  # noqa: E402
from mqtt_bridge.models import Heartbeat  # noqa: E402
from mqtt_bridge.protocol import envelope  # noqa: E402
from mqtt_bridge.protocol.topics import Channel  # noqa: E402
from organizations.audit import Actor  # noqa: E402
from organizations.models import AuditEvent, Organization  # noqa: E402

LICENSES_PER_DOCK = 500
PAGE = "/admin/licenses/unlocklicense/"


def main(size: int, rows: int, rounds: int) -> None:
    """Lists of `size` licenses, then the page of the list of licenses without and with `rows` of them."""
    dock = a_dock("BENCH")
    figures: dict[str, list[float]] = {}
    # Of each pair the first is the one that is measured against.
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("parse", lambda: envelope.decode(payload(None, size, enabled=True), channel=Channel.SERVICES_REPLY)),
        ("new", lambda: answer(dock, size, enabled=True)),
        ("same", lambda: answer(dock, size, enabled=True)),
        ("switched", lambda: answer(dock, size, enabled=False)),
        ("gone", lambda: answer(dock, 0, enabled=True)),
    ]
    for _ in range(rounds):
        for name, step in steps:
            figures.setdefault(name, []).append(took(step))
    LicenseEvent.objects.all().delete()
    LicenseList.objects.all().delete()
    page = browser()
    page()
    figures["empty page"] = [took(page) for _ in range(rounds)]
    fill(rows)
    page()
    figures["full page"] = [took(page) for _ in range(rounds)]
    sys.stdout.write(json.dumps({name: median(times) for name, times in figures.items()}) + "\n")


def took(step: Callable[[], Any]) -> float:
    """Processor time of this process: what the database takes for itself is not in it."""
    began = time.process_time()
    step()
    return time.process_time() - began


def a_dock(sn: str) -> Device:
    now = timezone.now()
    organization = Organization.objects.create(name=sn)
    device = Device.objects.create(sn=sn, model_key="3-2-0", organization=organization)
    DeviceState.objects.create(device=device, online=True, last_seen=now)
    Heartbeat.objects.create(instance=sn, started_at=now, beat_at=now, round_trip_ms=1)
    return device


def payload(call: Any, size: int, *, enabled: bool) -> bytes:
    """A reply as a dock sends it."""
    licenses = [
        {
            "common_fields": {
                "license_id": key, "name": f"license {key}", "type": 1, "group_id": 1, "user_id": "u",
                "enabled": enabled, "device_sn": "DRONE", "user_only": False,
                "begin_time": 1_700_000_000, "end_time": 2_145_916_800,
            },
            "circle_unlock": {"radius": 500, "latitude": 22.60309, "longitude": 113.9, "height": 120},
        }
        for key in range(size)
    ]  # fmt: skip
    ids = {"tid": call.tid, "bid": call.bid} if call else {"tid": "t", "bid": "b"}
    data = {"result": 0, "device_model_domain": 0, "consistence": True, "licenses": licenses}
    return json.dumps({**ids, "method": "unlock_license_list", "timestamp": 0, "data": data}).encode()


def answer(dock: Device, size: int, *, enabled: bool) -> None:
    """Ask for a list and let the bridge's dispatch handle the answer."""
    actor = Actor(AuditEvent.Through.COMMAND)
    call = asking.issue(device=dock, method="unlock_license_list", data={"device_model_domain": 0}, actor=actor)
    sending.claim_many([call.pk], now=timezone.now())
    topic = f"thing/product/{dock.sn}/services_reply"
    for _ in dispatch.handle([Delivery(topic=topic, payload=payload(call, size, enabled=enabled), mid=1)]):
        pass


def browser() -> Callable[[], None]:
    """A signed-in member of platform staff who opens the list of licenses."""
    client = Client(SERVER_NAME="127.0.0.1", headers={"x-forwarded-proto": "https"})
    client.force_login(get_user_model().objects.create_superuser("bench", "bench@example.org", "bench"))

    def open_page() -> None:
        response = client.get(PAGE)
        if response.status_code != 200:
            raise RuntimeError(f"The list of licenses answers {response.status_code}.")

    return open_page


def fill(rows: int) -> None:
    now = timezone.now()
    for number in range(rows // LICENSES_PER_DOCK):
        device = a_dock(f"FILL{number}")
        bulk.insert(
            UnlockLicense,
            bulk.values_of(
                UnlockLicense(
                    device=device, device_model_domain=0, license_id=key, name=f"license {key}", type=1, enabled=True,
                    end_time=now, seen_at=now,
                )
                for key in range(LICENSES_PER_DOCK)
            ),
        )  # fmt: skip
        LicenseList.objects.create(device=device, device_model_domain=0, complete=True, fetched_at=now)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
