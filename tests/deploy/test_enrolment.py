"""Docks that come through the enrolment broker: both brokers as shipped, over TLS, and a real bridge."""

import asyncio
import itertools
import json
import random
import time
from dataclasses import replace

import pytest
from django.test import override_settings

from devices.broker import wanted
from devices.broker.wanted import Wanted
from devices.models.broker import Digest
from mqtt_bridge.protocol.access import Account, Kind
from mqtt_bridge.simulator import joining
from mqtt_bridge.simulator.connection import PROTOCOLS
from mqtt_bridge.simulator.dialogue import Patience
from mqtt_bridge.simulator.fleet import CredentialsFile
from tests.clients import Client, certificates_of
from tests.fault.altered_bridge import command
from tests.fault.load import IS_FULL, size
from tests.shipped_broker import ADMIN, SERVER, ShippedBroker
from tests.shipped_enrolment import BRIDGE, CLIENT_ID, ENROLMENT, EnrolmentBroker
from tests.stack import QUICK, running_stack, wait_for

SECRET = "the secret of each dock"
OWN = [f"{prefix}{number:05}" for prefix in ("OLD", "NEW3", "NEW5", "HEARD", "VIEWER") for number in (1, 2)]
FLOOD = 2_000  # messages per second
SECONDS = size(1, 10)
ASKED = size(50, 100)


class World:
    """Both brokers and a stack with a bridge; `loop` and fleets come from the stack."""

    def __init__(self, stack, enrolment):
        self.stack, self.main, self.enrolment = stack, stack.broker, enrolment
        self.certificates = certificates_of(stack.broker)
        self.options = replace(QUICK, certificates=self.certificates)

    def newcomer(self, client_id, **options):
        """A client with the enrolment account."""
        return Client(self.enrolment.dock_url, self.certificates, client_id=client_id, **options)

    def spy(self):
        """A client that may read all that docks send, as our own processes may."""
        client = Client(self.main.url, self.certificates, client_id="spy")
        for topic in ("thing/product/+/#", "sys/product/+/#", "enrol/thing/product/+/requests"):
            assert client.subscribe(topic)
        return client

    def dock_url(self, sn):
        return self.main.dock_url(sn, SECRET)

    def give_account(self, sn):
        """The row that says that this dock has an account of its own; the broker has it already."""
        digest = Digest.of(SECRET)
        self.stack.rows(
            "INSERT INTO devices_brokeraccount (username, kind, device_id, label, digest, salt, iterations, pending,"
            " created, updated, last_address)"
            f" SELECT sn, 'dock', id, '', '{digest.digest}', '{digest.salt}', 101, '', now(), now(), ''"
            f" FROM devices_device WHERE sn = '{sn}' RETURNING id"
        )

    def device(self, sn):
        """(claim, whether it came through enrolment, whether it is online)."""
        sql = (
            "SELECT d.claim, d.enrolled_at IS NOT NULL, coalesce(s.online, false) FROM devices_device d"
            f" LEFT JOIN devices_devicestate s ON s.device_id = d.id WHERE d.sn = '{sn}'"
        )
        return (self.stack.rows(sql) or [None])[0]


def initialize(broker, docks):
    """Write what `manage.py mqtt_acl --init` does, before the first start."""
    urls = {
        "MQTT_URL": broker.address(*SERVER, port=1),
        "MQTT_ADMIN_URL": broker.address(*ADMIN, port=1),
        "ENROLMENT_BRIDGE_URL": broker.address(*BRIDGE, port=1),
        "ENROLMENT_MQTT_ADMIN_URL": broker.address(*ADMIN, port=2),
    }
    with override_settings(**urls, DOCK_MQTT_USERNAME=ENROLMENT[0], DOCK_MQTT_PASSWORD=ENROLMENT[1]):
        kept = wanted.brokers()[isinstance(broker, EnrolmentBroker)]
        accounts = {one.account.username: one for one in [*wanted.ours(kept), *docks]}
        broker.security.write_text(json.dumps(wanted.complete_file(kept, accounts)))


@pytest.fixture(scope="module")
def world(prepared, tmp_path_factory):
    main = ShippedBroker()
    folder, template = tmp_path_factory.mktemp("enrolment"), prepared("postgresql")
    env = {"MQTT_CA_FILE": str(main.authority.ca_file)}
    docks = [Wanted(Account(sn, Kind.DOCK, sn), Digest.of(SECRET), SECRET, "") for sn in OWN]
    initialize(main, docks)
    with running_stack("postgresql", folder, template=template, broker=main, **env) as stack:
        stack.start_bridge()
        enrolment = EnrolmentBroker(main)
        initialize(enrolment, [])
        with enrolment:
            yield World(stack, enrolment)


def asked(method, sn, *, tid="t1", **data):
    said = {"tid": tid, "bid": "b", "timestamp": 1, "gateway": sn, "method": method, "data": data}
    return json.dumps(said).encode()


