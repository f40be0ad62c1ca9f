"""The checker: what a server must have kept after a run, judged by the docks' ledger and the database."""

import json
from collections import Counter
from contextlib import suppress

from tests.fault.load import size
from tests.stack import wait_for

BIND = "airport_organization_bind"
# Seconds, where a bridge starts within one. A quick run, beside other tests, catches what hangs.
LONGEST_WAIT = size(60.0, 5.0)


def broken(stack, *ledgers, start=1.0, longest_wait=None):
    """Everything that is not as promised, as sentences; none is the good case.

    `start` is how many seconds the slowest bridge took to start. A request waits for one or two starts: on a machine
    that is busy with other things they take longer, and so may the longest wait, in proportion.
    """
    longest_wait = longest_wait or LONGEST_WAIT * max(1.0, start)
    found = []
    for ledger in ledgers:
        found += _answers(ledger, longest_wait)
    if not found:
        # The journal is written after the answers, so a reader of the last answer may be quicker.
        with suppress(AssertionError):
            wait_for(lambda: not list(_unjournaled(stack, ledgers)))
    return [*found, *_bindings(stack, ledgers), *_journal(stack, ledgers)]


def unanswered(*ledgers):
    """How many requests got no answer."""
    return sum(len(ledger.unanswered()) for ledger in ledgers)


def _answers(ledger, longest_wait):
    if missing := len(ledger.unanswered()):
        yield f"{missing} of {len(ledger.transactions())} requests are unanswered"
    # Only of binds: the same question about the bind status gets the present truth each time.
    if differing := [one for one in ledger.transactions(BIND) if one.differs]:
        yield f"{len(differing)} bind requests got contradicting answers"
    if (longest := max(ledger.latency(100), default=0.0)) > longest_wait:
        yield f"the longest wait was {longest:.1f} s"
    yield from (f"{complaint.sn} complains: {complaint.text}" for complaint in ledger.complaints[:5])


def _bindings(stack, ledgers):
    asked = {one.sn for ledger in ledgers for one in ledger.transactions(BIND)}
    wanted = {sn for dock in asked for sn in (dock, f"{dock}A")}
    bound = stack.bound()
    if bound != dict.fromkeys(wanted, "12345678"):
        yield f"{len(wanted)} devices asked to be bound, the database has {len(bound)}"
    audited = Counter(sn for (sn,) in stack.rows(AUDITED))
    if audited != Counter(wanted):
        yield f"{len(wanted)} devices asked to be bound, {audited.total()} bindings of {len(audited)} are audited"
    [(uses,)] = stack.rows(USES)
    if uses != len(asked):
        yield f"{len(asked)} docks used the code, it counts {uses}"


def _journal(stack, ledgers):
    rows = stack.rows("SELECT method, reply, outcome FROM mqtt_bridge_exchange WHERE channel = 'requests'")
    if missing := list(_unjournaled(stack, ledgers)):
        yield f"{len(missing)} requests are not in the journal"
    if others := [outcome for _, _, outcome in rows if outcome != "answered"]:
        yield f"{len(others)} requests ended otherwise than answered: {Counter(others)}"
    refused = [reply for method, reply, _ in rows if method == BIND and set(_codes(reply)) != {0}]
    if refused:
        yield f"{len(refused)} binds were refused: {refused[0][:200]}"


def _unjournaled(stack, ledgers):
    journaled = {tid for (tid,) in stack.rows("SELECT tid FROM mqtt_bridge_exchange")}
    return (one for ledger in ledgers for one in ledger.transactions() if one.tid not in journaled)


def _codes(reply):
    return [entry["err_code"] for entry in json.loads(reply)["output"]["err_infos"]]


AUDITED = """
    SELECT d.sn FROM organizations_auditevent a
    LEFT JOIN devices_device d ON CAST(d.id AS text) = a.object_id WHERE a.action = 'bind'
"""
USES = """
    SELECT c.uses FROM organizations_bindingcode c
    JOIN organizations_organization o ON o.id = c.organization_id WHERE o.organization_id = '12345678'
"""
