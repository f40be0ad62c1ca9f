"""Methods `airport_bind_status`, `airport_organization_get`, `_bind` (DJI: requests, organization)."""

from typing import Annotated

import msgspec
from msgspec import Meta

from mqtt_bridge.protocol.conversion import MAX_DEVICES, Callsign, Entry, Int, Label, ModelKey, Sn, Text
from mqtt_bridge.protocol.journal import Confidential


class DeviceRef(Entry, frozen=True):
    """`sn` is a legal serial number, or "" if the entry has none."""

    sn: Sn = ""


class BindStatusRequest(msgspec.Struct, frozen=True):
    """Are these devices bound? DJI documents two, dock and aircraft; we take up to 50."""

    devices: Annotated[list[DeviceRef], Meta(max_length=MAX_DEVICES)]


class BindStatus(Entry, frozen=True):
    """One device's answer; an unbound device has empty text, never null."""

    sn: Text = ""
    is_device_bind_organization: bool = False
    organization_id: Text = ""
    organization_name: Label = ""
    device_callsign: Callsign = ""


class BindStatusOutput(Entry, frozen=True):
    """One entry per device asked for, in the order of the request."""

    bind_status: list[BindStatus] = []


class BindStatusReply(msgspec.Struct, frozen=True):
    """`{result, output: {bind_status: [...]}}`."""

    result: Int
    output: BindStatusOutput = BindStatusOutput()


class OrganizationGetRequest(Confidential, Entry, frozen=True):
    """Which organization is this? What is missing or over 256 characters is "", which matches none."""

    device_binding_code: Text = ""
    organization_id: Text = ""


class OrganizationGetOutput(Entry, frozen=True):
    """The name that Pilot 2 shows for confirmation."""

    organization_name: Label = ""


class OrganizationGetReply(msgspec.Struct, frozen=True):
    """`{result, output: {organization_name}}`; a refusal is a `ResultReply`, whose output is empty."""

    result: Int
    output: OrganizationGetOutput = OrganizationGetOutput()


class BindDevice(Confidential, Entry, frozen=True):
    """One device to bind, as entered in Pilot 2.

    `sn` is a legal serial number or "". Credentials over 256 characters are "". A callsign is cut at 128
    characters, a model key over 32 is "".
    """

    device_binding_code: Text = ""
    organization_id: Text = ""
    device_callsign: Callsign = ""
    sn: Sn = ""
    device_model_key: ModelKey = ""


class BindRequest(msgspec.Struct, frozen=True):
    """Bind these devices; DJI documents two, dock and aircraft; we take 1 to 50."""

    bind_devices: Annotated[list[BindDevice], Meta(min_length=1, max_length=MAX_DEVICES)]


class ErrInfo(Entry, frozen=True):
    """One device's outcome; 0 is success."""

    sn: Text = ""
    err_code: Int = 0


class BindOutput(Entry, frozen=True):
    """One entry per device of the request, in its order."""

    err_infos: list[ErrInfo] = []


class BindReply(msgspec.Struct, frozen=True):
    """`{result, output: {err_infos: [...]}}`; `result` 0 means that the list was gone through, no more."""

    result: Int
    output: BindOutput = BindOutput()
