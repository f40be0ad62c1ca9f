"""The steps by which a dock comes to an organization (DJI's "Dock access to cloud"), seen from the dock."""

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mqtt_bridge.simulator.dock import Dock

Json = dict[str, Any]

LICENSE = ("app_id", "app_key", "app_license")


class NoAnswerError(Exception):
    """The server did not answer a request, however often it was repeated."""


class Outcome(Enum):
    """How far the binding came."""

    BOUND = "bound"  # the dock is; its aircraft may have been refused
    STOPPED = "stopped"  # until a person enters other values
    UNANSWERED = "unanswered"  # worth another try later


async def configure(dock: "Dock") -> bool:
    """Ask for the license; False means that the dock cannot verify it and disconnects."""
    try:
        data = await dock.request("config", {"config_type": "json", "config_scope": "product"})
    except NoAnswerError:
        return dock.note("config", "unanswered")
    missing = [key for key in LICENSE if not isinstance(data.get(key), str) or not data[key]]
    if data.get("result", 0) != 0:
        return dock.note("config", "refused", f"result {data['result']}")
    if missing:
        return dock.note("config", "refused", f"no {missing[0]}")
    return dock.note("config", "ok")


async def bind(dock: "Dock") -> Outcome:
    """From `airport_bind_status` to the answer of `airport_organization_bind`, as far as it goes."""
    step = "airport_bind_status"
    try:
        bound = await _ask_status(dock)
        if bound is None:
            return Outcome.UNANSWERED
        if all(bound.get(device.sn) for device in dock.bind_devices):
            dock.note("airport_organization_get", "skipped", "already bound")
            dock.note("airport_organization_bind", "skipped", "already bound")
            return Outcome.BOUND
        step = "airport_organization_get"
        organization = await _ask_organization(dock)
        step = "airport_organization_bind"
        if organization and await _ask_to_bind(dock):
            return Outcome.BOUND
    except NoAnswerError:
        dock.note(step, "unanswered")
        return Outcome.UNANSWERED
    return Outcome.BOUND if bound.get(dock.sn) else Outcome.STOPPED


def status_data(dock: "Dock") -> Json:
    """The data of `airport_bind_status`: aircraft first, as in the sample."""
    return {"devices": [{"sn": device.sn} for device in reversed(dock.bind_devices)]}


def bind_data(dock: "Dock") -> Json:
    """The data of `airport_organization_bind`: dock first, as in the sample."""
    return {
        "bind_devices": [
            {
                "device_binding_code": dock.binding_code,
                "organization_id": dock.organization_id,
                "device_callsign": device.callsign,
                "sn": device.sn,
                "device_model_key": device.model_key,
            }
            for device in dock.bind_devices
        ]
    }


async def _ask_status(dock: "Dock") -> dict[str, bool] | None:
    name = "airport_bind_status"
    data = await dock.request(name, status_data(dock))
    if data.get("result") != 0:
        dock.note(name, "refused", f"result {data.get('result')}")
        return None
    entries = _entries(data, "bind_status")
    bound = {str(entry.get("sn")): entry.get("is_device_bind_organization") is True for entry in entries}
    states = [f"{one.sn} {'bound' if bound.get(one.sn) else 'not bound'}" for one in dock.bind_devices]
    dock.note(name, "ok", ", ".join(states))
    return bound


async def _ask_organization(dock: "Dock") -> bool:
    name = "airport_organization_get"
    if not dock.binding_code or not dock.organization_id:
        return dock.note(name, "waiting", "nobody has entered organization and code")
    asked = {"device_binding_code": dock.binding_code, "organization_id": dock.organization_id}
    data = await dock.request(name, asked)
    if data.get("result") != 0:
        return dock.note(name, "refused", f"result {data.get('result')}")
    return dock.note(name, "ok", str(_output(data).get("organization_name")))


async def _ask_to_bind(dock: "Dock") -> bool:
    """Whether the dock itself was bound."""
    name = "airport_organization_bind"
    data = await dock.request(name, bind_data(dock))
    if data.get("result") != 0:
        return dock.note(name, "refused", f"result {data.get('result')}")
    codes = {str(entry.get("sn")): entry.get("err_code") for entry in _entries(data, "err_infos")}
    asked = [device.sn for device in dock.bind_devices]
    refused = [f"{sn} {codes.get(sn)}" for sn in asked if codes.get(sn) != 0]
    if not refused:
        return dock.note(name, "ok")
    dock.note(name, "refused" if len(refused) == len(asked) else "partly refused", ", ".join(refused))
    return codes.get(dock.sn) == 0


def _output(data: Json) -> Json:
    output = data.get("output")
    return output if isinstance(output, dict) else {}


def _entries(data: Json, name: str) -> list[Json]:
    entries = _output(data).get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
