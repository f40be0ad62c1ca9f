"""A Celery worker that lacks a protection or dies at a chosen step: `python -m tests.fault.altered_worker NAME,...`."""

import dataclasses
import os
import sys

import django

from tests.fault.altered_bridge import EXIT_CODE, at_call

__all__ = ["EXIT_CODE", "STEPS", "command"]


def command(*names):
    """What `Stack.start_worker` runs for a worker with these alterations; with the pool "solo" it dies as a whole."""
    unknown = set(names) - ALTERATIONS.keys()
    assert not unknown, f"no such alterations: {unknown}"
    return ("-m", "tests.fault.altered_worker", ",".join(names))


# --- protections taken away


def claim_last():
    """Mark a command as sent when the broker has acknowledged it, as a task with `acks_late` is done with last."""
    from devices.calls import sending

    claim, look = sending.claim_many, sending.transaction

    def look_only(call_ids, *, now):
        with look.atomic():
            found = claim(call_ids, now=now)
            look.set_rollback(True)
        return found

    def claim_now(receipts):
        for call, _receipt in receipts:
            claim([call.pk], now=call.sent)

    sending.claim_many, sending.record_receipts = look_only, claim_now


def no_expiry():
    """Let a broker keep a command for ever."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    from mqtt_bridge.line import publisher

    publisher.publish_properties = lambda *, expiry: Properties(PacketTypes.PUBLISH)


def login_at_qos_1():
    """Publish passwords as other commands are published."""
    from devices.calls.methods import LOGIN, METHODS

    METHODS[LOGIN] = dataclasses.replace(METHODS[LOGIN], qos=1)


# --- deaths on the way of a command


def claimed():
    from devices.calls import sending

    sending.claim_many = at_call(3, sending.claim_many)


def published():
    from mqtt_bridge.line.publisher import Publisher

    Publisher.publish_many = at_call(3, Publisher.publish_many)


def recorded():
    from devices.calls import sending

    sending.record_receipts = at_call(3, sending.record_receipts)


STEPS = (claimed, published, recorded)
ALTERATIONS = {function.__name__: function for function in (*STEPS, claim_last, no_expiry, login_at_qos_1)}


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")
    django.setup()
    for name in sys.argv.pop(1).split(","):
        ALTERATIONS[name]()
    from celery.__main__ import main

    sys.exit(main())