def config(sn, **fields):
    return asked("config", sn, config_type="json", config_scope="product", **fields)


def requests(sn):
    return f"thing/product/{sn}/requests"


@pytest.mark.parametrize("mqtt", PROTOCOLS)
def test_dock_binds_through_enrolment_and_then_lives_with_its_own_account(world, mqtt, tmp_path):
    file = tmp_path / "accounts.csv"
    file.write_text("sn,username,password\n")
    prefix = f"NEW{mqtt[0]}"
    sn = f"{prefix}00001"
    credentials = CredentialsFile(str(file), world.dock_url("x"))
    with world.stack.fleet(
        sn_prefix=prefix,
        options=replace(world.options, mqtt=mqtt),
        mqtt_url=world.dock_url(sn),
        enrolment_url=world.enrolment.dock_url,
        credentials=credentials,
        habits=["subscribes-to-more"],
    ) as (fleet, _):
        dock = fleet.docks[0]
        wait_for(lambda: dock.is_enrolled)
        assert world.device(sn) == ("enrol", True, False)
        assert {step.name for step in dock.steps if step.outcome == "partly refused"} == {"subscribe"}
        world.give_account(sn)
        file.write_text(f"sn,username,password\n{sn},{sn},{SECRET}\n")
        wait_for(lambda: dock.is_onboarded)
        wait_for(lambda: world.device(sn)[2])
        # With its own account only the filter of another dock is denied, which does not end the connection.
        assert dock.connection.denied == [f"thing/product/NOT{sn}/services"]
        assert fleet.ledger.complaints == []
        with world.newcomer("thief") as thief:
            assert thief.subscribe(f"{requests(sn)}_reply")
            assert answered(thief, sn, ["t1"]) == 1
            assert json.loads(thief.received[0][1])["data"]["result"] != 0


@pytest.mark.parametrize("protocol", [3, 5])
def test_an_enrolment_account_hears_and_reaches_nothing_else(world, protocol):
    """Each topic and filter that is worth something; requests of any number are all that gets through."""
    version = PROTOCOLS["5" if protocol == 5 else "3.1.1"]
    names = ("services", "events", "requests_reply", "property/set", "osd", "state", "status", "drc/up", "unknown")
    topics = [f"thing/product/OLD00001/{name}" for name in names]
    topics += ["sys/product/OLD00001/status", "bridge/dock-cloud-bridge/ping", "$CONTROL/dynamic-security/v1"]
    topics += ["enrol/thing/product/OLD00001/requests", "enrol/thing/product/OLD00001/requests_reply"]
    filters = ["#", "+/#", "thing/#", "thing/product/+/requests_reply", "thing/product/+/requests", "$SYS/#"]
    filters += ["$CONTROL/#", "enrol/#", "sys/product/+/status_reply", "$share/g/thing/product/+/requests_reply"]
    with world.spy() as spy, world.newcomer("hostile", protocol=version) as hostile:
        assert [name for name in filters if hostile.subscribe(name)] == []
        for topic in topics:
            hostile.publish(topic, config("OLD00001"))
            hostile.publish(topic, config("OLD00001"), qos=0)
        assert hostile.is_connected
        assert hostile.subscribe("thing/product/MINE/requests_reply")
        assert answered(hostile, "MINE", ["mine"]) == 1
        assert {topic for topic, _ in hostile.received} == {"thing/product/MINE/requests_reply"}
        mine = "enrol/thing/product/MINE/requests"
        wait_for(lambda: mine in {topic for topic, _ in spy.received})
        assert {topic for topic, _ in spy.received if "MINE" in topic or "OLD00001" in topic} == {mine}


def test_what_is_retained_or_too_large_does_not_get_through(world):
    with world.spy() as spy:
        for number, (payload, retain) in enumerate([(b"{}", True), (b"x" * 70_000, False)]):
            with world.newcomer(f"odd{number}") as odd:
                odd.publish(requests(f"ODD{number}"), payload, retain=retain)
        with world.newcomer("even") as even:
            even.publish(requests("EVEN"))
        wait_for(lambda: any("EVEN" in topic for topic, _ in spy.received))
        assert not [topic for topic, _ in spy.received if "ODD" in topic]


def answered(client, sn, tids, patience=20):
    """How many of these requests are answered; what is not is repeated, as docks do: a flood may just have ended."""
    ended = time.monotonic() + patience
    while time.monotonic() < ended and (left := set(tids) - replies(client, tids)):
        for tid in left:
            client.publish(requests(sn), config(sn, tid=tid))
        again = time.monotonic() + 2
        while time.monotonic() < again and set(tids) - replies(client, tids):
            time.sleep(0.02)
    return len(replies(client, tids))


def replies(client, tids):
    return {json.loads(payload)["tid"] for _, payload in client.received} & set(tids)


