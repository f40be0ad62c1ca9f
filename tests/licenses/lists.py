"""Lists of licenses as docks send them, and how they get into the database."""

import json
from pathlib import Path

from django.db import transaction

from devices.calls.transition import End
from devices.models import ServiceCall
from licenses import catalog
from licenses.models import Inventory
from mqtt_bridge.protocol.messages import LicenseListReply, decode_data

SAMPLES = Path(__file__).parent.parent / "samples"
SEVEN = json.loads((SAMPLES / "001_unlock_license_list_services_reply.json").read_text())["data"]["licenses"]


def license_(kind, details, key=1, name="", **common):
    """One license as a dock tells it; `details` is the struct of its type."""
    structs = ("area", "circle", "country", "height", "polygon", "power", "rid")
    struct = f"{structs[kind]}_unlock" if kind < len(structs) else "new_unlock"
    fields = {"license_id": key, "name": name or f"license {key}", "type": kind, "enabled": True, "user_only": False}
    fields |= {"begin_time": 1_700_000_000, "end_time": 2_145_916_800, "device_sn": "DRONE0001"}
    return {"common_fields": fields | common, struct: details}


def store(dock, licenses, domain=Inventory.AIRCRAFT):
    """Apply a list as if the dock had answered it."""
    data = {"device_model_domain": int(domain)}
    call = ServiceCall.objects.create(
        device=dock, organization=dock.organization, method="unlock_license_list", data=data, status="succeeded"
    )
    reply = decode_data(LicenseListReply, data | {"result": 0, "licenses": licenses})
    with transaction.atomic():
        catalog.listed([End(call, reply)])
