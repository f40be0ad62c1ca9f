"""Methods `unlock_license_switch`, `unlock_license_update`, `unlock_license_list`: remote unlocking (DJI: flysafe).

The fields are the same for Dock 1, 2 and 3. An unlock license lets an aircraft fly where it otherwise may not.
"""

from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta

from mqtt_bridge.protocol.conversion import Entry, Int, Label, Latitude, Longitude, Shaped, Text, Url, fill, flatten
from mqtt_bridge.protocol.envelope import unix_milliseconds
from mqtt_bridge.protocol.errors import RemoteProtocolError

# The page names no limits (decision 31).
MAX_LICENSES: Final = 10_000
MAX_POINTS: Final = 10_000


class LicenseSwitchRequest(msgspec.Struct, frozen=True):
    """Enable or disable one license (DJI: flysafe)."""

    license_id: Int  # `common_fields.license_id` of the list
    enable: bool  # true or false as in the examples; the table of Dock 3 says 0 and 1


class LicenseSwitchReply(Shaped, Entry, frozen=True, omit_defaults=True):
    """`{result, license_id}` (DJI: flysafe)."""

    result: Int
    license_id: Int | None = None  # an echo; the tid tells which license it was, so that it may be missing


class LicenseFile(msgspec.Struct, frozen=True):
    """An offline license file (DJI: flysafe)."""

    url: Url  # the dock downloads it; the example is a signed address of a `.kmz`
    fingerprint: Text  # MD5 of the file's bytes, which we write in lower-case hex


class LicenseUpdateRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Import licenses: from the file, or from FlySafe's own server (DJI: flysafe)."""

    file: LicenseFile | None = None  # None makes the data `{}`, and not `{file: null}`


class LicenseUpdateReply(Shaped, frozen=True):
    """`{result}` (DJI: flysafe); no event follows."""

    result: Int  # 0 means accepted, and proves no import: only the next list does


class LicenseListRequest(msgspec.Struct, frozen=True):
    """List the licenses (DJI: flysafe)."""

    # 0: what the aircraft has imported. 3: what FlySafe's site has approved for the dock. Two separate inventories.
    # Always sent: newer firmware is said to drop a request without it.
    device_model_domain: Int


class CommonFields(Entry, frozen=True):
    """What every license has (DJI: flysafe); None and "" mean unknown."""

    license_id: Int | None = None  # unique; what a switch names
    name: Label = ""
    type: Int | None = None  # 0 to 6, see below; others are kept (decision 28)
    group_id: Int | None = None  # the same for all licenses of one account for one device
    user_id: Text = ""  # a DJI account, or the id that FlySafe gave the dock, which counts as a user
    device_sn: Annotated[str, Meta(max_length=64)] = ""  # the device that the license is bound to
    begin_time: Int | None = None  # seconds since 1970
    end_time: Int | None = None  # seconds since 1970; 2145916800 in the example is the year 2038
    user_only: bool | None = None  # whether the account must be checked as well
    enabled: bool | None = None


class AreaUnlock(msgspec.Struct, frozen=True):
    """Type 0: authorization zones by number (DJI: flysafe)."""

    area_ids: list[Int]


class CircleUnlock(msgspec.Struct, frozen=True):
    """Type 1: a circle (DJI: flysafe)."""

    radius: float  # metres; int in the table
    latitude: Latitude  # of the centre; six decimals by the text
    longitude: Longitude
    height: float | None = None  # metres, 0 to 65535


class CountryUnlock(msgspec.Struct, frozen=True):
    """Type 2: a country or region (DJI: flysafe)."""

    country_number: Int  # ISO 3166-1 numeric, as a number: leading zeros are lost, 36 is Australia
    height: float | None = None  # metres, 0 to 65535


class HeightUnlock(msgspec.Struct, frozen=True):
    """Type 3: a limit of altitude (DJI: flysafe)."""

    height: float  # metres, 0 to 65535


class Point(msgspec.Struct, frozen=True):
    """A corner (DJI: flysafe); its example has eight decimals where the text says six."""

    latitude: Latitude
    longitude: Longitude


