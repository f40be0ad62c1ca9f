"""Products by model key, `domain-type-sub_type` (DJI: product support)."""

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