def test_nobody_takes_the_client_ids_of_our_own_processes(world):
    """Those of the bridge and of the enrolment broker at the main one, which nobody keeps secret."""

    def connections():
        return world.enrolment.log.read_text().count("Connecting bridge (step 1)")

    with world.newcomer("dock") as dock:
        assert dock.subscribe("thing/product/IDS/requests_reply")
        before = connections()
        for number in range(20):
            for name in ("dock-cloud-bridge", "enrolment-bridge", "local.enrolment-bridge", "enrolment"):
                world.newcomer(name).close(politely=False)
            assert answered(dock, "IDS", [f"ids-{number}"]) == 1
        assert connections() == before
    # The negative control: who knew the secret one would throw the enrolment broker's bridge out.
    world.newcomer(CLIENT_ID).close()
    wait_for(lambda: connections() > before)


def test_requests_wait_while_the_main_broker_restarts(world):
    with world.newcomer("patient") as dock:
        assert dock.subscribe("thing/product/PATIENT/requests_reply")
        assert answered(dock, "PATIENT", ["before"]) == 1
        world.main.kill()
        for number in range(20):
            dock.publish(requests("PATIENT"), config("PATIENT", tid=f"during-{number}"))
        world.main.start()
        assert answered(dock, "PATIENT", ["after"], 60) == 1
        wait_for(lambda: len(replies(dock, [f"during-{number}" for number in range(20)])) == 20)


def ever_new(method, **data):
    """Endless requests, each under another serial number."""
    for number in itertools.count():
        sn = f"FLOOD{number:06}{random.getrandbits(32):08x}"
        yield requests(sn), asked(method, sn, **data)


FLOODS = {
    "new serial numbers": lambda: ever_new("airport_bind_status", devices=[{"sn": "HEARD00001"}]),
    "wrong codes": lambda: ever_new(
        "airport_organization_get",
        organization_id="87654321",
        device_binding_code="WRONGCODE",  # binds nobody here
    ),
    "its own serial number": lambda: itertools.repeat(
        (requests("HEARD00001"), asked("airport_bind_status", "HEARD00001", devices=[{"sn": "HEARD00001"}]))
    ),
}


async def ask(dock, count, seconds):
    tasks = []
    for _ in range(count):
        request = dock.request("airport_bind_status", joining.status_data(dock), patience=Patience(1, None))
        tasks.append(asyncio.ensure_future(request))
        await asyncio.sleep(seconds / count)
    await asyncio.wait(tasks, timeout=60)


def hear(world, flood, report):
    """(how many answers, p95 in seconds) of a dock with its own account during a flood through enrolment."""
    names = {"sn_prefix": "HEARD", "options": replace(world.options, onboard=False)}
    with world.stack.fleet(**names, mqtt_url=world.dock_url("HEARD00001")) as (fleet, loop):
        dock = fleet.docks[0]
        wait_for(lambda: dock.connection.is_open)
        bind = dock.request("airport_organization_bind", joining.bind_data(dock))
        asyncio.run_coroutine_threadsafe(bind, loop).result(60)
        if not world.stack.rows("SELECT id FROM devices_brokeraccount WHERE username = 'HEARD00001'"):
            world.give_account("HEARD00001")
        asking = asyncio.run_coroutine_threadsafe(ask(dock, ASKED, SECONDS), loop)
        with world.newcomer("flooder") as flooder:
            began, sent = time.monotonic(), 0
            messages = FLOODS[flood]()
            while sent < FLOOD * SECONDS:
                for topic, payload in itertools.islice(messages, 20):
                    flooder.publish(topic, payload, qos=0)
                sent += 20
                time.sleep(max(0.0, began + sent / FLOOD - time.monotonic()))
        took = time.monotonic() - began
        asking.result(SECONDS + 90)
        answers = len(fleet.ledger.transactions()) - len(fleet.ledger.unanswered()) - 1
    p95 = fleet.ledger.latency(95)[0]
    report(f"{sent} {flood} in {took:.1f} s; a dock with its own account: {answers} answers, p95 {p95 * 1000:.0f} ms")
    return answers, p95


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_through_enrolment_leaves_every_answer_to_a_dock_with_its_own_account(world, flood, report):
    answers, _ = hear(world, flood, report)
    assert answers == ASKED
    assert world.device("HEARD00001")[0] == "code"


@pytest.mark.skipif(not IS_FULL, reason="the long form of the fault tests")
def test_without_queues_and_tokens_the_flood_delays_every_answer(world, report):
    """The negative control, on the same machine."""
    _, usual = hear(world, "new serial numbers", report)
    world.stack.stop_bridge(world.stack.bridges[-1])
    bridge = world.stack.start_bridge(command=command("one_queue", "no_rate_limit"))
    answers, longer = hear(world, "new serial numbers", report)
    world.stack.stop_bridge(bridge)
    world.stack.start_bridge()
    assert answers < ASKED or longer > 2 * usual
