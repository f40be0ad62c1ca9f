"""A hostile dock with an account of its own, against the broker as shipped; without its access list, as the control."""

import statistics
import time

import pytest

from tests.clients import V3, V5
from tests.fault.hostile import SPARE, attack, fill_memory, hostile_world, prepare, start_mqtt_acl, take_client_id
from tests.fault.load import IS_FULL, size
from tests.stack import manage, wait_for

pytestmark = pytest.mark.fault

PROTOCOLS = {"MQTT 3.1.1": V3, "MQTT 5": V5}
TAKEN = 20  # connections under the bridge's client id
FLOOD = size(60, 400)  # megabytes
SECONDS = 2.0  # from the end of an account to the end of its connection
AS_THE_BRIDGE = "Client dock-cloud-bridge already connected"  # what Mosquitto says of a second one

# Half of them are revoked, half expire; prints when, by the clock that all processes share.
END = """
import time
from datetime import timedelta
from django.utils import timezone
from devices.broker import accounts
from devices.models import BrokerAccount
from organizations.audit import Actor
from organizations.models import AuditEvent
for number, row in enumerate(BrokerAccount.objects.filter(username__startswith="REVOKED").order_by("username")):
    if number % 2:
        accounts.revoke([row], actor=Actor(AuditEvent.Through.COMMAND))
        moment = time.monotonic()
    else:
        BrokerAccount.objects.filter(pk=row.pk).update(expires_at=timezone.now() + timedelta(seconds=0.1))
        moment = time.monotonic() + 0.1
    print(row.username, moment)
    time.sleep(0.13)
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory, prepared):
    return prepare(tmp_path_factory.mktemp("start"), prepared("postgresql"))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory, start):
    with hostile_world(tmp_path_factory.mktemp("shipped"), start, access_list=True) as world:
        yield world


@pytest.fixture(scope="module")
def unprotected(tmp_path_factory, start):
    with hostile_world(tmp_path_factory.mktemp("open"), start, access_list=False) as world:
        yield world


def show(report, title, table):
    lines = [f"{row.name:<72} {row.tried:>3}  {', '.join(row.leaks[:3]) or '-'} ({len(row.leaks)})" for row in table]
    report("\n  ".join([f"{title}: what a hostile dock tries, how often, what came of it", *lines]))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_hostile_dock_gets_nothing_and_reaches_nothing(protocol, shipped, report):
    table = attack(shipped, PROTOCOLS[protocol])
    show(report, f"{protocol}, access list on", table)
    assert {row.name: row.leaks for row in table if row.leaks} == {}


@pytest.mark.turns(3)
def test_without_the_access_list_the_same_attempts_succeed(unprotected, report):
    for name, protocol in PROTOCOLS.items():
        table = attack(unprotected, protocol)
        show(report, f"{name}, access list off", table)
        assert [row.name for row in table if not row.leaks and row.leaks_without] == []
    before, peak = fill_memory(unprotected, FLOOD)
    report(f"access list off: {FLOOD} MB took the broker from {before} to {peak} MB")
    assert peak - before > FLOOD / 2
    asked, answered = take_client_id(unprotected, 4)  # the last: the bridge needs a minute to recover
    report(f"access list off, the bridge's client id taken 4 times: {asked - answered} of {asked} unanswered")
    assert answered < asked
    assert AS_THE_BRIDGE in unprotected.broker.log.read_text()


def test_nobody_takes_the_bridges_client_id(shipped, report):
    asked, answered = take_client_id(shipped, TAKEN)
    report(f"{TAKEN} connections under the bridge's client id: {answered} of {asked} requests answered")
    assert AS_THE_BRIDGE not in shipped.broker.log.read_text()


def test_one_dock_does_not_fill_the_brokers_memory(shipped, report):
    before, peak = fill_memory(shipped, FLOOD)
    report(f"{FLOOD} MB that nobody reads took the broker from {before} to {peak} MB")
    assert peak - before < FLOOD / 4
    if IS_FULL:  # what the bridge reads is as fast as the bridge
        for octets in (250_000, 4_000_000):
            before, peak = fill_memory(shipped, FLOOD, channel="events", size=octets)
            report(f"{FLOOD} MB of events of {octets // 1000} kB took the broker from {before} to {peak} MB")


def test_connected_dock_is_thrown_out_when_its_account_ends(shipped, report):
    clients = {name: shipped.dock(name) for name in shipped.secrets if name.startswith("REVOKED")}
    assert all(client.is_connected for client in clients.values())
    ended = [line.split() for line in manage("shell", "-v0", "-c", END, env=shipped.stack.env).splitlines()]
    seconds = [clients[name].wait_for_end() - float(moment) for name, moment in ended]
    for client in clients.values():
        client.close()
    report("thrown out after " + ", ".join(f"{one:.2f}" for one in seconds) + " s")
    assert len(seconds) == 10
    # Other tests on these cores only add to the waiting, so in a quick run the half that is not late is proof.
    assert size(statistics.median, max)(seconds) <= SECONDS
    for name in clients:
        with shipped.dock(name) as again:
            assert again.refusal


def test_what_changed_while_one_side_was_away_is_made_up_for(shipped, report):
    report("in step again: " + ", ".join(f"{away.__name__} {away(shipped):.1f} s" for away in AWAY))


def broker_away(world):
    world.broker.stop()
    enable(world, False)
    world.broker.start()
    return until_enabled(world, False)


def database_away(world):
    ours = "datname = current_database() AND pid <> pg_backend_pid() AND query ~ 'devices_(pairing|brokeraccount)'"
    wait_for(lambda: world.stack.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}"))
    enable(world, True)
    return until_enabled(world, True)


def service_away(world):
    assert world.stack.stop_bridge(world.mqtt_acl) == 0
    enable(world, False)
    world.mqtt_acl = start_mqtt_acl(world.stack)
    return until_enabled(world, False)


AWAY = broker_away, database_away, service_away


def enable(world, is_enabled):
    world.stack.rows(
        f"UPDATE devices_device SET is_enabled = {is_enabled}, updated = now() WHERE sn = '{SPARE}' RETURNING 1"
    )


def until_enabled(world, is_enabled):
    """Wait until the dock comes in, or does not; returns the seconds."""
    began = time.monotonic()

    def is_let_in():
        with world.dock(SPARE) as client:
            return client.is_connected

    wait_for(lambda: is_let_in() == is_enabled)
    return time.monotonic() - began
