"""Products by model key, `domain-type-sub_type` (DJI: product support), and what each is doing, in words."""

import re
from typing import Final

# Domains
AIRCRAFT: Final = 0
PAYLOAD: Final = 1
REMOTE_CONTROLLER: Final = 2
DOCK: Final = 3

# Types repeat across domains (67, 89 and 99 are aircraft and cameras), so the key is always the whole triple.
# "Site only": on DJI's site, not in its repository of pages, which ends with V1.11.
PRODUCTS: Final[dict[str, str]] = {
    # docks
    "3-1-0": "DJI Dock",
    "3-2-0": "DJI Dock 2",
    "3-3-0": "DJI Dock 3",  # site only
    # aircraft
    "0-60-0": "Matrice 300 RTK",
    "0-67-0": "Matrice 30",
    "0-67-1": "Matrice 30T",
    "0-77-0": "Mavic 3E",
    "0-77-1": "Mavic 3T",
    "0-77-2": "Mavic 3M",  # on no page, only in DJI's demo server
    "0-77-3": "Mavic 3TA",  # site only
    "0-89-0": "Matrice 350 RTK",
    "0-91-0": "Matrice 3D",
    "0-91-1": "Matrice 3TD",
    "0-99-0": "Matrice 4E",  # site only, as all that follow here
    "0-99-1": "Matrice 4T",
    "0-100-0": "Matrice 4D",
    "0-100-1": "Matrice 4TD",
    "0-103-0": "Matrice 400",
    # remote controllers
    "2-56-0": "DJI Smart Controller Enterprise",  # of M300
    "2-119-0": "DJI RC Plus",  # of M300, M350 and M30
    "2-144-0": "DJI RC Pro Enterprise",  # of Mavic 3 Enterprise and M3D
    "2-174-0": "DJI RC Plus 2",  # of Matrice 4 and M400; site only
    # payloads; the pages give type-sub_type-gimbalindex, where 0 is the main gimbal, 1 starboard, 2 top, 7 FPV
    "1-20-0": "Z30",
    "1-26-0": "XT2",
    "1-39-0": "FPV camera",  # index 7
    "1-41-0": "XTS",
    "1-42-0": "H20",
    "1-43-0": "H20T",
    "1-50-65535": "P1",  # 65535: with any of its lenses (24, 35, 50 mm)
    "1-52-0": "M30 camera",
    "1-53-0": "M30T camera",
    "1-61-0": "H20N",
    "1-66-0": "Mavic 3E camera",
    "1-67-0": "Mavic 3T camera",
    "1-68-0": "Mavic 3M camera",  # on no page, only in DJI's demo server
    "1-80-0": "M3D camera",
    "1-81-0": "M3TD camera",
    "1-82-0": "H30",
    "1-83-0": "H30T",
    "1-88-0": "M4E camera",  # site only, as the next four
    "1-89-0": "M4T camera",
    "1-98-0": "M4D camera",
    "1-99-0": "M4TD camera",
    "1-129-0": "M3TA camera",
    "1-165-0": "Dock camera",  # index 7; inside and outside the dock alike
    "1-176-0": "Vision assist camera",
    "1-90742-0": "L1",
}

# Which dock an aircraft is made for: M30, M3D and M4D, with all their sub_types.
_DOCKS = {"0-67-": "3-1-0", "0-91-": "3-2-0", "0-100-": "3-3-0"}
# For a topology without domains: what may stand in one has types that do not repeat, unlike payloads.
_DOMAINS: Final[dict[int, int]] = {
    int(key.split("-")[1]): int(key[0]) for key in PRODUCTS if not key.startswith(f"{PAYLOAD}-")
}

_TRIPLE = re.compile(r"([0-9]{1,8})-[0-9]+-[0-9]+")


def name(model_key: str) -> str:
    """Name the product; the key itself where we do not know it, for new ones appear twice a year."""
    return PRODUCTS.get(model_key, model_key)


def domain(model_key: str) -> int | None:
    """Read the domain, also of an unknown product; None if the key is not three numbers."""
    triple = _TRIPLE.fullmatch(model_key)
    return int(triple[1]) if triple else None


def dock_of(aircraft_key: str) -> str:
    """Name the dock that an aircraft of this model is made for, by its key; "" if no dock is."""
    return next((dock for prefix, dock in _DOCKS.items() if aircraft_key.startswith(prefix)), "")


