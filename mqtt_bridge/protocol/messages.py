"""All typed messages in one place, and the answers that many methods share."""

import msgspec

from mqtt_bridge.protocol.account import AccountEvent, AccountReply, LoginRequest, LogoutRequest
from mqtt_bridge.protocol.binding import (
    BindDevice,
    BindOutput,
    BindReply,
    BindRequest,
    BindStatus,
    BindStatusOutput,
    BindStatusReply,
    BindStatusRequest,
    ConfigReply,
    ConfigRequest,
    DeviceRef,
    ErrInfo,
    OrganizationGetOutput,
    OrganizationGetReply,
    OrganizationGetRequest,
)
from mqtt_bridge.protocol.conversion import Int, decode_data
from mqtt_bridge.protocol.device_properties import Telemetry, extract
from mqtt_bridge.protocol.licenses import (
    AreaUnlock,
    CircleUnlock,
    CommonFields,
    CountryUnlock,
    HeightUnlock,
    License,
    LicenseFile,
    LicenseListReply,
    LicenseListRequest,
    LicenseSwitchReply,
    LicenseSwitchRequest,
    LicenseUpdateReply,
    LicenseUpdateRequest,
    Point,
    PolygonUnlock,
    PowerUnlock,
    RidUnlock,
)
from mqtt_bridge.protocol.topology import SubDevice, UpdateTopo

__all__ = [
    "AccountEvent",
    "AccountReply",
    "AreaUnlock",
    "BindDevice",
    "BindOutput",
    "BindReply",
    "BindRequest",
    "BindStatus",
    "BindStatusOutput",
    "BindStatusReply",
    "BindStatusRequest",
    "CircleUnlock",
    "CommonFields",
    "ConfigReply",
    "ConfigRequest",
    "CountryUnlock",
    "DeviceRef",
    "ErrInfo",
    "EventAck",
    "HeightUnlock",
    "License",
    "LicenseFile",
    "LicenseListReply",
    "LicenseListRequest",
    "LicenseSwitchReply",
    "LicenseSwitchRequest",
    "LicenseUpdateReply",
    "LicenseUpdateRequest",
    "LoginRequest",
    "LogoutRequest",
    "OrganizationGetOutput",
    "OrganizationGetReply",
    "OrganizationGetRequest",
    "Point",
    "PolygonUnlock",
    "PowerUnlock",
    "ResultReply",
    "RidUnlock",
    "SubDevice",
    "Telemetry",
    "TopoReply",
    "UpdateTopo",
    "decode_data",
    "extract",
]


class ResultReply(msgspec.Struct, frozen=True):
    """`{result, output}`: the general form of requests_reply and of many services_reply (DJI: topic definition)."""

    result: Int  # 0 is success
    output: dict[str, object] = {}


class EventAck(msgspec.Struct, frozen=True):
    """`{result}`: the answer to an event, and a refusal where no output is documented (DJI: topic definition)."""

    result: Int = 0  # sent if the event has `need_reply`, whatever its own page says of that (decision 19)


class TopoReply(EventAck, frozen=True):
    """`{result}`, the answer to `update_topo` (DJI: device management)."""

    # The gateway repeats its topology until it has one. 212510 and 212511 (signature, already online) stand in V1.1
    # alone; nobody knows how to check a signature, so we always send 0 (decision 14).
