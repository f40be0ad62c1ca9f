"""A dock with an account of its own that attacks another one, and those who see what comes of it."""

import json
import os
import re
import socket
import ssl
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from devices.broker.keeping import INTERVAL
from mqtt_bridge.protocol.topics import Channel
from tests.clients import V3, V5, Client, certificates_of
from tests.fault.test_flood import packet, text
from tests.fork_server import Program
from tests.shipped_broker import ADMIN, SERVER, ShippedBroker
from tests.stack import PostgresDatabase, Stack, manage, run_server, wait_for

HOSTILE, VICTIM, SPARE = "HOSTILE1", "VICTIM01", "SPARE001"
CARRIED, FORMER, OTHERS = "HOSTILEAIR", "FORMERAIR", "VICTIMAIR"
SECRET = "S3CRET-OF-THE-VICTIM"  # in whatever only the victim may read
MARK = "forged"  # in whatever the hostile dock says

LOGINS = {"": SERVER, "ADMIN_": ADMIN}
SETUP = f"""
import json
from django.utils import timezone
from devices.broker import accounts
from devices.models import Device, DeviceState, Pairing
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization
now = timezone.now()
Organization.objects.filter(organization_id="87654321").update(app_id="2002", app_key="key")
grid = Organization.objects.get(organization_id="87654321")
grid.app_license = "{SECRET} license"
grid.save()
harbour = Organization.objects.get(organization_id="12345678")
def dock(sn, owner, *aircraft):
    made = Device.objects.create(sn=sn, model_key="3-2-0", organization=owner, bound_at=now, claim="code")
    for name in aircraft:
        gone = now if name == "{FORMER}" else None
        one = Device.objects.create(
            sn=name, model_key="0-91-0", organization=owner, claim="named", gateway=None if gone else made
        )
        Pairing.objects.create(
            dock=made, aircraft=one, since=now, until=gone, linked_since=None if gone else now, changed_at=now,
            witness="topology",
        )
    return made
actor = Actor(AuditEvent.Through.COMMAND)
docks = [dock("{HOSTILE}", harbour, "{CARRIED}", "{FORMER}"), dock("{VICTIM}", grid, "{OTHERS}"), dock("{SPARE}", grid)]
docks += [dock(f"REVOKED{{number}}", grid) for number in range(10)]
print(json.dumps({{row.username: row.plain for row in accounts.issue_many(docks, actor=actor).accounts}}))
"""


class Row(NamedTuple):
    """One line of the table: how often it was tried, and what came of it."""

    name: str
    tried: int
    leaks: list[str]
    leaks_without: bool = True  # whether a broker without an access list lets it happen


class World:
    """Bridge and broker, `mqtt_acl` if there is an access list, and the docks' secrets by user name."""

    def __init__(self, stack, secrets):
        self.stack, self.broker, self.secrets = stack, stack.broker, secrets
        self.certificates = certificates_of(stack.broker)

    def dock(self, sn, **options):
        """A connection with a dock's account."""
        return Client(self.broker.dock_url(sn, self.secrets[sn]), self.certificates, **options)

    def server(self, name):
        """A connection with the account of bridge and workers."""
        return Client(self.broker.url, self.certificates, client_id=name)


class Start(NamedTuple):
    """What each world starts from: a database that nobody uses, the accounts of a broker, the docks' secrets."""

    database: PostgresDatabase
    security: str
    secrets: dict[str, str]


def prepare(folder, template):
    """Set up the docks and write what `mqtt_acl --init` writes."""
    database = PostgresDatabase(run_server(), folder, template)
    env = os.environ | {"DATABASE_URL": database.url}
    secrets = json.loads(manage("shell", "-v0", "-c", SETUP, env=env))
    urls = {f"MQTT_{name}URL": f"mqtts://{quote(':'.join(login), ':')}@localhost:1" for name, login in LOGINS.items()}
    manage("mqtt_acl", "--init", str(folder / "security.json"), env=env | urls)
    return Start(database, (folder / "security.json").read_text(), secrets)


