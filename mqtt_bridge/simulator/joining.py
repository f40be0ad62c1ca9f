"""The steps by which a dock comes to an organization (DJI's "Dock access to cloud"), seen from the dock."""

from enum import Enum

from mqtt_bridge.simulator.checks import Json
from mqtt_bridge.simulator.dialogue import Dialogue, NoAnswerError
from mqtt_bridge.simulator.hardware import Hardware

LICENSE = ("app_id", "app_key", "app_license")


class Outcome(Enum):
    """How far the binding came."""

    BOUND = "bound"  # the dock is; its aircraft may have been refused
    STOPPED = "stopped"  # until a person enters other values
    UNANSWERED = "unanswered"  # worth another try later


async def configure(dock: Dialogue) -> bool:
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


async def bind(dock: Dialogue) -> Outcome:
    """From `airport_bind_status` to the answer of `airport_organization_bind`, as far as it goes."""
    name = "airport_bind_status"
    try:
        data = await _ask(dock, name, status_data(dock))
        if data is None:
            return Outcome.UNANSWERED
        entries = _entries(data, "bind_status")
        bound = {str(entry.get("sn")): entry.get("is_device_bind_organization") is True for entry in entries}
        states = [f"{one.sn} {'bound' if bound.get(one.sn) else 'not bound'}" for one in dock.bind_devices]
        dock.note(name, "ok", ", ".join(states))
        if all(bound.get(device.sn) for device in dock.bind_devices):
            dock.note("airport_organization_get", "skipped", "already bound")
            dock.note("airport_organization_bind", "skipped", "already bound")
            return Outcome.BOUND
        if await _use_code(dock):
            return Outcome.BOUND
    except NoAnswerError:
        return Outcome.UNANSWERED
    return Outcome.BOUND if bound.get(dock.sn) else Outcome.STOPPED


async def _use_code(dock: Dialogue) -> bool:
    """Ask which organization the code opens, then bind; returns whether the dock itself was bound."""
    name = "airport_organization_get"
    if not dock.binding_code or not dock.organization_id:
        return dock.note(name, "waiting", "nobody has entered organization and code")
    code = {"device_binding_code": dock.binding_code, "organization_id": dock.organization_id}
    data = await _ask(dock, name, code)
    if data is None:
        return False
    dock.note(name, "ok", str(_output(data).get("organization_name")))

    name = "airport_organization_bind"
    data = await _ask(dock, name, bind_data(dock))
    if data is None:
        return False
    codes = {str(entry.get("sn")): entry.get("err_code") for entry in _entries(data, "err_infos")}
    refused = [f"{device.sn} {codes.get(device.sn)}" for device in dock.bind_devices if codes.get(device.sn) != 0]
    if not refused:
        return dock.note(name, "ok")
    dock.note(name, "refused" if len(refused) == len(dock.bind_devices) else "partly refused", ", ".join(refused))
    return codes.get(dock.sn) == 0


def status_data(dock: Hardware) -> Json:
    """The data of `airport_bind_status`: aircraft first, as in the sample."""
    return {"devices": [{"sn": device.sn} for device in reversed(dock.bind_devices)]}


def bind_data(dock: Dialogue) -> Json:
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


async def _ask(dock: Dialogue, name: str, data: Json) -> Json | None:
    """Return the answer's data, None if the cloud refuses; raises NoAnswerError. Notes what is not an answer."""
    try:
        answer = await dock.request(name, data)
    except NoAnswerError:
        dock.note(name, "unanswered")
        raise
    if answer.get("result") == 0:
        return answer
    dock.note(name, "refused", f"result {answer.get('result')}")
    return None


def _output(data: Json) -> Json:
    output = data.get("output")
    return output if isinstance(output, dict) else {}


def _entries(data: Json, name: str) -> list[Json]:
    entries = _output(data).get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
