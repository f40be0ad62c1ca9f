"""A bridge with one protection taken away, for the negative controls: `python -m tests.fault.unsafe_bridge NAME`."""

import os
import sys

import django
from django.core.management import call_command


def automatic_ack():
    """Acknowledge a message when it arrives."""
    from mqtt_bridge import connection

    build_client = connection.build_client
    connection.build_client = lambda *args, **options: build_client(*args, **options | {"manual_ack": False})


def clean_session():
    """Forget what the broker kept for us."""
    from mqtt_bridge.connection import ControlConnection

    ControlConnection.clean_start = True
    ControlConnection.session_expiry = 0


def lock():
    """Serve whether or not another bridge does."""
    from mqtt_bridge import lock

    lock.FileLock.acquire = lock.AdvisoryLock.acquire = lambda _self: True
    lock.FileLock.is_held = lock.AdvisoryLock.is_held = lambda _self: True


WITHOUT = {function.__name__: function for function in (automatic_ack, clean_session, lock)}


def command(name):
    """What `Stack.start_bridge` runs for the bridge that lacks this protection."""
    return ("-m", "tests.fault.unsafe_bridge", WITHOUT[name].__name__)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")
    django.setup()
    WITHOUT[sys.argv[1]]()
    call_command("run_mqtt_bridge")
