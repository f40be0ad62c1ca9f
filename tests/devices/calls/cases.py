"""Rows of service calls as the steps would leave them."""

import uuid

from devices.live import broadcast
from devices.models import ServiceCall


def make_call(dock, **fields):
    """A call of a dock's present owner."""
    usual = {
        "organization": dock.organization,
        "method": "unlock_license_list",
        "data": {"device_model_domain": 0},
        "subject": uuid.uuid4().hex,  # any number may be open
    }
    return ServiceCall.objects.create(device=dock, **usual | fields)


def advance(call, **fields):
    """Change a call as a step does, one version on, and tell."""
    for name, value in fields.items():
        setattr(call, name, value)
    call.version += 1
    call.save()
    broadcast.tell_calls([call])
