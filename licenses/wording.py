"""Unlock licenses in words of the active language: what kind, what it allows, where it is.

The texts are in English here; the Chinese is in `locale/`, kept by `manage.py messages`. `details` is what a dock
sent, so every function takes any JSON value and none raises.
"""

import math
from collections.abc import Mapping
from typing import Final

from babel import Locale
from babel.core import get_global
from django.db import models
from django.utils.translation import get_language, gettext, gettext_lazy, ngettext, pgettext

from licenses.models import Inventory, UnlockLicense

MAX_HEIGHT: Final = 65535  # metres; the limit on DJI's page "remote unlock"
NAMED_AREAS: Final = 12  # in a sentence
CORNERS: Final = 30  # of a polygon, one by one
COUNTRIES: Final = {language: Locale(language) for language in ("en", "zh")}
HIGHEST_COUNTRY: Final = 899  # larger numbers are free for private use, and no country's
LONGEST: Final = 40  # characters of a value shown raw
# The fields of `details`, by DJI's names.
DETAILS: Final = {
    "area_ids": gettext_lazy("Authorization zones"),
    "country_number": gettext_lazy("Country or region"),
    "height": gettext_lazy("Height limit"),
    "latitude": gettext_lazy("Latitude"),
    "level": gettext_lazy("RID exemption"),
    "longitude": gettext_lazy("Longitude"),
    "points": gettext_lazy("Corners"),
    "radius": gettext_lazy("Radius"),
}


class Kind(models.IntegerChoices):
    """DJI's `type` of a license."""

    AREA = 0, gettext_lazy("Authorization zones")
    CIRCLE = 1, gettext_lazy("Custom circle")
    COUNTRY = 2, gettext_lazy("Country or region")
    HEIGHT = 3, gettext_lazy("Height limit")
    POLYGON = 4, gettext_lazy("Custom polygon")
    POWER = 5, gettext_lazy("Power")
    RID = 6, gettext_lazy("RID exemption")


PLACED: Final = (Kind.CIRCLE, Kind.POLYGON, Kind.COUNTRY)  # what a map can show


def type_name(kind: int | None) -> str:
    """A license's type: "Custom circle", "type 77" for one that DJI has not documented."""
    if kind is None:
        return gettext("type not reported")
    try:
        return str(Kind(kind).label)
    except ValueError:
        return gettext("type {number}").format(number=kind)


def inventory_name(domain: int) -> str:
    """Where a license was found: "approved for the dock"; an unknown domain is shown raw."""
    if domain == Inventory.AIRCRAFT:
        return gettext("imported in the aircraft")
    if domain == Inventory.DOCK:
        return gettext("approved for the dock")
    return gettext("inventory {number}").format(number=domain)


def height_limit(height: object) -> str:
    """ "up to 500 m"; an impossible height is shown raw, a missing one is ""."""
    if height is None:
        return ""
    metres = usable_height(height)
    if metres is None:
        return gettext("height {height} (not usable)").format(height=raw(height))
    return gettext("up to {height} m").format(height=plain(metres))


def describe(license_: UnlockLicense) -> str:
    """What a license allows, in one plain sentence: "Country: China, up to 500 m"."""
    details = license_.details if isinstance(license_.details, dict) else {}
    match license_.type:
        case Kind.AREA:
            return _areas(details.get("area_ids"))
        case Kind.HEIGHT:
            height = details.get("height")
            limit = height_limit(height)
            if usable_height(height) is None:
                return limit[:1].upper() + limit[1:] or gettext("Height limit: not reported")
            return gettext("Height {limit}").format(limit=limit)
        case Kind.RID:
            return gettext("RID exemption: {level}").format(level=rid_level(details.get("level")))
        case Kind.CIRCLE:
            sentence = _circle(details)
        case Kind.COUNTRY:
            given = details.get("country_number")
            country = country_number(given)
            name = raw(given) if country is None else country_name(country)
            sentence = gettext("Country: {name}").format(name=name)
        case Kind.POLYGON:
            points = details.get("points")
            count = len(points) if isinstance(points, list) else 0
            words = ngettext("Custom polygon of {count} corner", "Custom polygon of {count} corners", count)
            sentence = words.format(count=count)
        case _:
            return type_name(license_.type)
    limit = height_limit(details.get("height"))
    return gettext("{sentence}, {limit}").format(sentence=sentence, limit=limit) if limit else sentence


