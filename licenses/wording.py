"""Unlock licenses in words, in English and Chinese: what kind, what it allows, where it is, whether it is in force.

`details` is what a dock sent, so every function takes any JSON value and none raises. `language` is a code such as
"en" or "zh-hans", None is the active one.
"""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from django.db import models
from django.utils import translation

from licenses.countries import country_name
from licenses.models import Inventory, UnlockLicense

MAX_HEIGHT = 65535  # metres; DJI's page "remote unlock" gives the limit and no meaning of its own to it
NAMED_AREAS = 12  # in a sentence

Words = tuple[str, str]  # English, Chinese

AREA, CIRCLE, COUNTRY, HEIGHT, POLYGON, POWER, RID = range(7)
_TYPES: Final[dict[int, Words]] = {
    AREA: ("Authorization zones", "授权区"),
    CIRCLE: ("Custom circle", "自定义圆形区域"),
    COUNTRY: ("Country or region", "国家/地区"),
    HEIGHT: ("Height limit", "限高"),
    POLYGON: ("Custom polygon", "自定义多边形区域"),
    POWER: ("Power", "功率"),
    RID: ("RID exemption", "RID 豁免"),
}
PLACED = (CIRCLE, POLYGON, COUNTRY)  # what a map can show
_RID_LEVELS: Final[dict[int, Words]] = {1: ("EU", "欧盟"), 2: ("China", "中国")}
_INVENTORIES: Final[dict[int, Words]] = {
    Inventory.AIRCRAFT: ("imported in the aircraft", "已导入飞行器"),
    Inventory.DOCK: ("approved for the dock", "机场已获批"),
}


class State(models.TextChoices):
    """Whether a license counts at a moment."""

    IN_FORCE = "in_force"
    APPROVED = "approved"
    DISABLED = "disabled"
    NOT_YET = "not_yet"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


_STATES: Final[dict[str, Words]] = {  # in English as `validity.py` says it in lists
    State.IN_FORCE: ("in force", "生效中"),
    State.APPROVED: ("not imported", "未导入"),
    State.DISABLED: ("off", "未启用"),
    State.NOT_YET: ("not yet begun", "未到生效时间"),
    State.EXPIRED: ("expired", "已过期"),
    State.UNKNOWN: ("not told whether on", "未提供是否启用"),
}
_NOT_TOLD: Final[Words] = ("not told", "未提供")


def state_of(license_: UnlockLicense, now: datetime) -> State:
    """The window decides first, for switching does not help outside of it; in force as `in_force()` counts it."""
    if license_.end_time is not None and license_.end_time <= now:
        return State.EXPIRED
    if license_.begin_time is not None and license_.begin_time > now:
        return State.NOT_YET
    if license_.enabled is None:
        return State.UNKNOWN
    return State.IN_FORCE if license_.enabled else State.DISABLED


def standing(license_: UnlockLicense, now: datetime) -> State:
    """Its state, but what only the dock's inventory tells of is approved: that does not show that it was imported."""
    state = state_of(license_, now)
    is_proven = license_.device_model_domain == Inventory.AIRCRAFT
    return State.APPROVED if state == State.IN_FORCE and not is_proven else state


def chosen(language: str | None = None) -> str:
    """ "en" or "zh", whichever we speak to whom this language, or the active one, is shown."""
    return "zh" if (language or translation.get_language() or "en").startswith("zh") else "en"


def pick(words: Words, language: str | None = None) -> str:
    """The words in this language."""
    return words[chosen(language) == "zh"]


def type_name(kind: int | None, language: str | None = None) -> str:
    """A license's type: "Custom circle", "type 77" for one that DJI has not told of."""
    if kind is None:
        return pick(("type not told", "类型未提供"), language)
    return pick(_TYPES.get(kind, (f"type {kind}", f"类型 {kind}")), language)


def state_name(state: str, language: str | None = None) -> str:
    """A state: "in force"."""
    return pick(_STATES[state], language)


def inventory_name(domain: int, language: str | None = None) -> str:
    """Where a license was found: "approved for the dock"; an unknown domain is shown raw."""
    return pick(_INVENTORIES.get(domain, (f"inventory {domain}", f"位置 {domain}")), language)


def rid_level(level: Any, language: str | None = None) -> str:
    """Whose rules on remote identification a license exempts from: "EU", "level 9"."""
    whole = number(level)
    words = _RID_LEVELS.get(int(whole)) if whole is not None and whole.is_integer() else None
    return pick(words or (f"level {raw(level, 'en')}", f"级别 {raw(level, 'zh')}"), language)


def height_limit(height: Any, language: str | None = None) -> str:
    """ "up to 500 m"; what is no height is shown raw, a height that was not told is ""."""
    if height is None:
        return ""
    metres = number(height)
    if metres is None or not 0 <= metres <= MAX_HEIGHT:
        return pick((f"height {raw(height, 'en')} (not usable)", f"限高 {raw(height, 'zh')}（无法使用）"), language)
    return pick((f"up to {plain(metres)} m", f"限高 {plain(metres)} 米"), language)


