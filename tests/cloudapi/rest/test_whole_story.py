"""The script of docs/examples, as an integrator runs it, against real servers and a simulated dock."""

import os
import re
import subprocess
import sys

import pytest

from mqtt_bridge.simulator.dock import Options
from tests.demo import free_port
from tests.fault.load import run_in_loop
from tests.stack import CODE, ROOT, Redis, running_stack

STAFF = """
from django.contrib.auth import get_user_model
from organizations.models import Organization, OrganizationAPIKey
get_user_model().objects.create_superuser("root", "root@example.org", "right password")
harbour = Organization.objects.get(organization_id="12345678")
print(OrganizationAPIKey.objects.create_key(organization=harbour, name="guide", role="operator")[1])
"""
OPTIONS = Options(reply_timeout=3.0, osd_rate=1.0, retry_delay=0.5, backoff=(0.1, 0.5))


@pytest.fixture(scope="module")
def stack(prepared, tmp_path_factory):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder, template = tmp_path_factory.mktemp("story"), prepared("postgresql")
    with running_stack("postgresql", folder, template=template, redis=Redis(), PUBLIC_URL=url) as stack:
        stack.key = stack.manage("shell", "-v0", "-c", STAFF).strip()
        stack.start_bridge()
        stack.start_worker()
        stack.url = url
        stack.start_web(port=port)
        yield stack


def test_an_integrator_goes_from_nothing_to_a_dock_that_obeys(stack):
    script = subprocess.Popen(
        [sys.executable, "docs/examples/whole_story.py", stack.url, "root", "right password"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        first = script.stdout.readline()
        assert first.startswith("bind a dock with "), first + script.stdout.read()
        organization, code = first.split()[-2:]
        technician = {"organization_id": organization, "binding_code": code}
        with stack.fleet(**technician, options=OPTIONS, aircraft_on=True) as (fleet, loop):
            run_in_loop(fleet.onboarded(30), loop)
            said, _ = script.communicate(timeout=120)
    finally:
        script.kill()
    dock = fleet.docks[0]
    lines = said.splitlines()
    assert script.returncode == 0, said
    assert lines[0] == f"bound {dock.sn}"
    assert any(line.startswith("read Done: ") for line in lines)
    assert any(line.startswith("switched ") for line in lines)
    assert any(line.startswith("the code is at https://") for line in lines)
    assert lines[-1] == "account logged_in Done."
    assert dock.account.username == "pilot@example.org"
    assert "a password" not in said


def test_the_guide_leads_from_a_key_to_a_command(stack):
    """The Python of docs/integrators.md as it stands, but for where the server is."""
    [script] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/integrators.md").read_text(), flags=re.DOTALL)
    options = {"organization_id": "12345678", "binding_code": CODE, "sn_prefix": "DEMODOCK", "options": OPTIONS}
    with stack.fleet(**options) as (fleet, loop):
        run_in_loop(fleet.onboarded(30), loop)
        assert f'"{fleet.docks[0].sn}"' in script
        done = subprocess.run(
            [sys.executable, "-c", script.replace("127.0.0.1:8000", stack.url.removeprefix("http://"))],
            env=os.environ | {"KEY": f"Api-Key {stack.key}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("Done: ")
