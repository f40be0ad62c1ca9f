"""The script of docs/examples, as an integrator runs it, against real servers and a simulated dock."""

import subprocess
import sys

import pytest

from mqtt_bridge.simulator.dock import Options
from tests.demo import free_port
from tests.fault.load import run_in_loop
from tests.stack import ROOT, Redis, running_stack

pytestmark = pytest.mark.xdist_group("whole story")

STAFF = """
from django.contrib.auth import get_user_model
get_user_model().objects.create_superuser("root", "root@example.org", "right password")
"""
OPTIONS = Options(reply_timeout=3.0, osd_rate=1.0, retry_delay=0.5, backoff=(0.1, 0.5))


@pytest.fixture
def stack(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running_stack("postgresql", tmp_path, redis=Redis(), PUBLIC_URL=url) as stack:
        stack.manage("shell", "-v0", "-c", STAFF)
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
        with stack.fleet(organization_id=organization, binding_code=code, options=OPTIONS) as (fleet, loop):
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
