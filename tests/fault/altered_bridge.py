"""A bridge that lacks a protection or dies at a chosen step: `python -m tests.fault.altered_bridge NAME...`.

Where its control connection has a process of its own, that is altered as well: `... session NAME... FD`.
"""

import math
import os
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace

import django
from django.core.management import call_command

EXIT_CODE = 70  # of a bridge that died at its step


def command(*names):
    """What `Stack.start_bridge` runs for a bridge with these alterations."""
    unknown = set(names) - ALTERATIONS.keys()
    assert not unknown, f"no such alterations: {unknown}"
    return ("-m", "tests.fault.altered_bridge", *names)


# --- protections taken away


def automatic_ack():
    """Acknowledge a message when it arrives."""
    from mqtt_bridge.line import connection

    build_client = connection.build_client
    connection.build_client = lambda *args, **options: build_client(*args, **options | {"manual_ack": False})


def clean_session():
    """Forget what the broker kept for us."""
    from mqtt_bridge.line.session import Session

    Session.clean_start = True
    Session.session_expiry = 0


def no_lock():
    """Serve whether or not another bridge does."""
    from mqtt_bridge.database import lock

    lock.FileLock.acquire = lock.AdvisoryLock.acquire = lambda _self: True
    lock.FileLock.is_held = lock.AdvisoryLock.is_held = lambda _self: True


def endless_waits():
    """Wait for a locked row until it is free."""
    from mqtt_bridge.database import timeouts

    timeouts.limit = lambda _timeouts: None


def no_table():
    """Believe whatever a dock says of a call, in the order in which it comes."""
    from devices.calls import states

    everything = frozenset(states.Status)
    states.MAY = dict.fromkeys(states.MAY, everything)
    states._furthest = lambda _known, told: told


def same_connection():
    """Connect again with the same client, and acknowledge what came before on what comes after."""
    from mqtt_bridge.line.client import ClientWithoutThread
    from mqtt_bridge.line.connection import BridgeConnection, TelemetryConnection

    turn = ClientWithoutThread.turn

    def turn_or_reconnect(self, other, *, timeout):
        if self.is_open:
            return turn(self, other, timeout=timeout)
        time.sleep(0.5)
        with suppress(OSError):
            self.reconnect()
        return False

    ClientWithoutThread.turn = turn_or_reconnect
    BridgeConnection.on_disconnect = lambda *_: None
    TelemetryConnection.check = lambda _self: None


def no_quarantine():
    """Let a message that cannot be read stop the bridge."""
    from mqtt_bridge import dispatch

    refuse = dispatch._refuse

    def fail(item, outcome, *reasons):
        if outcome == "quarantined":
            raise RuntimeError("unreadable")
        return refuse(item, outcome, *reasons)

    dispatch._refuse = fail


def no_rate_limit():
    """Take everything that anybody says."""
    from mqtt_bridge.rate_limit import RateLimiter

    RateLimiter.allow = lambda _self, _sender, **_: True


def no_runs():
    """Handle each message of a device apart from its others, in the order of arrival."""
    from mqtt_bridge import dispatch

    one_queue()
    find = dispatch.find
    dispatch.find = lambda channel, method: replace(find(channel, method), runs=False)


def one_queue():
    """Take messages in the order of arrival, with as many of one device in a batch as there are, as long as it is."""
    from mqtt_bridge.line import connection, inbox, session

    class OneQueue(inbox.Inbox):
        """Nobody has a queue of its own, though each device has its own tokens."""

        def put(self, delivery):
            self._count += 1
            self.size += len(delivery.payload)
            self._strangers.setdefault("", deque()).append(delivery)

    connection.RECEIVE_MAXIMUM = 512
    session.Inbox = OneQueue
    inbox.WORK = math.inf


def any_ping():
    """Take whatever comes as a ping for our own and write the heartbeat, in the order of arrival."""
    from mqtt_bridge.line.admission import Admission

    Admission.admit = lambda _self, _delivery: True
    one_queue()


def no_work():
    """Let every message cost the same, whatever work it makes, and take them in the order of arrival."""
    from mqtt_bridge.line import inbox
    from mqtt_bridge.rate_limit import RateLimiter

    inbox.cost = lambda _topic, _payload: 1
    RateLimiter.charge = lambda *_: None
    one_queue()


def one_connection():
    """Take telemetry by the same connection as requests, in the order of arrival, and write it message by message."""
    from devices.device_state import store
    from mqtt_bridge.bridge import Bridge
    from mqtt_bridge.protocol import topics
    from mqtt_bridge.telemetry import TelemetryBuffer

    one_queue()
    no_rate_limit()
    topics.CONTROL_FILTERS = (*topics.CONTROL_FILTERS, *topics.TELEMETRY_FILTERS)
    handle = Bridge._handle

    def handle_both(self, control, buffer, deliveries):
        for delivery in deliveries:
            if delivery.topic.endswith("/osd"):
                writer = TelemetryBuffer(self.counters)
                writer.add(delivery.topic, delivery.payload)
                writer._flush(store)
        handle(self, control, buffer, deliveries)

    Bridge._handle = handle_both


def retained_messages():
    """Ask for retained messages and take them for new ones."""
    from paho.mqtt.subscribeoptions import SubscribeOptions

    from mqtt_bridge.line import connection, session

    connection.subscriptions = lambda filters, *, qos: [(topic, SubscribeOptions(qos=qos)) for topic in filters]
    delivery = session.Delivery
    session.Delivery = lambda **fields: delivery(**fields | {"retained": False})