@contextmanager
def hostile_world(folder, start, *, access_list):
    """A world from the shipped configuration, set up as an operator would; without `access_list`, open to all."""
    broker = ShippedBroker(access_list=access_list)
    broker.security.write_text(start.security)
    database = PostgresDatabase(run_server(), folder, start.database)
    with broker:
        stack = Stack(database, broker, folder, **broker.settings)
        try:
            world = World(stack, start.secrets)
            world.mqtt_acl = start_mqtt_acl(stack) if access_list else None
            stack.start_bridge()
            yield world
        finally:
            stack.close()
            database.close()


def start_mqtt_acl(stack):
    """Start the service; returns its process when the broker is in step."""
    log = stack.log.with_name("mqtt_acl.log")
    before = log.read_text().count("in step") if log.exists() else 0
    with log.open("ab") as file:
        process = Program(["manage.py", "mqtt_acl"], env=stack.env, stderr=file.fileno())
    stack.bridges.append(process)
    wait_for(lambda: log.read_text().count("in step") > before or process.poll() is not None)
    assert process.poll() is None, log.read_text()[-3000:]
    return process


# --- what the hostile dock tries -------------------------------------------------------------------

UPLINK_AND_DOWNLINK = (*Channel, "drc/up", "drc/down", "state_reply", "network/probe")
OF_VICTIM = [f"{root}/product/{VICTIM}/{channel}" for root in ("thing", "sys") for channel in UPLINK_AND_DOWNLINK]
OF_AIRCRAFT = [f"thing/product/{sn}/{channel}" for sn in (OTHERS, FORMER) for channel in ("osd", "state", "events")]
OF_SERVER = [
    "bridge/dock-cloud-bridge/ping",
    f"enrol/thing/product/{VICTIM}/requests",
    f"enrol/thing/product/{VICTIM}/requests_reply",
    f"thing/product/{HOSTILE}/services",
    f"thing/product/{HOSTILE}/requests_reply",
    f"sys/product/{HOSTILE}/status_reply",
]
# Mosquitto itself takes these from nobody, and without the plugin no commands.
OF_BROKER = ["$SYS/broker/log/N", "$SYS/broker/version", "$SYS/broker/x", "$CONTROL/dynamic-security/v1/response"]
CONTROL = "$CONTROL/dynamic-security/v1"
INTRUDER = "INTRUDER"
FILTERS = [
    *("#", "+/#", "+/+/+/+", "thing/#", "sys/#", "thing/product/#", "thing/product/+/#", "+/product/+/services"),
    *("thing/product/+/services", "thing/product/+/requests_reply", "thing/product/+/requests", "thing/product/+/osd"),
    *(f"thing/product/{VICTIM}/{channel}" for channel in (*Channel, "#", "+")),
    *(f"sys/product/{VICTIM}/{channel}" for channel in ("status", "status_reply", "#")),
    *(
        f"thing/+/{VICTIM}/#",
        f"+/product/{VICTIM}/services",
        f"thing/product/{OTHERS}/osd",
        f"thing/product/{OTHERS}/#",
    ),
    *("bridge/dock-cloud-bridge/ping", "bridge/#", "enrol/#", f"enrol/thing/product/{VICTIM}/requests"),
    *("$SYS/#", "$SYS/broker/log/N", "$SYS/broker/log/#", "$CONTROL/#", "$CONTROL/dynamic-security/v1/response"),
    *("$share/x/#", "$share/x/thing/product/+/services", f"$share/x/thing/product/{VICTIM}/services"),
    f"$share/x/thing/product/{HOSTILE}/services",
]


def said(method, data, *, gateway=VICTIM, tid="t"):
    """A message of a dock or of the server."""
    return json.dumps({"tid": tid, "bid": "b", "timestamp": 1, "gateway": gateway, "method": method, "data": data})


def attack(world, protocol):
    """Try everything once; returns the table."""
    with world.server("observer") as observer, world.dock(VICTIM) as victim:
        for name in (
            ("thing/#", "sys/#", "bridge/#", "enrol/#", "$SYS/#", "$CONTROL/#")
            if not world.broker.access_list
            else SEEN_BY_SERVER
        ):
            assert observer.subscribe(name)
        for root in ("thing", "sys"):
            assert victim.subscribe(f"{root}/product/{VICTIM}/#")
        return [
            *_publish(world, protocol, observer, victim),
            *_last_wills(world, protocol, observer),
            *_listen(world, protocol, observer, victim),
            *_deceive(world, protocol, victim),
        ]


