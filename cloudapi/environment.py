"""Reading settings from the environment: what is wrong is refused by its name, and by every process.

All readers raise ImproperlyConfigured, with the variable's name and what is right.
"""

import os
import re
from typing import Final, NoReturn
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

SHORTEST_SECRET: Final = 50  # characters, as Django's own check wants
_FLAGS: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
_HOST: Final = re.compile(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")


def refuse(name: str, why: str) -> NoReturn:
    """Say which variable is wrong, and what would be right."""
    raise ImproperlyConfigured(f"{name} {why}")


def text(name: str, *, default: str = "") -> str:
    """A value as it is; the default if it is missing or empty."""
    return os.environ.get(name) or default


def flag(name: str, *, default: bool) -> bool:
    """Yes or no."""
    value = text(name, default=str(default)).strip().lower()
    if value not in _FLAGS:
        refuse(name, f"is {value!r}: write true or false.")
    return _FLAGS[value]


def number(name: str, *, default: int, least: int = 1) -> int:
    """A whole number that is not below the least."""
    value = text(name, default=str(default)).strip()
    if not re.fullmatch(r"[0-9]{1,18}", value) or int(value) < least:
        refuse(name, f"is {value!r}: write a whole number, {least} or more.")
    return int(value)


def address(name: str, value: str, *, schemes: str) -> str:
    """The value, if it is empty or an address with one of these schemes, a host and, if any, a port that can be."""
    if not value:
        return value
    allowed = schemes.split()
    try:
        found = urlsplit(value)
        is_right = found.scheme in allowed and bool(found.hostname) and found.port != 0
    except ValueError:
        is_right = False
    if not is_right or re.search(r"\s", value):
        # Not the value: there may be a password in it.
        refuse(name, f"is no address of the form {allowed[0]}://host:port (or {', '.join(allowed[1:])}).")
    return value


def hosts(name: str, value: str) -> list[str]:
    """Host names, separated by commas."""
    found = [host.strip() for host in value.split(",")]
    for host in found:
        if not _HOST.fullmatch(host):
            refuse(name, f"has {host!r}: write host names, separated by commas, without scheme and port.")
    return found


def fernet_keys(name: str, value: str) -> list[str]:
    """Fernet keys, separated by commas."""
    keys = [key.strip() for key in value.split(",")]
    for place, key in enumerate(keys, 1):
        try:
            Fernet(key)
        except ValueError as error:
            refuse(name, f"holds something that is no Fernet key, number {place}: {error}")
    return keys
