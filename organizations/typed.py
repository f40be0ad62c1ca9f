"""What a person types (an organization's ID, a binding code, a serial number), as it is compared and stored.

docs/protocol.md has the rule. The form field that takes such text is here, too.
"""

import re
import secrets
import unicodedata
from typing import Final

from django import forms
from django.utils.crypto import salted_hmac

LONGEST: Final = 1024  # characters; NFKC makes up to 18 of one, and no id, code or serial number is longer than 64
# Nothing to see, and not of category Cf: spaces that do not break, joiners, fillers, the empty Braille pattern, and
# the two ranges of variation selectors.
_INVISIBLE: Final = frozenset(
    "\u00a0\u2007\u202f\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
# 0, 1, I and O are left out: a technician reads the code from paper and types it on a remote controller.
CODE_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
CODE_LENGTH: Final = 12  # 60 bits
STRONG: Final = 60  # bits
_RUN: Final = re.compile(r"[^\W\d_]+|\d+")


def typed(text: str) -> str:
    """This text in Unicode NFKC, without invisible characters and outer space; what is too long stays as it is.

    Letters keep their case. The result may be longer than the text given: check its length afterwards.
    """
    if len(text) > LONGEST:
        return text  # and is refused, or equals nothing
    if text.isascii():
        return text.strip()
    visible = (one for one in text if one not in _INVISIBLE and unicodedata.category(one) != "Cf")
    return unicodedata.normalize("NFKC", "".join(visible)).strip()


class TypedField(forms.CharField):
    """A form's field for such text."""

    def to_python(self, value: object) -> str:
        return typed(super().to_python(value) or "")


def generate_code() -> str:
    """A new binding code as people see it: XXXX-XXXX-XXXX."""
    letters = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    return "-".join(letters[start : start + 4] for start in range(0, CODE_LENGTH, 4))


def in_groups(secret: str) -> list[str]:
    """A long secret as people read it: five characters and a gap, again and again."""
    return [secret[start : start + 5] for start in range(0, len(secret), 5)]


def normalise_code(code: str) -> str:
    """The code as it is compared: separators and case do not count, nor how its characters are written in Unicode."""
    return "".join(character for character in typed(code) if character.isalnum()).upper()


def bits_of(code: str) -> float:
    """How many bits a code has that a person chose, at least: what somebody must try who knows how people choose.

    A run of letters counts as a word (11 bits, one of 2,000) and a run of digits as a date (13 bits, one of 25 years),
    shorter ones as single characters (letters 4.7, digits 3.3), and what is repeated counts once. So a chance code
    counts for less than it has.
    """
    runs = set(_RUN.findall(normalise_code(code)))
    return sum(min(len(run) * 3.3, 13) if run.isdigit() else min(len(run) * 4.7, 11) for run in runs)


def digest_of(code: str) -> str:
    """Keyed digest of a binding code, 64 hexadecimal characters: all that is stored of it."""
    return salted_hmac("organizations.BindingCode", normalise_code(code), algorithm="sha256").hexdigest()
