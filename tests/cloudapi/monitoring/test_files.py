"""The files in deploy/ for Prometheus and Grafana, as far as no process is needed: test_processes.py has the rest."""

import json
import os
import re
import subprocess

import pytest
import yaml

from cloudapi.embedded import programs
from tests.stack import ROOT

DEPLOY = ROOT / "deploy"
OPERATIONS = (ROOT / "docs/operations.md").read_text()
GROUPS = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana/dock-cloud.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def test_every_alert_says_how_bad_it_is_and_what_is_wrong():
    assert len({rule["alert"] for rule in RULES}) == len(RULES) > 25
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"].endswith(".")
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


def test_every_alert_has_its_line_in_the_document_and_no_other_has():
    documented = re.findall(r"^\| `([A-Z][A-Za-z]+)` \|", OPERATIONS.partition("### Alerts")[2], re.MULTILINE)
    assert documented == [rule["alert"] for rule in RULES if rule["alert"] in documented]
    assert set(documented) == {rule["alert"] for rule in RULES}


def test_the_alerts_name_the_jobs_of_the_example():
    jobs = {job["job_name"] for job in yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]}
    named = set(re.findall(r'job="([\w-]+)"', str(RULES)))
    assert named == {job for job in jobs if job.startswith("dock-cloud-")}


def test_the_panels_of_the_dashboard_have_a_place_a_unit_and_a_data_source():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }  # Grafana moves what overlaps
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    [variable] = DASHBOARD["templating"]["list"]
    for panel in PANELS:
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {f"${{{variable['name']}}}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


PROMTOOL = programs.installed("promtool", os.environ["PATH"]) or programs.cached("promtool", programs.CACHE)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not there: make check-alerts fetches it")
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_prometheus_takes_the_files(arguments):
    done = subprocess.run([PROMTOOL.path, *arguments], cwd=DEPLOY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