SEEN_BY_SERVER = (
    *("thing/product/+/#", "sys/product/+/#", "bridge/+/ping", "enrol/thing/product/+/requests"),
    "$SYS/broker/#",
)


def _settle(world, observer, sender):
    """Wait until all that the sender said before has arrived, if it arrives at all."""
    last = f"last {time.monotonic()}"
    sender.publish(f"thing/product/{HOSTILE}/osd", last)
    wait_for(lambda: any(payload == last.encode() for _, payload in observer.received))


def _publish(world, protocol, observer, victim):
    """Each topic of another, in each manner; what arrives anywhere is a leak."""
    manners = {"": {}, "retained": {"retain": True}, "at QoS 0": {"qos": 0}}
    with world.dock(HOSTILE, protocol=protocol) as hostile:
        for label, topics in {
            "publishes on every topic of another dock": OF_VICTIM,
            "publishes as another dock's aircraft and its own former one": OF_AIRCRAFT,
            "publishes as the server": OF_SERVER,
            "publishes as the broker": OF_BROKER,
        }.items():
            for manner, options in manners.items():
                seen, heard = len(observer.received), len(victim.received)
                for topic in topics:
                    hostile.publish(topic, f'{{"{MARK}": 1}}', **options)
                _settle(world, observer, hostile)
                arrived = observer.received[seen:] + victim.received[heard:]
                leaks = sorted({topic for topic, payload in arrived if MARK in payload.decode()})
                yield Row(f"{label} {manner}".strip(), len(topics), leaks, topics is not OF_BROKER)
            seen = len(observer.received)
            for topic in topics:
                hostile.publish(topic, b"", retain=True)
            _settle(world, observer, hostile)
            leaks = [topic for topic, said in observer.received[seen:] if not said]
            yield Row(f"{label} empty", len(topics), leaks, topics is not OF_BROKER)
        assert hostile.is_connected
        yield Row("commands the broker's dynamic security", 4 * 4, _command_broker(world, hostile, victim), False)


def _command_broker(world, hostile, victim):
    """Make an account, take another's password, throw it out, allow everything; in each manner of publishing."""
    commands = [
        {"command": "createClient", "username": INTRUDER, "password": "p"},
        {"command": "addClientRole", "username": HOSTILE, "rolename": "dock-cloud-bridge/server"},
        {"command": "setClientPassword", "username": VICTIM, "password": "p"},
        {"command": "setDefaultACLAccess", "acls": [{"acltype": "publishClientSend", "allow": True}]},
    ]
    before = world.broker.security.read_text()
    for command in commands:
        text = json.dumps({"commands": [command]})
        for options in ({}, {"retain": True}, {"qos": 0}, {"qos": 2}):
            hostile.publish(CONTROL, text, **options)
    hostile.publish(f"thing/product/{HOSTILE}/osd", "{}")  # taken after all of it
    now = world.broker.security.read_text()
    return (
        [name for name in (INTRUDER,) if name in now] + ["file"] * (now != before) + ["out"] * (not victim.is_connected)
    )


def _last_wills(world, protocol, observer):
    topics = [f"thing/product/{VICTIM}/services", f"thing/product/{VICTIM}/osd", f"sys/product/{VICTIM}/status"]
    seen = len(observer.received)
    for topic in topics:
        client = world.dock(HOSTILE, protocol=protocol, will=(topic, f"{MARK} will", 1, False))
        client.close(politely=False)
    with world.dock(HOSTILE, protocol=protocol) as hostile:
        _settle(world, observer, hostile)
    if not world.broker.access_list:
        wait_for(lambda: any(b"will" in payload for _, payload in observer.received[seen:]))
    leaks = [topic for topic, payload in observer.received[seen:] if b"will" in payload]
    yield Row("leaves last wills on another dock's topics", len(topics), leaks)


