"""Commands that a process of its own issues while something breaks, and the checker of what became of them."""

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

from tests.fault.load import run_in_loop, size
from tests.stack import QUICK, wait_for

SILENCE = 2  # seconds that a dock may say nothing, here
CLOSING = size(60.0, 10.0)  # seconds after its deadline or expiry by which a call is closed
OPEN = "SELECT 1 FROM devices_servicecall WHERE status IN ('queued', 'sent', 'accepted', 'in_progress', 'paused')"
SCRIPT = """
import json, time
from celery import current_app
from devices.calls import asking
from devices.models import Device
from organizations.audit import Actor
from organizations.models import AuditEvent

given = json.loads({given!r})
current_app.conf.broker_transport_options |= given["transport"]
docks = list(Device.objects.docks())
took = []
for number in range(given["count"]):
    began = time.monotonic()
    asking.issue(
        device=docks[number % len(docks)],
        method="unlock_license_switch",
        data={{"license_id": number, "enable": True}},
        actor=Actor(AuditEvent.Through.COMMAND),
    )
    took.append(time.monotonic() - began)
    time.sleep(max(0.0, given["pause"] - took[-1]))
print(json.dumps(took))
"""


def chatty(**options):
    """Options of docks that say often enough that they are there."""
    return replace(QUICK, osd_rate=1.0, **options)


@contextmanager
def commanded_fleet(stack, *, docks, faults=(), **options):
    """A bridge and docks that are through with their onboarding; yields the fleet."""
    stack.start_bridge()
    with stack.fleet(count=docks, options=chatty(**options), faults=faults, stagger=0.0) as (fleet, loop):
        run_in_loop(fleet.onboarded(60), loop)
        yield fleet


def issue(stack, *, count, rate, **transport):
    """Ask the docks in turn to switch licenses, at most `rate` times a second; returns how many seconds each took.

    `transport` changes the options of the connection to Redis.
    """
    given = json.dumps({"count": count, "pause": 1 / rate, "transport": transport})
    return json.loads(stack.manage("shell", "-v0", "-c", SCRIPT.format(given=given)))


def count(stack):
    """How many commands there are."""
    [(calls,)] = stack.rows("SELECT count(*) FROM devices_servicecall")
    return calls


def wait_until_closed(stack, seconds):
    """Wait until no command is open, at most so long: what is still open then is the checker's."""
    try:
        wait_for(lambda: not stack.rows(OPEN), seconds)
    except AssertionError:
        return


def wait_until_sent(stack, calls):
    """Wait until so many commands have been sent."""
    sent = "SELECT count(*) FROM devices_servicecall WHERE sent IS NOT NULL"
    wait_for(lambda: stack.rows(sent) == [(calls,)])


def broken(stack, ledger, *, asked):
    """Everything that is not as promised, as sentences; none is the good case."""
    calls = stack.rows("SELECT tid, status, expires, deadline, closed FROM devices_servicecall")
    if len(calls) != asked:
        yield f"{asked} commands were issued, the database has {len(calls)}"
    if unfinished := Counter(status for _, status, _, _, closed in calls if closed is None):
        yield f"{unfinished.total()} commands have no end: {dict(unfinished)}"
    late = [one for one in calls if one[4] and (one[4] - (one[3] or one[2])).total_seconds() > CLOSING]
    if late:
        yield f"{len(late)} commands were closed late"
    if twice := ledger.commands_received_twice():
        yield f"{len(twice)} commands reached a dock twice"
    reached = {tid for _, tid in ledger.commands()}
    if lies := [tid for tid, status, *_ in calls if status == "expired" and tid in reached]:
        yield f"{len(lies)} commands reached a dock and are called not sent"


def summary(stack, ledger):
    """One line for people."""
    statuses = dict(stack.rows("SELECT status, count(*) FROM devices_servicecall GROUP BY status"))
    return f"{count(stack)} commands: {statuses}, {len(ledger.commands())} reached their dock"
