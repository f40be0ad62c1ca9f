"""Service calls in words for people: what was asked, of which colour its state is."""

from collections.abc import Mapping
from typing import Any

from devices.calls import methods
from devices.models import ServiceCall

Status = ServiceCall.Status

# Where a license list is read from: DJI's `device_model_domain`.
_INVENTORIES = {0: "in the aircraft", 3: "at the dock"}

# The kinds that pages colour and mark.
KINDS: dict[str, str] = {
    Status.QUEUED: "waiting",
    Status.SENT: "running",
    Status.ACCEPTED: "running",
    Status.IN_PROGRESS: "running",
    Status.PAUSED: "waiting",
    Status.SUCCEEDED: "good",
    Status.FAILED: "bad",
    Status.REJECTED: "bad",
    Status.CANCELED: "quiet",
    Status.TIMED_OUT: "unsure",
    Status.EXPIRED: "unsure",
}
WORDS: dict[str, str] = {str(value): str(label) for value, label in Status.choices}


def title(method: str, data: Mapping[str, Any]) -> str:
    """What a dock was asked, with the one thing that tells it from the next: "Switch license 240330 on"."""
    if method == methods.LIST and data.get("device_model_domain") in _INVENTORIES:
        return f"{methods.label(method)} {_INVENTORIES[data['device_model_domain']]}"
    if method == methods.SWITCH and "enable" in data:
        which = f"license {data['license_id']}" if "license_id" in data else "licenses"
        return f"Switch {which} {'on' if data['enable'] else 'off'}"
    if method == methods.UPDATE:
        return f"{methods.label(method)} {'from a file' if data.get('license_file') else '(newest)'}"
    return methods.label(method)