def _listen(world, protocol, observer, victim):
    """Each filter; then the server and the victim say what only the victim or the server may read."""
    with world.dock(HOSTILE, protocol=protocol) as hostile:
        granted = [name for name in FILTERS if hostile.subscribe(name)]
        yield Row("subscribes to every filter", len(FILTERS), granted)
        config = said("config", {"config_type": "json", "config_scope": "product"})
        answered = len(victim.received)
        victim.publish(f"thing/product/{VICTIM}/requests", config)
        wait_for(lambda: any(b"app_license" in payload for _, payload in victim.received[answered:]))
        with world.server("worker") as worker:
            secrets = {
                "login_dji_account": {"username": "u", "password": f"{SECRET} password"},
                "unlock_license_update": {"file": {"url": f"https://docks.example.com/license-files/{SECRET} file/x"}},
            }
            for method, data in secrets.items():
                worker.publish(f"thing/product/{VICTIM}/services", said(method, data), qos=0)
            worker.publish(f"thing/product/{VICTIM}/events_reply", said("x", {"answer": f"{SECRET} answer"}))
        victim.publish(f"thing/product/{VICTIM}/osd", said("", {"height": f"{SECRET} telemetry"}))
        wait_for(lambda: all(any(word in str(one) for one in victim.received) for word in ("password", "file/x")))
        _settle(world, observer, hostile)
        if not world.broker.access_list:
            wait_for(lambda: "telemetry" in str(hostile.received))
        for name, word in {
            "reads DJI passwords from services": "password",
            "reads the address of a license file": "file",
            "reads the app license of another organization": "license",
            "reads answers to another dock": "answer",
            "reads another dock's telemetry": "telemetry",
        }.items():
            leaks = [topic for topic, payload in hostile.received if f"{SECRET} {word}" in payload.decode()]
            yield Row(name, 1, sorted(set(leaks)))
        pings = [topic for topic, _ in hostile.received if topic.startswith(("bridge/", "$"))]
        yield Row("hears pings and what the broker says of itself", 1, sorted(set(pings)))
        assert hostile.is_connected


def _deceive(world, protocol, victim):
    """What a forged message does to the rows and to the victim."""
    token = f"{protocol}-{time.monotonic()}"
    heard = len(victim.received)

    def count(table, condition):
        return world.stack.rows(f"SELECT count(*) FROM {table} WHERE {condition}")[0][0]

    def journalled(channel, tid=token, gateway=VICTIM):
        condition = f"gateway_sn = '{gateway}' AND tid = '{tid}' AND channel = '{channel}'"
        return count("mqtt_bridge_exchange", condition)

    def stored(sn, words):
        states = "devices_devicestate s JOIN devices_device d ON d.id = s.device_id"
        return count(states, f"d.sn = '{sn}' AND s.properties::text LIKE '%{words}%'")

    def detached():
        docks = f"(SELECT id FROM devices_device WHERE sn = '{VICTIM}')"
        return count("devices_pairing", f"dock_id = {docks} AND until IS NOT NULL")

    requests, services = (f"thing/product/{VICTIM}/{channel}" for channel in ("requests", "services"))
    with world.dock(HOSTILE, protocol=protocol) as hostile:
        hostile.publish(services, said("unlock_license_switch", {"license_id": 1, "enable": False}, tid=token))
        hostile.publish(requests, said("config", {"config_type": "json", "config_scope": "product"}, tid=token))
        for number in range(5):
            entry = {"sn": VICTIM, "device_binding_code": f"WRONG{token}{number}", "organization_id": "87654321"}
            hostile.publish(requests, said("airport_organization_bind", {"bind_devices": [entry]}))
        gone = {"sub_device": {"device_sn": "", "device_paired": 0, "device_online_status": 0}, MARK: token}
        hostile.publish(f"thing/product/{VICTIM}/osd", said("", gone))
        licenses = {"result": 0, "device_model_domain": 3, "consistence": True, "licenses": []}
        hostile.publish(f"thing/product/{VICTIM}/services_reply", said("unlock_license_list", licenses, tid=token))
        # On its own topics it may name what it likes; that does not make it the dock of another's aircraft.
        topology = {"domain": "3", "type": 2, "sub_type": 0, "sub_devices": [{"sn": OTHERS, "domain": "0", "type": 91}]}
        hostile.publish(f"sys/product/{HOSTILE}/status", said("update_topo", topology, gateway=HOSTILE, tid=token))
        wait_for(lambda: journalled("status", gateway=HOSTILE))
        if world.broker.access_list:
            time.sleep(2 * INTERVAL)  # in which `mqtt_acl` would give it the right
        else:
            wait_for(detached)  # before the aircraft's next words attach it again
        hostile.publish(f"thing/product/{OTHERS}/osd", said("", {MARK: f"named {token}"}))
        hostile.publish(f"thing/product/{HOSTILE}/osd", said("", {MARK: f"own {token}"}, gateway=HOSTILE))
        wait_for(lambda: stored(HOSTILE, f"own {token}"))  # telemetry is written together
        if not world.broker.access_list:
            wait_for(lambda: detached() and stored(OTHERS, f"named {token}"))
    forged = [topic for topic, payload in victim.received[heard:] if token in payload.decode()]
    locked_out = count("organizations_bindingfailure", f"gateway_sn = '{VICTIM}'") >= 5
    yield Row("commands another dock past the server", 1, [topic for topic in forged if topic == services])
    yield Row("has the server answer in another dock's name", 1, ["answered"] * journalled("requests"))
    yield Row("forges a license list", 1, ["taken"] * journalled("services_reply"))
    yield Row("forges telemetry", 1, ["stored"] * stored(VICTIM, token))
    yield Row("detaches an aircraft", 1, ["detached"] * detached())
    yield Row("locks a dock out with five wrong codes", 5, ["locked out"] * locked_out)
    yield Row("names another's aircraft, then speaks as it", 1, ["stored"] * stored(OTHERS, f"named {token}"))


