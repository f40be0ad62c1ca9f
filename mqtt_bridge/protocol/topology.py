"""Method `update_topo`: which aircraft are linked with which dock (DJI: device management).

The only message of a dock on `sys/product/{sn}/status`. A dock that goes away sends none.
"""

from typing import Annotated, Self

from msgspec import Meta

from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.conversion import MAX_DEVICES, Entry, Shaped, SmallInt, Sn, decode_part, fill
from mqtt_bridge.protocol.errors import RemoteProtocolError

_Domain = Annotated[str, Meta(max_length=8)]
_Version = Annotated[str, Meta(max_length=32)]


def _model_key(domain: str, type_: int | None, sub_type: int | None, *, place: int) -> str:
    if type_ is None:
        return ""
    # Pages of V1.1 and of 2023-07 name no domain: the type tells, or else the place of the entry (decision 32).
    return f"{domain or model_keys.domain_of_type(type_, otherwise=place)}-{type_}-{sub_type or 0}"


class SubDevice(Shaped, Entry, frozen=True):
    """What the gateway carries (DJI: device management); `device_secret` and `nonce` are dropped as in the gateway."""

    sn: Sn = ""  # a legal serial number, or "" if the entry has none
    domain: _Domain = ""  # "0", an aircraft; text beside a numeric type
    type: SmallInt | None = None
    sub_type: SmallInt | None = None
    index: _Domain = ""  # "A" or "B", the control channel of a remote controller; an int in the table of V1.1
    thing_version: _Version = ""  # version of the thing model, not of the firmware

    @property
    def model_key(self) -> str:
        """`domain-type-sub_type`, at most 30 characters; "" if the type is unknown."""
        return _model_key(self.domain, self.type, self.sub_type, place=model_keys.AIRCRAFT)

    @classmethod
    def read(cls, data: dict[str, object]) -> Self:
        """Take `version` (pages before V1.4) where `thing_version` is missing."""
        return fill(cls, _with_version(data))


class UpdateTopo(Shaped, Entry, frozen=True):
    """The gateway's own product and what it carries (DJI: device management), or that it is gone (`is_offline`)."""

    domain: _Domain = ""  # "3" for docks
    type: SmallInt | None = None  # 119, a remote controller, in the example of the dock's page: a slip
    sub_type: SmallInt | None = None
    thing_version: _Version = ""
    # At most one below a dock. No list, null and [] all mean: the gateway is online, and its aircraft is switched off,
    # which is normal between flights and ends no pairing (decision 16).
    sub_devices: list[SubDevice] = []
    is_offline: bool = False  # a last will, see `says_offline`; no field of DJI's
    # Dropped: `device_secret` and `nonce`, for no page says how to check them.

    @property
    def model_key(self) -> str:
        """`domain-type-sub_type`, at most 30 characters; "" if the type is unknown."""
        return _model_key(self.domain, self.type, self.sub_type, place=model_keys.DOCK)

    @classmethod
    def read(cls, data: dict[str, object]) -> Self:
        """Refuse `sub_devices` that are not a list or too many: an empty list would put the aircraft offline."""
        entries = data.get("sub_devices")
        if entries is None:
            entries = []
        if not isinstance(entries, list) or len(entries) > MAX_DEVICES:
            raise RemoteProtocolError("data_invalid", f"sub_devices is not a list of up to {MAX_DEVICES}")
        gateway = fill(cls, _with_version(data) | {"sub_devices": []})
        return cls(
            domain=gateway.domain,
            type=gateway.type,
            sub_type=gateway.sub_type,
            thing_version=gateway.thing_version,
            sub_devices=[decode_part(SubDevice, entry) for entry in entries],
            is_offline=says_offline(data),
        )

    def wire(self) -> dict[str, object]:
        """Return `data` as DJI documents it, which has no word for offline."""
        return {name: value for name, value in super().wire().items() if name != "is_offline"}


def says_offline(data: object) -> bool:
    """Say whether the `data` of a status message mean that the gateway is gone (decision 17).

    DJI documents no such message. Clients of other makers let the broker send one as their last will: `online` false,
    0 or as text, or `status` or `state` "offline".
    """
    if not isinstance(data, dict):
        return False
    keys = ("online", "status", "state")
    values = {key: str(data[key]).lower() for key in keys if isinstance(data.get(key), str | int)}
    return values.get("online") in ("false", "0") or "offline" in values.values()


def _with_version(data: dict[str, object]) -> dict[str, object]:
    if data.get("thing_version") is None and "version" in data:
        return data | {"thing_version": data["version"]}  # an int then
    return data
