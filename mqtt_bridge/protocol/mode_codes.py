"""What a device is doing, from the `mode_code` of its osd, in words.

A number means what the page of that model says (DJI: device properties, Cloud API v1.16.1, as of June 2026). Pages
differ only in how far they go. A number that is on no page is shown as it is.
"""

from typing import Final

_DOCK: Final = (  # Dock 1, Dock 2 and Dock 3, a page each: dock-to-cloud/mqtt/dock/dock{1,2,3}/properties
    "idle",  # 0
    "debugging on site",
    "remote debugging",
    "updating firmware",
    "working",
    "waiting for calibration",  # 5: not in DJI's repository of pages (V1.11), only on its site
)

_AIRCRAFT: Final = (
    "standing by",  # 0
    "preparing for take-off",
    "ready for take-off",
    "flown by hand",
    "taking off",
    "flying a route",  # 5
    "taking a panorama",
    "tracking a target",
    "evading other air traffic",
    "returning home",
    "landing",  # 10
    "forced to land",
    "landing on three propellers",
    "updating firmware",
    "not connected",  # 14; an aircraft that is switched off sends nothing at all
    "avoiding obstacles (APAS)",
    "flown by virtual sticks",
    "flown live from the cloud",  # 17
    "waiting for RTK in the air",  # 18: the last of Mavic 3 Enterprise, M300 and M350
    "surveying a dock site",  # 19: the last of M4E, M4T and M400
    "circling a point of interest",  # 20: the last of M30 and M3D
    "flying the route in or out of the dock",  # 21: of M4D and M4TD alone
)

# By domain and type: a page is for all sub_types of a series.
_MODES: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("3", "1"): _DOCK,
    ("3", "2"): _DOCK,
    ("3", "3"): _DOCK,
    ("0", "67"): _AIRCRAFT[:21],  # M30, M30T: dock-to-cloud/mqtt/aircraft/m30-properties
    ("0", "91"): _AIRCRAFT[:21],  # M3D, M3TD: .../m3d-properties
    ("0", "100"): _AIRCRAFT[:22],  # M4D, M4TD: .../m4d-properties
    ("0", "77"): _AIRCRAFT[:19],  # Mavic 3 Enterprise: pilot-to-cloud/mqtt/m3-series/properties
    ("0", "99"): _AIRCRAFT[:20],  # M4E, M4T: .../m4-series/properties
    ("0", "103"): _AIRCRAFT[:20],  # M400: .../matrice-400/properties
    ("0", "60"): _AIRCRAFT[:19],  # M300: .../others/aircraft/properties
    ("0", "89"): _AIRCRAFT[:19],  # M350: the same
}


def describe(mode_code: int, model_key: str) -> str:
    """Say what the device does; `mode N` for a number that is not on the model's page, and for an unknown model."""
    domain, _, rest = model_key.partition("-")
    modes = _MODES.get((domain, rest.partition("-")[0]), ())
    return modes[mode_code] if 0 <= mode_code < len(modes) else f"mode {mode_code}"
