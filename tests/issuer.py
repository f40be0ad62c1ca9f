"""An integrator's script: reads a JSON line for each service to ask for, and writes a JSON line for each."""

import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main():
    django.setup()
    from devices.calls import asking, refusal
    from devices.models import Device
    from organizations.audit import Actor
    from organizations.models import AuditEvent

    actor = Actor(AuditEvent.Through.COMMAND)
    say("ready")
    for line in sys.stdin:
        wanted = json.loads(line)
        device = Device.objects.get(sn=wanted.pop("sn"))
        try:
            call = asking.issue(device=device, actor=actor, **wanted)
            answer = {"id": str(call.pk)}
        except refusal.Refused as refused:
            answer = {"refused": refused.kind.value, "text": str(refused)}
        say(json.dumps(answer))


if __name__ == "__main__":
    main()
