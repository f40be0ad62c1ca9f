"""What real processes show: bridge, a worker with children, web; and the files in deploy/ that are made for it."""

import json
import re
import urllib.error
import urllib.request

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cloudapi.embedded.servers import Redis
from tests.stack import ROOT, running_stack, wait_for

ELSEWHERE = re.compile(r"up|node_\w+")  # made by Prometheus and by node_exporter
KEYWORDS = {"and", "or", "unless", "on", "ignoring", "bool", "offset", "by", "without"}
SERIES = re.compile(r"(?<![\w.$])([a-zA-Z_]\w*)\b(?!\s*\()")
ADDRESS = re.compile(r"Metrics at (http://127\.0\.0\.1:\d+/metrics)")
RULES = [
    rule for group in yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dock-cloud.json").read_text())


def scrape(url):
    """{(name, labels)} -> value, as Prometheus reads it."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    } | {(family.name, None): family.type for family in text_string_to_metric_families(text)}


def value(samples, name, **labels):
    """The sum of the samples of this name that have these labels."""
    return sum(
        number
        for (found, having), number in samples.items()
        if found == name and having is not None and labels.items() <= dict(having).items()
    )


class World:
    """A server at work, and where its processes show their metrics."""

    def __init__(self, stack):
        env = {"BRIDGE_METRICS_ADDRESS": "127.0.0.1:0", "WORKER_METRICS_ADDRESS": "127.0.0.1:0"}
        self.stack = stack
        self.bridge = stack.start_bridge(wait=False, **env)
        self.worker = stack.start_worker(wait=False, beat=False, **env)
        self.web = stack.start_web()
        wait_for(lambda: stack.served() and stack.ready())
        self.urls = {
            "bridge": ADDRESS.search(stack.log.read_text())[1],
            "worker": ADDRESS.search(stack.worker_log.read_text())[1],
            "web": f"http://{self.web.host}/metrics",
        }
        with stack.fleet() as (fleet, _):
            [dock] = fleet.docks
            wait_for(lambda: dock.is_onboarded)
            self.sn = dock.sn
            self.call = stack.issue(dock.sn, "unlock_license_list", {"device_model_domain": 3})["id"]
            stack.ended(self.call)
            wait_for(lambda: value(self.scrape("worker"), "worker_tasks_total"))
        self.scrapes = {name: self.scrape(name) for name in self.urls}
        self.scrapes["web"] = self.scrape("web")  # shows the first request

    def scrape(self, name):
        return scrape(self.urls[name])


@pytest.fixture(scope="module")
def world(prepared, tmp_path_factory):
    folder, template = tmp_path_factory.mktemp("stack"), prepared("postgresql")
    env = {"LOG_FORMAT": "json", "LOG_LEVEL": "DEBUG"}
    with running_stack("postgresql", folder, template=template, redis=Redis(), **env) as stack:
        world = World(stack)
        yield world
        assert stack.stop_worker(world.worker) == 0  # removes what its children counted


def test_bridge_shows_what_it_handled_and_how_long_that_took(world):
    bridge = world.scrapes["bridge"]
    assert value(bridge, "bridge_active") == 1
    assert value(bridge, "bridge_handled_total", method="airport_organization_bind", outcome="answered") == 1
    assert value(bridge, "bridge_answer_seconds_count", method="config") >= 1
    assert 0 < value(bridge, "bridge_handler_seconds_sum", method="update_topo") < 60
    assert value(bridge, "bridge_batch_messages_count") > 3
    assert value(bridge, "service_calls_ended_total", method="unlock_license_list") == 1
    assert value(bridge, "process_resident_memory_bytes") > 1e6


def test_worker_shows_what_its_children_did(world):
    worker = world.scrapes["worker"]
    assert value(worker, "service_calls_published_total", method="unlock_license_list", receipt="delivered") == 1
    assert value(worker, "service_call_wait_seconds_count") == 1
    assert value(worker, "worker_tasks_total", task="devices.tasks.publish_service_call", state="success") == 1
    assert value(worker, "worker_task_wait_seconds_count", task="devices.tasks.publish_service_call") == 1
    assert value(worker, "process_open_fds") > 3


def test_web_shows_requests_the_database_and_redis(world):
    web = world.scrapes["web"]
    assert value(web, "web_requests_total", method="GET", route="metrics", status="200") >= 1
    assert value(web, "bridge_up") == value(web, "database_up") == value(web, "redis_up") == 1
    assert value(web, "devices_online") >= 1
    assert value(web, "journal_bytes") > 0
    assert {name for name, labels in web if labels == frozenset({("status", "queued")})} == {"service_calls_open"}


def test_only_the_bridge_shows_whether_it_is_active(world):
    having = {kind for kind, samples in world.scrapes.items() if ("bridge_active", frozenset()) in samples}
    assert having == {"bridge"}
    assert not [key for key in world.scrapes["worker"] if key[0].startswith("bridge_")]


def test_no_label_names_a_device_or_an_organization(world):
    with_sn = [key for samples in world.scrapes.values() for key in samples if world.sn in str(key)]
    with_organization = [key for samples in world.scrapes.values() for key in samples if "12345678" in str(key)]
    assert with_sn == with_organization == []


def names(expression):
    """The metrics that an expression of PromQL names."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring)\s*\([^)]*\)', " ", expression)
    return {name for name in SERIES.findall(bare) if name not in KEYWORDS and not ELSEWHERE.fullmatch(name)}


def exported(world):
    """Every name that can be asked for; that of a counter nobody has counted yet is known by its type alone."""
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    found = set()
    for samples in world.scrapes.values():
        for (name, labels), kind in samples.items():
            found |= {name} if labels is not None else {name + suffix for suffix in suffixes.get(kind, [""])}
    return found


def test_every_metric_of_alerts_and_dashboard_is_exported(world):
    queries = {rule["alert"]: rule["expr"] for rule in RULES}
    queries |= {panel["title"]: target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])}
    asked = {query: names(query) for query in queries.values()}
    assert {query: missing for query, wanted in asked.items() if (missing := wanted - exported(world))} == {}
    assert len(set.union(*asked.values())) > 30
    assert names('sum by (le) (rate(gone_bucket{a="b"}[5m])) > 1e9 or vector(0)') == {"gone_bucket"}