def detail_lines(name: str, value: object) -> list[str]:
    """A value of `details` in lines: the corners of a polygon one by one."""
    match name:
        case "country_number":
            country = country_number(value)
            if country is None:
                return [raw(value)]
            return [gettext("{name} ({number})").format(name=country_name(country), number=country)]
        case "height" | "radius" if (metres := number(value)) is not None:
            return [gettext("{metres} m").format(metres=plain(metres))]
        case "latitude" | "longitude":
            return [coordinate(value)]
        case "level":
            return [rid_level(value)]
    if not isinstance(value, list):
        return [raw(value)]
    if not value or not all(isinstance(corner, dict) for corner in value):
        return [", ".join(map(str, value))]
    lines = [f"{coordinate(corner.get('latitude'))}, {coordinate(corner.get('longitude'))}" for corner in value]
    return lines[:CORNERS] + (
        [gettext("and {count} more").format(count=len(lines) - CORNERS)] if len(lines) > CORNERS else []
    )


def _areas(ids: object) -> str:
    if not isinstance(ids, list) or not ids:
        return gettext("Authorization zones: not reported")
    named = [raw(one) for one in ids[:NAMED_AREAS]]
    if more := len(ids) - len(named):
        named.append(gettext("{count} more").format(count=more))
    words = ngettext("Authorization zone {zones}", "Authorization zones {zones}", len(ids))
    *others, last = named
    if others:
        comma = pgettext("between two zones", ", ")
        last = gettext("{zones} and {last}").format(zones=comma.join(others), last=last)
    return words.format(zones=last)


def _circle(details: Mapping[str, object]) -> str:
    degrees = [details.get("latitude"), details.get("longitude")]
    place = gettext("an unknown place") if degrees == [None, None] else ", ".join(map(coordinate, degrees))
    radius = number(details.get("radius"))
    if radius is None:
        words = gettext("Custom circle around {place}, radius {radius}")
        return words.format(place=place, radius=raw(details.get("radius")))
    if plain(radius) == "0":
        return gettext("Custom circle of 0 m, a point, at {place}").format(place=place)
    return gettext("Custom circle of {radius} m around {place}").format(radius=plain(radius), place=place)


def rid_level(level: object) -> str:
    """Whose rules on remote identification the license exempts from: "EU", "level 9"."""
    whole = number(level)
    if whole == 1:
        return gettext("EU")
    return gettext("China") if whole == 2 else gettext("level {level}").format(level=raw(level))


# --- values ------------------------------------------------------------------------------------------


def number(value: object) -> float | None:
    """A finite number, also one sent as text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def usable_height(value: object) -> float | None:
    """Metres, if it is a height that DJI allows: 0 to MAX_HEIGHT."""
    metres = number(value)
    return metres if metres is not None and 0 <= metres <= MAX_HEIGHT else None


def country_number(value: object) -> int | None:
    """An ISO 3166-1 number; None if it can be none."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() and 0 < found < 1000 else None


def country_name(number: object, language: str | None = None) -> str:
    """The name of a country by its ISO 3166-1 number; DJI drops leading zeros: 36 is Australia.

    In English or Chinese, as the Unicode consortium names it. A number of no country, or of a state that became
    several, is returned as text.
    """
    text = str(number)
    if isinstance(number, bool) or not text.isascii() or not text.isdecimal() or len(text) > 3:
        return text
    letters = get_global("territory_aliases").get(text.zfill(3), ())
    if len(letters) != 1 or int(text) > HIGHEST_COUNTRY:
        return text
    language = language or get_language() or "en"
    name: str = COUNTRIES["zh" if language.startswith("zh") else "en"].territories.get(letters[0], text)
    return name


def plain(value: float) -> str:
    """A number without needless digits: "500", "12.5"."""
    return str(int(value)) if value.is_integer() else f"{value:.3f}".rstrip("0").rstrip(".")


def coordinate(value: object) -> str:
    """Degrees with DJI's six decimals, five if the sixth is 0; what is no number is shown raw."""
    degrees = number(value)
    return raw(value) if degrees is None else f"{degrees:.6f}".removesuffix("0")


def raw(value: object) -> str:
    """Any JSON value as text of LONGEST characters at most; None is "not reported"."""
    text = gettext("not reported") if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
