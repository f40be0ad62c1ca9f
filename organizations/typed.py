"""What a person typed (an organization's id, a binding code, a serial number), as it is compared and stored.

docs/protocol.md has the rule. The form field that takes such text is here, too.
"""

import unicodedata
from typing import Any, Final

from django import forms

LONGEST: Final = 1024  # characters; NFKC makes up to 18 of one, and no id, code or serial number is longer than 64
# Nothing to see, and not of category Cf: spaces that do not break, joiners, fillers, the empty Braille pattern.
_INVISIBLE: Final = frozenset("\u00a0\u2007\u202f\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def typed(text: str) -> str:
    """This text in Unicode NFKC, without invisible characters and outer space; what is too long stays as it is.

    Letters keep their case. What comes back may be longer than what was given, so check its length after this.
    """
    if len(text) > LONGEST:
        return text  # and is refused, or equals nothing
    if text.isascii():
        return text.strip()
    seen = (character for character in text if not _is_invisible(character))
    return unicodedata.normalize("NFKC", "".join(seen)).strip()


def _is_invisible(character: str) -> bool:
    is_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return character in _INVISIBLE or is_selector or unicodedata.category(character) == "Cf"


class TypedField(forms.CharField):
    """A form's field for such text."""

    def to_python(self, value: Any) -> str:
        return typed(super().to_python(value) or "")