def any_topic():
    """Believe any text in a topic to be a serial number."""
    import re

    from mqtt_bridge.protocol import topics

    topics._SN = re.compile("")


# --- no protection: what a test need not wait for


def frequent_heartbeat():
    """Tell the counters every second."""
    from mqtt_bridge import bridge

    bridge.PING_INTERVAL = 1.0


def stop_amid():
    """Do nothing for a while amid the first transaction that binds, longer than PostgreSQL lets us."""
    from mqtt_bridge.database import timeouts

    timeouts.BRIDGE = timeouts.BRIDGE._replace(idle=200)
    stops = [1.0]

    def slowly(bind):
        def bind_and_stop(messages):
            replies = bind(messages)
            if stops:
                time.sleep(stops.pop())
            return replies

        return bind_and_stop

    alter_bind(slowly)


def alter_bind(alter):
    """Let another handler bind: what `alter` makes of the one in the table. It runs inside the transaction."""
    from cloudapi.mqtt_routes import ROUTES

    route = ROUTES["requests", "airport_organization_bind"]
    ROUTES["requests", "airport_organization_bind"] = replace(route, handler=alter(route.handler))


# --- deaths on the way from receiving to acknowledging


def at_call(number, function, *, before=False, counts=lambda *_: True):
    """The function, but the process ends before or after its call of that number."""
    calls = 0

    def wrapped(*args, **options):
        nonlocal calls
        calls += bool(counts(*args))
        if before and calls == number:
            die()
        result = function(*args, **options)
        if calls == number:
            die()
        return result

    return wrapped


def die():
    """End the bridge, and the process of its control connection."""
    if sys.argv[1] == "session":
        os.kill(os.getppid(), signal.SIGKILL)
    os._exit(EXIT_CODE)


def decoded():
    from mqtt_bridge import dispatch

    dispatch._decode = at_call(8, dispatch._decode)


def before_commit():
    alter_bind(lambda bind: at_call(1, bind))


def after_commit():
    from mqtt_bridge import dispatch

    def is_bind(group):
        return group[0].envelope.method == "airport_organization_bind"

    dispatch._run = at_call(1, dispatch._run, counts=is_bind)


def published():
    from mqtt_bridge.line.client import ClientWithoutThread

    ClientWithoutThread.publish = at_call(8, ClientWithoutThread.publish)


def before_journal():
    from mqtt_bridge import journal

    journal.write = at_call(2, journal.write, before=True, counts=bool)


def after_journal():
    from mqtt_bridge import journal

    journal.write = at_call(2, journal.write, counts=bool)


def puback_received():
    from mqtt_bridge.line.session import Session

    Session.on_publish = at_call(8, Session.on_publish, before=True)


def before_ack():
    from mqtt_bridge.line.client import Client

    Client.ack = at_call(8, Client.ack, before=True)


def after_ack():
    from mqtt_bridge.line.client import Client

    Client.ack = at_call(8, Client.ack)


def handled():
    """Not a step between receiving and acknowledging: the first binds of several are acknowledged, if they can be."""
    from mqtt_bridge.line.control import ControlConnection

    def has_bind(_control, deliveries):
        return any(b"airport_organization_bind" in delivery.payload for delivery in deliveries)

    def exit_when_written(control, deliveries, handle=ControlConnection.handled):
        handle(control, deliveries)
        if has_bind(control, deliveries):
            control.flush()
            time.sleep(0.5)  # the session writes what is acknowledged
            os._exit(EXIT_CODE)

    ControlConnection.handled = exit_when_written


STEPS = (
    decoded,
    before_commit,
    after_commit,
    published,
    before_journal,
    after_journal,
    puback_received,
    before_ack,
    after_ack,
)
PROTECTIONS = (
    automatic_ack,
    clean_session,
    no_lock,
    endless_waits,
    same_connection,
    no_table,
    no_quarantine,
    no_rate_limit,
    no_runs,
    no_work,
    one_queue,
    any_ping,
    one_connection,
    retained_messages,
    any_topic,
)
ALTERATIONS = {
    function.__name__: function for function in (*STEPS, handled, frequent_heartbeat, stop_amid, *PROTECTIONS)
}
# What there is to alter in a process of the control connection, which knows nothing of Django.
OF_SESSION = {
    function.__name__: function
    for function in (
        published, puback_received, before_ack, after_ack, automatic_ack, clean_session, same_connection, no_rate_limit,
        no_work, one_queue, any_ping, retained_messages,
    )
} | {"no_runs": one_queue, "one_connection": lambda: (one_queue(), no_rate_limit())}  # fmt: skip


def run_session(*names):
    from mqtt_bridge.line import session

    for name in names:
        OF_SESSION.get(name, bool)()
    session.main()


def run_bridge(*names):
    from mqtt_bridge.line import control

    control.SESSION = ("-m", "tests.fault.altered_bridge", "session", *names)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")
    django.setup()
    for name in names:
        ALTERATIONS[name]()
    call_command("run_mqtt_bridge")


if __name__ == "__main__":
    if sys.argv[1] == "session":
        run_session(*sys.argv[2:-1])
    else:
        run_bridge(*sys.argv[1:])
