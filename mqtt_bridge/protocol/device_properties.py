"""What the device's state keeps of osd and state frames (DJI: device properties)."""

from typing import Annotated

import msgspec
from msgspec import Meta

from mqtt_bridge.protocol.conversion import Entry, Latitude, Longitude, ModelKey, SmallInt, Sn, decode_part
from mqtt_bridge.protocol.topics import SN_PATTERN


class OwnAircraft(Entry, frozen=True):
    """Property `sub_device` of a dock (DJI: device properties, dock).

    The aircraft that belongs to it, also while that is switched off.
    """

    device_sn: Annotated[str, Meta(pattern=rf"{SN_PATTERN}|\A\Z")] = ""  # "" in a dock that never had one
    # The same thing twice: the table of Dock 1 has the second name, its sample and the pages of Dock 2 and 3 the first.
    device_model_key: ModelKey = ""
    product_type: ModelKey = ""
    device_online_status: bool | None = None  # 0 or 1; None if left out
    device_paired: bool | None = None  # 0 or 1; 0 and not online: the dock has no aircraft any more

    @property
    def model_key(self) -> str:
        return self.device_model_key or self.product_type


class Telemetry(Entry, frozen=True):
    """Values of one frame, None where it has none (DJI: device properties).

    Frames are partial, and are merged, not replaced: a dock sends its osd in several, about every two seconds.
    """

    latitude: Latitude | None = None  # of a dock or of an aircraft, whichever the topic names
    longitude: Longitude | None = None
    mode_code: SmallInt | None = None  # in words: `model_keys`
    firmware_version: Annotated[str, Meta(max_length=64)] | None = None  # in state frames, on change
    sub_device: OwnAircraft | None = None  # a dock's
    best_link_gateway: Sn = ""  # of an aircraft that several docks hear: the one it is linked through


def extract(data: object) -> Telemetry:
    """Read one frame's `data`; never raises. A position is whole or absent."""
    frame = decode_part(Telemetry, data)
    known = frame.latitude is not None and frame.longitude is not None
    # Exactly 0, 0 is what a receiver without a fix reports, not a place where anybody keeps a dock.
    if known and (frame.latitude, frame.longitude) != (0, 0):
        return frame
    return msgspec.structs.replace(frame, latitude=None, longitude=None)