class PolygonUnlock(msgspec.Struct, frozen=True):
    """Type 4: an area (DJI: flysafe)."""

    points: Annotated[list[Point], Meta(max_length=MAX_POINTS)]  # in order, not closed: the first is not repeated


class PowerUnlock(msgspec.Struct, frozen=True):
    """Type 5: an empty object (DJI: flysafe)."""


class RidUnlock(msgspec.Struct, frozen=True):
    """Type 6: exemption from remote identification (DJI: flysafe)."""

    level: Int  # 1 European Union, 2 China


Unlock = AreaUnlock | CircleUnlock | CountryUnlock | HeightUnlock | PolygonUnlock | PowerUnlock | RidUnlock

# By type, 0 to 6: the key of the sub-struct.
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
    """One license: common fields and the sub-struct of its type (DJI: flysafe).

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
    raw: dict[str, object] = {}  # all of it as received, with what the page does not name

    @property
    def unlock(self) -> Unlock | None:
        """The sub-struct of the license's own type."""
        name = self._sub_struct
        return getattr(self, name) if name in _SUB_STRUCTS else None

    @property
    def details(self) -> dict[str, object]:
        """The sub-struct as received, also of an unknown type; {} if there is none."""
        details = self.raw.get(self._sub_struct)
        return details if isinstance(details, dict) else {}

    @property
    def _sub_struct(self) -> str:
        kind = self.common_fields.type
        if kind is not None and 0 <= kind < len(_SUB_STRUCTS):
            return _SUB_STRUCTS[kind]
        # An unknown type: all seven keys end alike, so that the eighth can be guessed.
        return next((key for key in self.raw if key.endswith("_unlock")), "")


class LicenseListReply(Shaped, Entry, frozen=True):
    """`{result, device_model_domain, consistence, licenses}` (DJI: flysafe)."""

    result: Int
    device_model_domain: Int | None = None  # an echo of the request: 0 aircraft, 3 dock
    consistence: bool | None = None  # whether the aircraft has imported what FlySafe has approved
    licenses: list[License] | None = None  # None if the reply had none: it says nothing then about what is there
    dropped: int = 0  # entries without a usable license_id, which are left out: such a list is not complete either

    @classmethod
    def read(cls, data: dict[str, object]) -> Self:
        """Take the fields flat or nested; at most 10,000 licenses."""
        flat = flatten(data)
        entries = flat.get("licenses")
        reply = fill(cls, flat | {"licenses": None, "dropped": 0})
        if entries is None:
            return reply
        if not isinstance(entries, list) or len(entries) > MAX_LICENSES:
            raise RemoteProtocolError("data_invalid", f"licenses is not a list of up to {MAX_LICENSES}")
        licenses = []
        for entry in entries:
            license_ = fill(License, entry | {"raw": {}}) if isinstance(entry, dict) else License()
            common = license_.common_fields
            if common.license_id is None:
                continue
            begin, end = _seconds(common.begin_time), _seconds(common.end_time)
            common = msgspec.structs.replace(common, begin_time=begin, end_time=end)
            licenses.append(msgspec.structs.replace(license_, common_fields=common, raw=entry))
        return msgspec.structs.replace(reply, licenses=licenses, dropped=len(entries) - len(licenses))

    def wire(self) -> dict[str, object]:
        """Leave out what is unknown; licenses go out as received."""
        data: dict[str, object] = {"result": self.result}
        if self.device_model_domain is not None:
            data["device_model_domain"] = self.device_model_domain
        if self.consistence is not None:
            data["consistence"] = self.consistence
        if self.licenses is not None:
            data["licenses"] = [entry.raw or msgspec.to_builtins(entry) for entry in self.licenses]
        return data


def _seconds(value: int | None) -> int | None:
    """Keep seconds; scale only what is far too large to be any."""
    if value is None or value < 0:
        return None
    if value < 10**11:  # until the year 5138
        return value
    milliseconds = unix_milliseconds(value)
    return None if milliseconds is None else milliseconds // 1000
