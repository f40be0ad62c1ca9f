"""Methods `unlock_license_switch`, `_update`, `_list`: remote unlocking (DJI: flysafe)."""

from typing import Annotated, Any, Final, Self

import msgspec
from msgspec import Meta

from mqtt_bridge.protocol.conversion import (
    Entry,
    Int,
    Label,
    Latitude,
    Longitude,
    Shaped,
    Text,
    Url,
    fill,
    flatten,
)
from mqtt_bridge.protocol.envelope import unix_milliseconds
from mqtt_bridge.protocol.errors import RemoteProtocolError

MAX_LICENSES: Final = 10_000
MAX_POINTS: Final = 10_000


class LicenseSwitchRequest(msgspec.Struct, frozen=True):
    """Enable or disable one license."""

    license_id: Int
    enable: bool


class LicenseSwitchReply(Shaped, Entry, frozen=True):
    """`{result, license_id}`; `license_id` is an echo and may be missing."""

    result: Int
    license_id: Int | None = None

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """Take the fields flat or nested."""
        return fill(cls, flatten(data))

    def wire(self) -> dict[str, Any]:
        """Leave out an unknown license_id."""
        return _without_none(result=self.result, license_id=self.license_id)


class LicenseFile(msgspec.Struct, frozen=True):
    """An offline file; `fingerprint` is the MD5 of its bytes in lower-case hex."""

    url: Url
    fingerprint: Text


class LicenseUpdateRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Import licenses: from the file, or from FlySafe's own server, which is `{}` and not `{file: null}`."""

    file: LicenseFile | None = None


class LicenseUpdateReply(Shaped, frozen=True):
    """`{result}`; 0 means accepted, and proves no import."""

    result: Int

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """Take the result flat or nested."""
        return fill(cls, flatten(data))


class LicenseListRequest(msgspec.Struct, frozen=True):
    """List the licenses of 0, the aircraft (imported), or 3, the dock (approved by FlySafe)."""

    device_model_domain: Int


class CommonFields(Entry, frozen=True):
    """What every license has; times are seconds since 1970, None and "" mean unknown."""

    license_id: Int | None = None
    name: Label = ""
    type: Int | None = None
    group_id: Int | None = None
    user_id: Text = ""
    device_sn: Annotated[str, Meta(max_length=64)] = ""
    begin_time: Int | None = None
    end_time: Int | None = None
    user_only: bool | None = None
    enabled: bool | None = None


class AreaUnlock(msgspec.Struct, frozen=True):
    """Type 0: authorization zones by number."""

    area_ids: list[Int]


class CircleUnlock(msgspec.Struct, frozen=True):
    """Type 1: metres and degrees."""

    radius: float
    latitude: Latitude
    longitude: Longitude
    height: float | None = None


class CountryUnlock(msgspec.Struct, frozen=True):
    """Type 2: ISO 3166-1 number without leading zeros, metres."""

    country_number: Int
    height: float | None = None


class HeightUnlock(msgspec.Struct, frozen=True):
    """Type 3: metres."""

    height: float


class Point(msgspec.Struct, frozen=True):
    """A corner, in degrees."""

    latitude: Latitude
    longitude: Longitude


class PolygonUnlock(msgspec.Struct, frozen=True):
    """Type 4: corners in order, not closed."""

    points: Annotated[list[Point], Meta(max_length=MAX_POINTS)]


class PowerUnlock(msgspec.Struct, frozen=True):
    """Type 5: empty."""


class RidUnlock(msgspec.Struct, frozen=True):
    """Type 6: 1 European Union, 2 China."""

    level: Int


Unlock = AreaUnlock | CircleUnlock | CountryUnlock | HeightUnlock | PolygonUnlock | PowerUnlock | RidUnlock

_SUB_STRUCTS: Final = (
    "area_unlock",
    "circle_unlock",
    "country_unlock",
    "height_unlock",
    "polygon_unlock",
    "power_unlock",
    "rid_unlock",
)


class License(Entry, frozen=True, omit_defaults=True):
    """One license: common fields and one sub-struct; `raw` is all of it as it came.

    A sub-struct that cannot be read is None and stays in `raw`. Licenses of unknown types have none.
    """

    common_fields: CommonFields = CommonFields()
    area_unlock: AreaUnlock | None = None
    circle_unlock: CircleUnlock | None = None
    country_unlock: CountryUnlock | None = None
    height_unlock: HeightUnlock | None = None
    polygon_unlock: PolygonUnlock | None = None
    power_unlock: PowerUnlock | None = None
    rid_unlock: RidUnlock | None = None
    raw: dict[str, Any] = {}

    @property
    def unlock(self) -> Unlock | None:
        """The sub-struct of the license's own type."""
        name = self._sub_struct
        return getattr(self, name) if name in _SUB_STRUCTS else None

    @property
    def details(self) -> dict[str, Any]:
        """The sub-struct as it came, also of an unknown type; {} if there is none."""
        details = self.raw.get(self._sub_struct)
        return details if isinstance(details, dict) else {}

    @property
    def _sub_struct(self) -> str:
        kind = self.common_fields.type
        if kind is not None and 0 <= kind < len(_SUB_STRUCTS):
            return _SUB_STRUCTS[kind]
        return next((key for key in self.raw if key.endswith("_unlock")), "")


class LicenseListReply(Shaped, Entry, frozen=True):
    """`{result, device_model_domain, consistence, licenses}`.

    `licenses` is None if the reply had none: it says nothing then about what is there. `dropped` counts
    entries without a usable license_id, which are left out; such a list is no complete one either.
    """

    result: Int
    device_model_domain: Int | None = None
    consistence: bool | None = None
    licenses: list[License] | None = None
    dropped: int = 0

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """Take the fields flat or nested; at most 10,000 licenses."""
        flat = flatten(data)
        entries = flat.get("licenses")
        reply = fill(cls, flat | {"licenses": None, "dropped": 0})
        if entries is None:
            return reply
        if not isinstance(entries, list) or len(entries) > MAX_LICENSES:
            raise RemoteProtocolError("data_invalid", f"licenses is no list of up to {MAX_LICENSES}")
        licenses = [entry for entry in map(_license, entries) if entry is not None]
        return msgspec.structs.replace(reply, licenses=licenses, dropped=len(entries) - len(licenses))

    def wire(self) -> dict[str, Any]:
        """Leave out what is unknown; licenses go out as they came."""
        licenses = None
        if self.licenses is not None:
            licenses = [entry.raw or msgspec.to_builtins(entry) for entry in self.licenses]
        return _without_none(
            result=self.result,
            device_model_domain=self.device_model_domain,
            consistence=self.consistence,
            licenses=licenses,
        )


def _license(entry: object) -> License | None:
    if not isinstance(entry, dict):
        return None
    read = fill(License, entry | {"raw": {}})
    common = read.common_fields
    if common.license_id is None:
        return None
    common = msgspec.structs.replace(common, begin_time=_seconds(common.begin_time), end_time=_seconds(common.end_time))
    return msgspec.structs.replace(read, common_fields=common, raw=entry)


def _seconds(value: int | None) -> int | None:
    """Keep seconds; scale only what is far too large to be any."""
    if value is None or value < 0:
        return None
    if value < 10**11:
        return value
    milliseconds = unix_milliseconds(value)
    return None if milliseconds is None else milliseconds // 1000


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