# --- what no list of topics stops -------------------------------------------------------------------


def take_client_id(world, connections):
    """Connect so often as the bridge while the victim asks; returns how often it asked and was answered."""
    with world.dock(VICTIM) as victim:
        assert victim.subscribe(f"thing/product/{VICTIM}/requests_reply")
        asked = 0
        for number in range(connections):
            for _ in range(5):
                question = said("airport_bind_status", {"devices": [{"sn": VICTIM}]}, tid=f"taken{asked}")
                victim.publish(f"thing/product/{VICTIM}/requests", question)
                asked += 1
            url = world.broker.dock_url(HOSTILE, world.secrets[HOSTILE])
            if number % 2:
                url = world.broker.address(HOSTILE, world.secrets[HOSTILE], port=world.broker.port)
            protocol = V5 if number % 4 < 2 else V3
            Client(url, world.certificates, client_id="dock-cloud-bridge", protocol=protocol).close()

        def answered():
            return len({json.loads(payload)["tid"] for _, payload in victim.received if b'"taken' in payload})

        if world.broker.access_list:
            wait_for(lambda: answered() == asked)
        else:
            time.sleep(2.0)
        return asked, answered()


def fill_memory(world, megabytes, *, channel="drc/up", size=250_000):
    """Subscribe to what it says itself and read nothing; returns megabytes of the broker before and at most.

    Nobody but its sender would get what comes on `drc/up`.
    """
    pid = world.broker.process.pid
    before = peak = _megabytes(pid)
    context = ssl.create_default_context(cafile=world.certificates.ca_file)
    with (
        socket.create_connection(("127.0.0.1", world.broker.dock_port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as line,
    ):
        login = text(HOSTILE) + text(HOSTILE) + text(world.secrets[HOSTILE])
        line.sendall(packet(0x10, text("MQTT") + b"\x04\xc2\x00\x00" + login))
        line.recv(4)
        line.sendall(packet(0x82, b"\x00\x01" + text(f"thing/product/{HOSTILE}/#") + b"\x01"))
        line.recv(5)
        message = packet(0x30, text(f"thing/product/{HOSTILE}/{channel}") + bytes(size))
        for _ in range(megabytes * 1_000_000 // size):
            line.sendall(message)
            peak = max(peak, _megabytes(pid))
    return before, peak


def _megabytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024
