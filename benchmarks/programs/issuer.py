"""Makes docks and commands them: `python -m benchmarks.programs.issuer DOCKS`, then a line of JSON per order.

`{"license_id": 1, "together": true}` commands all docks in one batch, else one after another; the answer is
`{"began", "issued"}`, in seconds since 1970. It starts with a line `{"session", "docks": [[pk, sn], ...]}`.
"""

import json
import sys
import time
from typing import Any

import django

FIRST_LICENSE = 1_000_000  # the numbers below are the browser's
ORDERS = 4  # for which each dock has a license that is off
PROPERTIES = {f"property_{number}": {"value": number, "unit": "m"} for number in range(80)}  # 3 kB


def prepare(count: int) -> dict[str, Any]:
    """An organization, its docks, all online, and an operator who is signed in."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.utils import timezone

    from devices.models import Device, DeviceState
    from licenses.models import Inventory, UnlockLicense
    from organizations.models import Membership, Organization, Role
    from organizations.people.sessions import SessionStore
    from organizations.people.sign_in import BACKEND

    organization = Organization.objects.create(organization_id="12345678", name="Benchmark")
    devices = Device.objects.bulk_create(
        Device(sn=f"BENCHDOCK{number}", model_key="3-1-0", organization=organization) for number in range(count)
    )
    now = timezone.now()
    DeviceState.objects.bulk_create(
        DeviceState(device=device, online=True, last_seen=now, connected_since=now, properties=PROPERTIES)
        for device in devices
    )
    UnlockLicense.objects.bulk_create(
        UnlockLicense(device=device, device_model_domain=Inventory.AIRCRAFT, license_id=license_id, enabled=False)
        for device in devices
        for license_id in range(FIRST_LICENSE, FIRST_LICENSE + ORDERS + 1)
    )
    user = get_user_model().objects.create_user("operator", password=None, is_staff=True)
    Membership.objects.create(user=user, organization=organization, role=Role.OPERATOR)
    session = SessionStore()
    session.update(
        {
            SESSION_KEY: str(user.pk),
            BACKEND_SESSION_KEY: BACKEND,
            HASH_SESSION_KEY: user.get_session_auth_hash(),
        }
    )
    session.create()
    return {"session": session.session_key, "docks": [[device.pk, device.sn] for device in devices]}


def command(license_id: int, *, together: bool) -> dict[str, float]:
    """Command all docks."""
    from devices.calls import asking, batches
    from devices.calls.methods import SWITCH
    from devices.models import Device
    from organizations.audit import Actor
    from organizations.models import AuditEvent

    devices = list(Device.objects.select_related("organization", "state"))
    actor = Actor(AuditEvent.Through.COMMAND)
    data = {"license_id": license_id, "enable": True}
    began = time.time()
    if together:
        batches.start(devices=devices, method=SWITCH, data=data, actor=actor)
    else:
        for device in devices:
            asking.issue(device=device, method=SWITCH, data=data, actor=actor)
    return {"began": began, "issued": time.time()}


def main() -> None:
    """Prepare, then obey."""
    django.setup()
    print(json.dumps(prepare(int(sys.argv[1]))), flush=True)
    for line in sys.stdin:
        print(json.dumps(command(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
