"""What a device is doing, from the `mode_code` of its osd, in words (DJI: device properties)."""

from typing import Final

from mqtt_bridge.protocol import model_keys

_DOCK: Final[dict[int, str]] = {
    0: "idle",
    1: "debugging on site",
    2: "remote debugging",
    3: "updating firmware",
    4: "working",
    5: "waiting for calibration",
}

_AIRCRAFT: Final[dict[int, str]] = {
    0: "standing by",
    1: "preparing for take-off",
    2: "ready for take-off",
    3: "flown by hand",
    4: "taking off",
    5: "flying a route",
    6: "taking a panorama",
    7: "tracking a target",
    8: "evading other air traffic",
    9: "returning home",
    10: "landing",
    11: "forced to land",
    12: "landing on three propellers",
    13: "updating firmware",
    14: "not connected",
    15: "avoiding obstacles (APAS)",
    16: "flown by virtual sticks",
    17: "flown live from the cloud",
    18: "waiting for RTK in the air",
    19: "surveying a dock site",
    20: "circling a point of interest",
}
_MATRICE_4D: Final[dict[int, str]] = {21: "circling a point of interest"}


def describe(mode_code: int, model_key: str) -> str:
    """Say what the device does; `mode N` for a number or a kind of device that we do not know."""
    domain = model_keys.domain(model_key)
    texts: dict[int, str] = {}
    if domain == model_keys.DOCK:
        texts = _DOCK
    elif domain == model_keys.AIRCRAFT:
        texts = _AIRCRAFT | _MATRICE_4D if model_key.startswith("0-100-") else _AIRCRAFT
    return texts.get(mode_code, f"mode {mode_code}")
