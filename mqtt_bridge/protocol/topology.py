"""Method `update_topo`: which aircraft hangs on which dock (DJI: device management)."""

from typing import Annotated, Any, Final, Self

from msgspec import Meta

from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.conversion import (
    MAX_DEVICES,
    Entry,
    Shaped,
    SmallInt,
    Sn,
    decode_part,
    fill,
)
from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.replies import EventAck

_Domain = Annotated[str, Meta(max_length=8)]
_Version = Annotated[str, Meta(max_length=32)]


def _model_key(domain: str, type_: int | None, sub_type: int | None, *, place: int) -> str:
    """Infer a missing domain from the type (pages of V1.1 and of 2023-07 name none), else from the place."""
    if type_ is None:
        return ""
    return f"{domain or model_keys.domain_of_type(type_, otherwise=place)}-{type_}-{sub_type or 0}"


class SubDevice(Shaped, Entry, frozen=True):
    """What the gateway carries; `sn` is a legal serial number, or "" if the entry has none."""

    sn: Sn = ""
    domain: _Domain = ""
    type: SmallInt | None = None
    sub_type: SmallInt | None = None
    index: _Domain = ""
    thing_version: _Version = ""

    @property
    def model_key(self) -> str:
        """`domain-type-sub_type`, at most 30 characters; "" if the type is unknown."""
        return _model_key(self.domain, self.type, self.sub_type, place=model_keys.AIRCRAFT)

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """Take `version` (pages before V1.4) where `thing_version` is missing."""
        return fill(cls, _with_version(data))


class UpdateTopo(Shaped, Entry, frozen=True):
    """The gateway's own product and what it carries, or that it is gone (`is_offline`).

    No `sub_devices`, null and [] all mean: online, and its aircraft is not. `device_secret` and `nonce` are
    dropped, for nobody knows how to check them.
    """

    domain: _Domain = ""
    type: SmallInt | None = None
    sub_type: SmallInt | None = None
    thing_version: _Version = ""
    sub_devices: list[SubDevice] = []
    is_offline: bool = False

    @property
    def model_key(self) -> str:
        """`domain-type-sub_type`, at most 30 characters; "" if the type is unknown."""
        return _model_key(self.domain, self.type, self.sub_type, place=model_keys.DOCK)

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """Refuse a list that is none or too long: an empty one would put the aircraft offline."""
        entries = data.get("sub_devices")
        if entries is None:
            entries = []
        if not isinstance(entries, list) or len(entries) > MAX_DEVICES:
            raise RemoteProtocolError("data_invalid", f"sub_devices is no list of up to {MAX_DEVICES}")
        gateway = fill(cls, _with_version(data) | {"sub_devices": []})
        return cls(
            domain=gateway.domain,
            type=gateway.type,
            sub_type=gateway.sub_type,
            thing_version=gateway.thing_version,
            sub_devices=[decode_part(SubDevice, entry) for entry in entries],
            is_offline=says_offline(data),
        )

    def wire(self) -> dict[str, Any]:
        """Return `data` as DJI documents it, which has no word for offline."""
        return {name: value for name, value in super().wire().items() if name != "is_offline"}


def says_offline(data: object) -> bool:
    """Say whether the `data` of a status message mean that the gateway is gone.

    DJI documents no such message. Clients of other makers let the broker send one as their last will: `online` false,
    0 or as text, or `status` or `state` "offline".
    """
    if not isinstance(data, dict):
        return False
    values = {key: str(data[key]).lower() for key in _PRESENCE if isinstance(data.get(key), str | int)}
    return values.get("online") in ("false", "0") or "offline" in values.values()


_PRESENCE: Final = ("online", "status", "state")


class TopoReply(EventAck, frozen=True):
    """`{result}`; the gateway repeats itself until it has one."""


def _with_version(data: dict[str, Any]) -> dict[str, Any]:
    if data.get("thing_version") is None and "version" in data:
        return data | {"thing_version": data["version"]}
    return data