def domain_of_type(type_: int, *, otherwise: int) -> int:
    """Infer the domain of a dock, remote controller or aircraft from its type; `otherwise` for an unknown type."""
    return _DOMAINS.get(type_, otherwise)


# The `mode_code` of osd. A number means what the page of that model says (DJI: device properties, Cloud API v1.16.1, as
# of June 2026). Pages differ only in how far they go. A number that is on no page is shown as it is.
# The Chinese is that of DJI's Chinese pages.
_DOCK_MODES: Final = (  # Dock 1, Dock 2 and Dock 3, a page each: dock-to-cloud/mqtt/dock/dock{1,2,3}/properties
    ("idle", "空闲中"),  # 0
    ("debugging on site", "现场调试"),
    ("remote debugging", "远程调试"),
    ("updating firmware", "固件升级中"),
    ("working", "作业中"),
    ("waiting for calibration", "待标定"),  # 5: not in DJI's repository of pages (V1.11), only on its site
)

NOT_CONNECTED: Final = 14  # `mode_code` of an aircraft: its dock reports this, for the aircraft itself is not there
_AIRCRAFT_MODES: Final = (
    ("standing by", "待机"),  # 0
    ("preparing for take-off", "起飞准备"),
    ("ready for take-off", "起飞准备完毕"),
    ("flown by hand", "手动飞行"),
    ("taking off", "自动起飞"),
    ("flying a route", "航线飞行"),  # 5
    ("taking a panorama", "全景拍照"),
    ("tracking a target", "智能跟随"),
    ("evading other air traffic", "ADS-B 躲避"),
    ("returning home", "自动返航"),
    ("landing", "自动降落"),  # 10
    ("forced to land", "强制降落"),
    ("landing on three propellers", "三桨叶降落"),
    ("updating firmware", "升级中"),
    ("not connected", "未连接"),  # NOT_CONNECTED
    ("avoiding obstacles (APAS)", "APAS"),
    ("flown by virtual sticks", "虚拟摇杆状态"),
    ("flown live from the cloud", "指令飞行"),  # 17
    ("waiting for RTK in the air", "空中 RTK 收敛模式"),  # 18: the last of Mavic 3 Enterprise, M300 and M350
    ("surveying a dock site", "机场选址中"),  # 19: the last of M4E, M4T and M400
    ("circling a point of interest", "POI 环绕"),  # 20: the last of M30 and M3D
    ("flying the route in or out of the dock", "进离场航线飞行过程中"),  # 21: of M4D and M4TD alone
)

# By domain and type: a page is for all sub_types of a series.
_MODES: Final[dict[tuple[str, str], tuple[tuple[str, str], ...]]] = {
    ("3", "1"): _DOCK_MODES,
    ("3", "2"): _DOCK_MODES,
    ("3", "3"): _DOCK_MODES,
    ("0", "67"): _AIRCRAFT_MODES[:21],  # M30, M30T: dock-to-cloud/mqtt/aircraft/m30-properties
    ("0", "91"): _AIRCRAFT_MODES[:21],  # M3D, M3TD: .../m3d-properties
    ("0", "100"): _AIRCRAFT_MODES[:22],  # M4D, M4TD: .../m4d-properties
    ("0", "77"): _AIRCRAFT_MODES[:19],  # Mavic 3 Enterprise: pilot-to-cloud/mqtt/m3-series/properties
    ("0", "99"): _AIRCRAFT_MODES[:20],  # M4E, M4T: .../m4-series/properties
    ("0", "103"): _AIRCRAFT_MODES[:20],  # M400: .../matrice-400/properties
    ("0", "60"): _AIRCRAFT_MODES[:19],  # M300: .../others/aircraft/properties
    ("0", "89"): _AIRCRAFT_MODES[:19],  # M350: the same
}


def describe_mode(mode_code: int, model_key: str, language: str = "en") -> str:
    """Say what the device does, in English, or in Chinese, in DJI's words, if `language` starts with "zh".

    `mode N` for a number that is not on the model's page, and for an unknown model.
    """
    domain, _, rest = model_key.partition("-")
    modes = _MODES.get((domain, rest.partition("-")[0]), ())
    is_chinese = language.lower().startswith("zh")
    if 0 <= mode_code < len(modes):
        return modes[mode_code][is_chinese]
    return f"模式 {mode_code}" if is_chinese else f"mode {mode_code}"