def describe(license_: UnlockLicense, language: str | None = None) -> str:
    """What a license allows, in one plain sentence: "Country: China, up to 500 m"."""
    details = license_.details if isinstance(license_.details, dict) else {}
    sentence = _SENTENCES.get(license_.type) if license_.type is not None else None
    if sentence is None:
        return type_name(license_.type, language)
    return sentence(details, chosen(language))


# --- one sentence for each type -------------------------------------------------------------------


def _areas(details: dict[str, Any], language: str) -> str:
    ids = details.get("area_ids")
    ids = ids if isinstance(ids, list) else []
    title = type_name(AREA, language)
    if not ids:
        return f"{title}{_colon(language)}{pick(_NOT_TOLD, language)}"
    named = [raw(one, language) for one in ids[:NAMED_AREAS]]
    if more := len(ids) - len(named):
        named.append(pick((f"{more} more", f"另外 {more} 个"), language))
    if language == "zh":
        return title + " " + "、".join(named)
    singular = "Authorization zone" if len(ids) == 1 else title
    return f"{singular} {', '.join(named[:-1])} and {named[-1]}" if len(named) > 1 else f"{singular} {named[0]}"


def _circle(details: dict[str, Any], language: str) -> str:
    degrees = [details.get("latitude"), details.get("longitude")]
    if degrees == [None, None]:
        place = pick(("a place not told", "未提供的位置"), language)
    else:
        place = ", ".join(coordinate(value, language) for value in degrees)
    radius = number(details.get("radius"))
    size = plain(radius) if radius is not None else None
    unusable = raw(details.get("radius"), language)
    if size == "0":
        words = (f"Custom circle of 0 m, a point, at {place}", f"以 {place} 为圆心、半径 0 米的圆形区域（一个点）")
    elif size is not None:
        words = (f"Custom circle of {size} m around {place}", f"以 {place} 为圆心、半径 {size} 米的圆形区域")
    else:
        words = (f"Custom circle around {place}, radius {unusable}", f"以 {place} 为圆心的圆形区域，半径{unusable}")
    return _with_height(pick(words, language), details, language)


def _country(details: dict[str, Any], language: str) -> str:
    told = details.get("country_number")
    key = country_number(told)
    name = raw(told, language) if key is None else country_name(key, language)
    title = pick(("Country", "国家/地区"), language)
    return _with_height(f"{title}{_colon(language)}{name}", details, language)


def _height(details: dict[str, Any], language: str) -> str:
    limit = height_limit(details.get("height"), language)
    if language == "zh":
        return limit or f"限高{_colon(language)}{pick(_NOT_TOLD, language)}"
    return f"Height {limit}" if limit.startswith("up to") else limit.capitalize() or "Height limit: not told"


def _polygon(details: dict[str, Any], language: str) -> str:
    points = details.get("points")
    count = len(points) if isinstance(points, list) else 0
    words = (f"Custom polygon of {count} corner{'s' * (count != 1)}", f"{count} 个顶点的多边形区域")
    return _with_height(pick(words, language), details, language)


def _power(_details: dict[str, Any], language: str) -> str:
    return type_name(POWER, language)


def _rid(details: dict[str, Any], language: str) -> str:
    return f"{type_name(RID, language)}{_colon(language)}{rid_level(details.get('level'), language)}"


_SENTENCES: Final[dict[int, Callable[[dict[str, Any], str], str]]] = {
    AREA: _areas,
    CIRCLE: _circle,
    COUNTRY: _country,
    HEIGHT: _height,
    POLYGON: _polygon,
    POWER: _power,
    RID: _rid,
}


def _with_height(sentence: str, details: dict[str, Any], language: str) -> str:
    limit = height_limit(details.get("height"), language)
    return sentence + (("，" if language == "zh" else ", ") + limit if limit else "")


# --- values ------------------------------------------------------------------------------------------


def number(value: Any) -> float | None:
    """A finite number, also one sent as text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def country_number(value: Any) -> int | None:
    """An ISO 3166-1 number; None if it can be none."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() and 0 < found < 1000 else None


def plain(value: float) -> str:
    """A number without needless digits: "500", "12.5"."""
    return str(int(value)) if value.is_integer() else f"{value:.3f}".rstrip("0").rstrip(".")


def coordinate(value: Any, language: str | None = None) -> str:
    """Degrees with DJI's six decimals, five if the sixth is none; what is no number is shown raw."""
    degrees = number(value)
    return raw(value, language) if degrees is None else f"{degrees:.6f}".removesuffix("0")


def raw(value: Any, language: str | None = None) -> str:
    """Any JSON value as text of bearable length; None is "not told"."""
    return pick(_NOT_TOLD, language) if value is None else _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _colon(language: str) -> str:
    return "：" if language == "zh" else ": "
