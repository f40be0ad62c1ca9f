"""What the device's state keeps of osd and state frames (DJI: device properties)."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mqtt_bridge.protocol.conversion import Entry, Latitude, Longitude, SmallInt, decode_part


class Telemetry(Entry, frozen=True):
    """Values of one frame, None where it has none: frames are partial, and are merged, not replaced.

    Degrees, north and east positive.
    """

    latitude: Latitude | None = None
    longitude: Longitude | None = None
    mode_code: SmallInt | None = None
    firmware_version: Annotated[str, Meta(max_length=64)] | None = None


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
