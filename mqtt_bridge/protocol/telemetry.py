"""What the device's state keeps of osd and state frames (DJI: device properties)."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mqtt_bridge.protocol.conversion import Entry, Latitude, Longitude, ModelKey, SmallInt, Sn, decode_part


class OwnAircraft(Entry, frozen=True):
    """Property `sub_device` of a dock: the aircraft that belongs to it, also while that is switched off.

    `model_key` is called `device_model_key` by Dock 2 and 3 and `product_type` by the page of Dock 1. A flag that is
    left out is None.
    """

    device_sn: Sn = ""
    device_model_key: ModelKey = ""
    product_type: ModelKey = ""
    device_online_status: bool | None = None
    device_paired: bool | None = None

    @property
    def model_key(self) -> str:
        return self.device_model_key or self.product_type


class Telemetry(Entry, frozen=True):
    """Values of one frame, None where it has none: frames are partial, and are merged, not replaced.

    Degrees, north and east positive.
    """

    latitude: Latitude | None = None
    longitude: Longitude | None = None
    mode_code: SmallInt | None = None
    firmware_version: Annotated[str, Meta(max_length=64)] | None = None
    sub_device: OwnAircraft | None = None
    best_link_gateway: Sn = ""  # of an aircraft that several docks hear: the one it is linked through


def extract(data: Any) -> Telemetry:
    """Read one frame's `data`; never raises.

    A position is whole or absent. Exactly 0, 0 is what a receiver without a fix reports, not a place where
    anybody keeps a dock, and counts as absent.
    """
    frame = decode_part(Telemetry, data)
    known = frame.latitude is not None and frame.longitude is not None
    if known and (frame.latitude, frame.longitude) != (0, 0):
        return frame
    return msgspec.structs.replace(frame, latitude=None, longitude=None)