def test_every_metric_of_ours_is_in_the_document(world):
    table = (ROOT / "docs/operations.md").read_text().partition("### Metrics")[2].partition("### The log")[0]
    documented = set(re.findall(r"`([a-z_]+)`", table))
    ours = {name for name in exported(world) if not name.startswith(("process_", "python_")) and "_created" not in name}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours}
    assert families - documented == set()


def documents(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def test_every_process_logs_json_with_what_it_is_about(world):
    logs = {"bridge": world.stack.log, "worker": world.stack.worker_log, "web": world.stack.web_log}
    for kind, path in logs.items():
        assert kind in {document["process"] for document in documents(path)}
    assert documents(logs["bridge"])
    strays = [
        line for path in (logs["bridge"], logs["web"]) for line in path.read_text().splitlines() if line[0] != "{"
    ]
    assert strays == []
    requests = [document for document in documents(logs["web"]) if document["logger"] == "uvicorn.access"]
    assert all(len(document["request_id"]) == 32 for document in requests)
    assert requests


def test_no_secret_is_in_a_log_at_debug(world):
    text = "".join(path.read_text() for path in (world.stack.log, world.stack.worker_log, world.stack.web_log))
    assert "HARB-HARB-2345" not in text
    for name in ("SECRET_KEY", "DJI_APP_LICENSE", "FIELD_ENCRYPTION_KEYS"):
        assert not (secret := world.stack.env.get(name)) or secret not in text


def test_a_killed_bridge_makes_the_alerts_conditions_true(world, report):
    world.bridge.kill()
    world.bridge.wait()
    world.stack.database.rows("UPDATE mqtt_bridge_heartbeat SET beat_at = beat_at - interval '60 s' RETURNING 1")
    [down] = [rule for rule in RULES if rule["alert"] == "BridgeDown"]
    assert down["expr"] == "max(bridge_up) == 0"
    assert value(world.scrape("web"), "bridge_up") == 0
    [active] = [rule for rule in RULES if rule["alert"] == "NoActiveBridge"]
    assert active["expr"] == "(sum(bridge_active) or vector(0)) < 1"
    with pytest.raises(urllib.error.URLError):  # to Prometheus there is no bridge_active any more
        world.scrape("bridge")
    standby = world.stack.start_bridge(BRIDGE_METRICS_ADDRESS=world.urls["bridge"].split("/")[2])
    assert value(world.scrape("bridge"), "bridge_active") == 1
    other = world.stack.start_bridge(wait=False, BRIDGE_METRICS_ADDRESS="127.0.0.1:0")
    wait_for(lambda: "Standing by" in world.stack.log.read_text())
    assert value(scrape(ADDRESS.findall(world.stack.log.read_text())[-1]), "bridge_active") == 0
    for process in (standby, other):
        assert world.stack.stop_bridge(process) == 0
