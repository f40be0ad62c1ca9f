"""What the README and the guides tell people to type."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from cloudapi.embedded import programs
from cloudapi.embedded.demo_data import ORGANIZATIONS
from devices.calls import asking
from devices.models import Device, ServiceCall
from organizations.audit import Actor
from organizations.models import AuditEvent
from tests.stack import ROOT, running_stack, wait_for

DEVELOPING = (ROOT / "docs/developing.md").read_text()
RUNNING = (ROOT / "docs/running.md").read_text()
README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()


def test_tour_binds_a_dock_by_hand(prepared, tmp_path):
    [tour] = re.findall(r"<!-- tour:.*?-->\n```sh\n(.*?)```", DEVELOPING, flags=re.DOTALL)
    clients = programs.find("mosquitto-clients")
    with running_stack("sqlite", tmp_path, template=prepared("sqlite")) as stack:
        stack.manage("shell", "-v0", "-c", "from cloudapi.embedded import demo_data; demo_data.prepare()")
        stack.start_bridge()
        path = f"{clients.path.parent}{os.pathsep}{os.environ['PATH']}"
        env = os.environ | clients.env | {"BROKER": stack.broker.url, "PATH": path}
        shell = subprocess.run(
            ["bash", "-euc", tour], env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert shell.returncode == 0, shell.stderr
        answers = [json.loads(line) for line in shell.stdout.splitlines()]
        assert [answer["data"]["result"] for answer in answers] == [0, 0, 0, 0]
        assert answers[3]["data"]["output"]["err_infos"] == [{"sn": "HANDMADE1", "err_code": 0}]
        assert stack.bound() == {"HANDMADE1": ORGANIZATIONS[0][0]}
        topologies = "SELECT count(*) FROM mqtt_bridge_exchange WHERE method = 'update_topo' AND outcome = 'answered'"
        wait_for(lambda: stack.rows(topologies) == [(1,)])


def test_script_asks_a_dock_for_a_service(dock):
    [script] = re.findall(r"```python\n(.*?)```", DEVELOPING, flags=re.DOTALL)
    Device.objects.filter(pk=dock.pk).update(sn="DEMODOCK00001")
    names = {"Actor": Actor, "AuditEvent": AuditEvent, "Device": Device, "asking": asking}
    exec(script, names)  # noqa: S102 - our own words
    assert ServiceCall.objects.get().pk == names["call"].pk


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)\)", README))))
def test_linked_file_exists(target):
    assert (Path(ROOT) / target).exists()


def test_production_is_told_all_that_it_needs_and_nothing_that_is_not_explained():
    exported = set(re.findall(r"([A-Z_]+)=", " ".join(re.findall(r"^export .*$", RUNNING, flags=re.MULTILINE))))
    rows = re.findall(r"^\| (`[A-Z_`, ]+) \|(.*)$", CONFIGURATION, flags=re.MULTILINE)
    explained = {name: "*required.*" in row for names, row in rows for name in re.findall(r"[A-Z_]+", names)}
    assert exported <= explained.keys()
    assert {name for name, is_required in explained.items() if is_required} | {"DOCK_MQTT_URL"} <= exported
