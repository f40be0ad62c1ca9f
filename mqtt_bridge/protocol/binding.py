"""Methods `config`, `airport_bind_status`, `airport_organization_get`, `airport_organization_bind`.

With these a dock finds its way into an organization, in this order (DJI: dock access to cloud). It sends them on
`requests` and waits for an answer to each.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from mqtt_bridge.protocol.conversion import MAX_DEVICES, Callsign, Entry, Int, Label, ModelKey, Sn, Text
from mqtt_bridge.protocol.redaction import Confidential


class ConfigRequest(Entry, frozen=True):
    """The dock asks for its app license and time server (DJI: config).

    Other values than the documented ones are no reason to leave a dock without a license.
    """

    config_type: Text = ""  # "json"
    config_scope: Text = ""  # "product"


class ConfigReply(Confidential, frozen=True):
    """Flat, unlike all other answers (DJI: config); the dock checks the license itself.

    Without a license to give, answer `EventAck(200001)`.
    """

    # An app of type "Cloud API" from DJI's developer site. Empty or wrong: the dock disconnects, and asks again later.
    app_id: str  # text, as in the tables; the examples of the English and of older Chinese pages have a number
    app_key: str
    app_license: str
    ntp_server_host: str  # the only field of this reply before V1.3.2
    ntp_server_port: Int = 123  # optional; documented since V1.11
    # No page has a `result` here, one third-party client insists on it (decision 1). `msgspec.UNSET` leaves it out.
    result: Int | msgspec.UnsetType = 0


class DeviceRef(Entry, frozen=True):
    """One device of the question (DJI: organization)."""

    sn: Sn = ""  # a legal serial number, or "" if the entry has none


class BindStatusRequest(msgspec.Struct, frozen=True):
    """Are these devices bound? (DJI: organization)."""

    # Documented size 2; the example names the aircraft first, then the dock. We take 0 to 50 (decision 11).
    devices: Annotated[list[DeviceRef], Meta(max_length=MAX_DEVICES)]


class BindStatus(Entry, frozen=True):
    """One device's answer (DJI: organization); an unbound device has empty text, never null (decision 10)."""

    sn: Text = ""
    is_device_bind_organization: bool = False  # the table says "0" and "1", the example true: we send true and false
    organization_id: Text = ""
    organization_name: Label = ""
    device_callsign: Callsign = ""  # the device's name inside its organization


class BindStatusOutput(Entry, frozen=True):
    """One entry per device asked for, in the order of the request (DJI: organization)."""

    bind_status: list[BindStatus] = []


class BindStatusReply(msgspec.Struct, frozen=True):
    """`{result, output: {bind_status: [...]}}` (DJI: organization)."""

    result: Int  # 210233: the status could not be found out
    output: BindStatusOutput = BindStatusOutput()  # examples have it, the table up to V1.3.2 begins inside it


class OrganizationGetRequest(Confidential, Entry, frozen=True):
    """Which organization is this? (DJI: organization).

    What is missing or over 256 characters is "", which matches none.
    """

    # Typed into Pilot 2. How the pair is checked is left to the server (DJI: dock access to cloud; decision 3).
    device_binding_code: Text = ""
    organization_id: Text = ""


class OrganizationGetOutput(Entry, frozen=True):
    """The name that Pilot 2 shows for confirmation (DJI: organization)."""

    organization_name: Label = ""


class OrganizationGetReply(msgspec.Struct, frozen=True):
    """`{result, output: {organization_name}}` (DJI: organization); a refusal is a `ResultReply` without output."""

    result: Int  # 210230 for every failure, so that ids cannot be probed (decision 4)
    output: OrganizationGetOutput = OrganizationGetOutput()


class BindDevice(Confidential, Entry, frozen=True):
    """One device to bind, as entered in Pilot 2 (DJI: organization).

    `sn` is a legal serial number or "". Credentials over 256 characters are "". A callsign is cut at 128
    characters, a model key over 32 is "".
    """

    device_binding_code: Text = ""  # the same in both entries of the example: it is used up once (decision 9)
    organization_id: Text = ""
    device_callsign: Callsign = ""
    sn: Sn = ""  # not the topic's: then it must be an aircraft's (decision 12)
    device_model_key: ModelKey = ""  # "3-1-0", "0-67-0"; may be missing or odd (decision 13)


class BindRequest(msgspec.Struct, frozen=True):
    """Bind these devices (DJI: organization)."""

    # Documented size 2; the example names the dock first, then the aircraft. We take 1 to 50 (decision 11).
    bind_devices: Annotated[list[BindDevice], Meta(min_length=1, max_length=MAX_DEVICES)]


class ErrInfo(Entry, frozen=True):
    """One device's outcome (DJI: organization)."""

    sn: Text = ""
    err_code: Int = 0  # anything but 0 is the server's own code for "not bound"; DJI's example has 210231


class BindOutput(Entry, frozen=True):
    """One entry per device of the request, in its order, with 0 for what was bound (DJI: organization; decision 7)."""

    err_infos: list[ErrInfo] = []


class BindReply(msgspec.Struct, frozen=True):
    """`{result, output: {err_infos: [...]}}` (DJI: organization)."""

    result: Int  # 0 means that the list was gone through, no more: the example has it beside two failures (decision 6)
    output: BindOutput = BindOutput()
