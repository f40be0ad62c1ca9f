"""Runs the demo again and again in forks of this process, and signals each when it calls a certain function.

Called with a folder for its data and the numbers of MOMENTS. Prints [moment, how it ended, children it left] as a line
of JSON for each.
"""

import functools
import json
import os
import pkgutil
import signal
import sys
import threading

import django
from django.conf import settings

import manage
from cloudapi.embedded.processes import LIBC, children

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>; whom a demo leaves behind becomes ours
DEMO = "cloudapi.embedded.demo"
INT, TERM = signal.SIGINT, signal.SIGTERM
# What is sent when a function is called. The data are new at first, so that there are migrations.
MOMENTS = [
    {"cloudapi.management.commands.demo.Command.handle": TERM},
    {f"{DEMO}.Mosquitto.command": INT},
    {"django.db.migrations.migration.Migration.apply": TERM},
    {f"{DEMO}_data.prepare": INT},
    {f"{DEMO}.Bridge.run": TERM, "celery.worker.WorkController.start": INT},
    {f"{DEMO}.Dock.note": INT},
    {"uvicorn.Server.startup": TERM},
    {"uvicorn.Server.on_tick": INT, "uvicorn.Server.shutdown": INT, f"{DEMO}.Bridge.stop": INT},
    {"uvicorn.Server.on_tick": TERM, f"{DEMO}.Mosquitto.close": TERM, "threading._shutdown": TERM},
]


def signal_when_called(path, number):
    """Wrap the function of this name; returns whom to ask whether it was called."""
    owner, _, name = path.rpartition(".")
    function, called = pkgutil.resolve_name(path), threading.Event()

    @functools.wraps(function)
    def wrapped(*arguments, **options):
        if not called.is_set():
            called.set()
            os.kill(os.getpid(), number)
        return function(*arguments, **options)

    setattr(pkgutil.resolve_name(owner), name, wrapped)
    return called


def run(moment, data):
    """Run the demo in this process, and end that."""
    called = [signal_when_called(path, number) for path, number in moment.items()]
    sys.argv = ["manage.py", "demo", "--port=0", f"--data={data}"]
    manage.main()
    sys.exit(0 if called[0].is_set() else "not reached")


if __name__ == "__main__":
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.environ["DJANGO_SETTINGS_MODULE"] = "cloudapi.settings"
    django.setup()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # seconds less
    import cloudapi.asgi
    import cloudapi.embedded.demo
    import cloudapi.management.commands.demo  # noqa: F401  (once for all)

    for moment in (MOMENTS[int(number)] for number in sys.argv[2:]):
        if not (child := os.fork()):
            run(moment, sys.argv[1])
        _, status = os.waitpid(child, 0)
        left = children(os.getpid())
        print(json.dumps([list(moment), os.waitstatus_to_exitcode(status), left]), flush=True)  # noqa: T201
