"""Sentences that rows keep: they are stored in English, and translated when they are shown.

So no row must be rewritten when a translation is, and the API says the same to everybody.
"""

import re
from functools import lru_cache
from typing import Any

from django.utils.translation import get_language, override
from django.utils.translation.trans_real import translation

_SEPARATOR = "; "  # between sentences of one reason
_PLACEHOLDER = re.compile(r"\\{(\w+)(?::[^{}]*)?\\}")  # after `re.escape`
_FEW_LETTERS = 8
_WORD = r"\S+?"
_PART = "(?:(?![:;] ).)+?"  # a value that is no sentence itself does not go beyond its part of the text
_SENTENCE = ".+?"


def english(value: object) -> str:
    """What a row keeps of a text that is marked for translation, or of a row or a value with such a name."""
    with override("en"):
        return str(value)


def shown(text: str) -> str:
    """A stored sentence, or several joined by "; ", in the active language; what is not known stays as it is."""
    language = get_language() or "en"
    return text if not text or language.startswith("en") else _shown(text, language)


@lru_cache(maxsize=8192)
def _shown(text: str, language: str) -> str:
    if (known := _sentence(text, language)) is not None:
        return known
    if _SEPARATOR in text:
        parts = text.split(_SEPARATOR)
        known_parts = [_shown(part, language) for part in parts]
        return "；".join(known_parts) if known_parts != parts else text
    about, colon, rest = text.partition(": ")  # "4TADL210010001: device disabled", "handler failed: KeyError"
    if not colon:
        return text
    known_about, known_rest = _sentence(about, language), _shown(rest, language)
    return text if known_about is None and known_rest == rest else f"{known_about or about}：{known_rest}"


def _sentence(text: str, language: str) -> str | None:
    """The translation of a text, or of the message with placeholders that it was made of; None if there is none."""
    catalogue = translation(language)
    found: str = catalogue.gettext(text)
    if found != text:
        return found
    for pattern, message in _patterns(language):
        if match := pattern.fullmatch(text):
            values = match.groupdict()
            if "reason" in values:  # a sentence itself; other values are data
                values["reason"] = _shown(values["reason"], language)
            return str(catalogue.gettext(message)).format(**values)
    return None


@lru_cache(maxsize=4)
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    """What matches each message with placeholders, those with the most words of their own first.

    One with few letters of its own would take most sentences ("It is {id}." takes "It is an aircraft."): its values are
    single words.
    """
    catalogue: Any = translation(language)
    keys = (key for key in catalogue._catalog.keys() if isinstance(key, str) and "\x04" not in key)  # noqa: SIM118  (no dict)
    found = []
    for message in keys:
        escaped = re.escape(message)
        names = _PLACEHOLDER.findall(escaped)
        own = re.sub(r"\{[^{}]*\}", "", message)
        if not names or len(names) != len(set(names)) or len(own) < 5:
            continue
        data = _PART if sum(map(str.isalpha, own)) >= _FEW_LETTERS else _WORD
        pattern = "".join(
            f"(?P<{part}>{_SENTENCE if part == 'reason' else data})" if number % 2 else part
            for number, part in enumerate(_PLACEHOLDER.split(escaped))  # text, name, text, name, ..., text
        )
        found.append((len(own), re.compile(pattern, re.DOTALL), message))
    return [(pattern, message) for _, pattern, message in sorted(found, key=lambda one: -one[0])]
