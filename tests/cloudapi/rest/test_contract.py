"""Every operation of the OpenAPI document, as every role, tried by Schemathesis on a real server.

A manager, who passes every check of rights, sends random and linked requests to all operations. SWEPT operations also
get each request that breaks the schema in one place. One of the other roles sends one valid request to each operation;
the answer differs by operation. Pytest's random seed chooses. CONTRACT_FULL=1 does everything for every role.
"""

import json
import os
import random
import subprocess
import sys

import pytest

from cloudapi.rest import views
from tests.stack import ROOT, Redis, running_stack

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "2"))  # of each operation, beside those that the schema gives
IS_FULL = os.environ.get("CONTRACT_FULL") == "1"
SWEPT = 4  # operations in a run that is not full, of some forty
OTHERS = ["viewer", "operator", "stranger"]
CONFIG = ROOT / "tests/cloudapi/rest/schemathesis.toml"
SETUP = """
import json
from django.utils import timezone
from devices.models import Device, DeviceState
from licenses.models import LicenseFile, LicenseList, UnlockLicense
from mqtt_bridge.models import Exchange
from organizations.models import Organization, OrganizationAPIKey

now, keys = timezone.now(), {}
harbour = Organization.objects.get(organization_id="12345678")
grid = Organization.objects.get(organization_id="87654321")
for number in range(1, 10):
    dock = Device.objects.create(
        sn=f"DOCK000{number}", model_key="3-2-0", organization=harbour, bound_at=now, callsign=f"Pier {number}"
    )
    DeviceState.objects.create(device=dock, online=True, last_seen=now)
    Device.objects.create(sn=f"DRONE000{number}", model_key="0-91-0", organization=harbour, gateway=dock)
    for domain in (0, 3):
        UnlockLicense.objects.create(
            device=dock, device_model_domain=domain, license_id=2**63 - number, type=1, details={"radius": 5}
        )
    LicenseList.objects.create(device=dock, device_model_domain=3, complete=True, count=1, fetched_at=now)
    Exchange.objects.create(
        gateway_sn=dock.sn, organization=harbour, channel="requests", method="config", outcome="answered",
        received_at=now, payload='{"bind_dev', reply='{"result": 0}',
    )
    LicenseFile.objects.create(organization=harbour, name=f"{number}.kmz", md5=str(number) * 32, size=1, content=b"x")
for role in ("viewer", "operator", "manager"):
    keys[role] = OrganizationAPIKey.objects.create_key(organization=harbour, name=role, role=role)[1]
keys["stranger"] = OrganizationAPIKey.objects.create_key(organization=grid, name="stranger", role="manager")[1]
print(json.dumps(keys))
"""


@pytest.fixture(scope="module")
def stack(prepared, tmp_path_factory):
    """A web process, and nobody who sends the commands; `stack.keys` by role."""
    folder, template = tmp_path_factory.mktemp("contract"), prepared("postgresql")
    with running_stack("postgresql", folder, template=template, redis=Redis(), API_REQUESTS_PER_MINUTE="0") as stack:
        stack.keys = json.loads(stack.manage("shell", "-v0", "-c", SETUP))
        stack.web = stack.start_web()
        yield stack


def attack(stack, role, folder, *arguments):
    """Let Schemathesis send what these arguments say, and fail with what it found."""
    command = [
        sys.executable, "-m", "schemathesis.cli", f"--config-file={CONFIG}", "run", f"http://{stack.web.host}/api/schema/",
        "--checks=all", f"--max-examples={EXAMPLES}", f"--header=Authorization:Api-Key {stack.keys[role]}", "--seed=1",
        "--continue-on-failure", "--warnings=off", "--no-color", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:] + stack.web.said()[-2000:]


@pytest.mark.parametrize("role", ["manager", *OTHERS] if IS_FULL else ["manager"])
def test_every_operation_keeps_its_contract(stack, role, tmp_path):
    attack(stack, role, tmp_path, "--phases=examples,fuzzing,stateful", "--mode=all")


def test_every_operation_keeps_its_contract_with_who_has_fewer_rights(stack, tmp_path):
    attack(stack, random.choice(OTHERS), tmp_path, "--phases=examples", "--mode=positive")


@pytest.mark.turns(3)
@pytest.mark.parametrize("role", ["manager", *OTHERS] if IS_FULL else ["manager"])
def test_requests_that_break_the_schema_at_one_place_keep_the_contract(stack, role, tmp_path):
    paths = json.loads(views.document())["paths"].values()
    operations = [operation["operationId"] for path in paths for operation in path.values() if "responses" in operation]
    swept = operations if IS_FULL else random.sample(operations, SWEPT)
    chosen = [f"--include-operation-id={operation}" for operation in swept]
    attack(stack, role, tmp_path, "--phases=coverage", "--mode=all", *chosen)
