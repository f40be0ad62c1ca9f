#!/usr/bin/env python
"""Django's command line."""

import os
import signal
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Run the command; the demo may be ended at any moment."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")
    is_demo = sys.argv[1:2] == ["demo"]
    if is_demo or sys.argv[1:2] == ["runserver"]:
        os.environ.setdefault("DEBUG", "true")  # for one person, at this machine
    if is_demo:
        os.environ.setdefault("LOG_LEVEL", "WARNING")  # at a terminal, not in a log
        # Imports take seconds; there is nothing to tidy up yet.
        for number in SIGNALS:
            signal.signal(number, lambda *_: os._exit(0))
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
    if is_demo:  # it has ended, and the interpreter takes its time over it
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
