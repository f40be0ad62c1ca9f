"""Countries by their ISO 3166-1 number, in English and Chinese, as the Unicode consortium names them."""

from babel import Locale
from babel.core import get_global

HIGHEST = 899  # larger numbers are free for private use, and no country's
_LOCALES = {language: Locale(language) for language in ("en", "zh")}


def country_name(number: object, language: str) -> str:
    """The name of a country; DJI drops leading zeros: 36 is Australia.

    A number of no country, or of a state that became several, is returned as text.
    """
    text = str(number)
    if isinstance(number, bool) or not text.isascii() or not text.isdecimal() or len(text) > 3:
        return text
    letters = get_global("territory_aliases").get(text.zfill(3), ())
    if len(letters) != 1 or int(text) > HIGHEST:
        return text
    name: str = _LOCALES["zh" if language.startswith("zh") else "en"].territories.get(letters[0], text)
    return name
