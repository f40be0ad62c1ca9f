"""Reads settings from the environment. Every process refuses a wrong value, and names its variable.

Each variable NAME may be given as NAME_FILE instead: the name of a file that holds the value. All functions raise
ImproperlyConfigured with the name of the variable and what would be right.
"""

import os
import re
import ssl
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from mqtt_bridge.line.tls import Certificates

SHORTEST_SECRET: Final = 50  # characters, as in Django's own check
_FLAGS: Final = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
_HOST: Final = re.compile(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")


def refuse(name: str, why: str) -> NoReturn:
    """Say which variable is wrong, and what would be right."""
    raise ImproperlyConfigured(f"{name} {why}")


def text(name: str, *, default: str = "") -> str:
    """The value unchanged, from a file without the white space around it; the default if it is missing or empty."""
    value, file = os.environ.get(name, ""), os.environ.get(f"{name}_FILE", "")
    if value and file:
        refuse(name, f"is set twice: unset it or {name}_FILE.")
    if file:
        value = _content(f"{name}_FILE", file).decode(errors="replace").strip()
    if not value.isprintable() or "\ufffd" in value:
        refuse(f"{name}_FILE" if file else name, "holds more than one line, or characters that are no text.")
    return value or default


def _content(name: str, file: str) -> bytes:
    """What this file holds, which the variable names."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        refuse(name, f"names {file!r}, which cannot be read: {error.strerror}.")


def required(name: str, *, development: str) -> str:
    """A value that production must set; only with DEBUG may the value for development replace it."""
    value = text(name)
    if not value and not flag("DEBUG", default=False):
        refuse(name, "must be set when DEBUG is off; DEBUG=true is for development.")
    return value or development


def with_(other: str, name: str) -> str:
    """A value that must be set if another variable is."""
    value = text(name)
    if text(other) and not value:
        refuse(name, f"must be set, because {other} is.")
    return value


def secret_key(name: str, value: str) -> str:
    """The value, if it is hard to guess or DEBUG is on."""
    if (len(value) < SHORTEST_SECRET or len(set(value)) < 5) and not flag("DEBUG", default=False):
        refuse(name, f"can be guessed: make one of {SHORTEST_SECRET} or more random characters.")
    return value


def flag(name: str, *, default: bool) -> bool:
    """Yes or no."""
    value = text(name, default=str(default)).strip().lower()
    if value not in _FLAGS:
        refuse(name, f"is {value!r}: write true or false.")
    return _FLAGS[value]


def number(name: str, *, default: int, least: int = 1, most: int = 10**18) -> int:
    """A whole number, from `least` to `most`."""
    value = text(name, default=str(default)).strip()
    if not re.fullmatch(r"[0-9]{1,18}", value) or not least <= int(value) <= most:
        limit = f"{least} or more" if most == 10**18 else f"{least} to {most}"
        refuse(name, f"is {value!r}: write a whole number, {limit}.")
    return int(value)


def choice(name: str, *, default: str, choices: str) -> str:
    """One of these words, in capital letters."""
    value = text(name, default=default).strip().upper()
    if value not in choices.split():
        refuse(name, f"is {value!r}: write one of {choices}.")
    return value


def client_id(name: str, *, default: str) -> str:
    """An MQTT client id that may be a part of a topic and of an access list."""
    value = text(name, default=default)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
        refuse(name, f"is {value!r}: write 1 to 64 letters, digits, dots, hyphens and underscores.")
    return value


def address(name: str, value: str, *, schemes: str) -> str:
    """The value, if it is empty or an address with one of these schemes, a host and, if any, a possible port."""
    if not value:
        return value
    allowed = schemes.split()
    try:
        found = urlsplit(value)
        is_right = found.scheme in allowed and bool(found.hostname) and found.port != 0
    except ValueError:
        is_right = False
    if not is_right or re.search(r"\s", value):
        # The value is not shown: it may hold a password.
        refuse(
            name,
            f"is not an address like {allowed[0]}://host:port (or {', '.join(allowed[1:])}); in a password, "
            "special characters are percent-encoded (%40 for @).",
        )
    return value


def listener(name: str) -> tuple[str, int] | None:
    """Host and port to listen at; None if the variable is empty. Port 0 is any free one."""
    value = text(name).strip()
    if not value:
        return None
    try:
        found = urlsplit(f"//{value}")
        host, port = found.hostname, found.port
    except ValueError:
        host, port = None, None
    if host is None or port is None or found.netloc != value or "@" in value:
        refuse(name, f"is {value!r}: write host:port, like 127.0.0.1:9101.")
    return host, port


def hosts(name: str, value: str) -> list[str]:
    """Host names, separated by commas."""
    found = [host.strip() for host in value.split(",")]
    for host in found:
        if not _HOST.fullmatch(host):
            refuse(name, f"has {host!r}: write host names, separated by commas, without scheme and port.")
    return found


def host(name: str, *, default: str) -> str:
    """One host name or IP address."""
    value = text(name, default=default)
    if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|[0-9A-Fa-f:]+", value):
        refuse(name, f"is {value!r}: write a host name, without scheme and port.")
    return value


def certificates(ca: str, certificate: str, key: str) -> Certificates:
    """The files of these variables, if TLS can use them."""
    found = Certificates(text(ca), text(certificate), text(key))
    names = {ca: found.ca_file, certificate: found.client_cert_file}
    for name, file in names.items():
        content = _content(name, file) if file else b""
        try:
            if file and not x509.load_pem_x509_certificates(content):
                raise ValueError("empty")
        except ValueError as error:
            refuse(name, f"names {file!r}, which holds no certificate in PEM format ({error}).")
    if found.client_key_file and not found.client_cert_file:
        refuse(key, f"is set without {certificate}.")
    if found.client_key_file:
        _content(key, found.client_key_file)
    if found.client_cert_file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
                found.client_cert_file, found.client_key_file or None, password=""
            )
        except ssl.SSLError as error:
            refuse(key, f"must name the key of {certificate}, in PEM format, without a password ({error.reason}).")
    return found


def fernet_keys(name: str, value: str) -> list[str]:
    """Fernet keys, separated by commas."""
    keys = [key.strip() for key in value.split(",")]
    for place, key in enumerate(keys, 1):
        try:
            Fernet(key)
        except ValueError as error:
            refuse(name, f"holds a wrong key: number {place} is not a Fernet key ({error}).")
    return keys


def tile_origins(name: str, template: str) -> list[str]:
    """Where browsers load map tiles from, as a content security policy has it; empty if that is this server."""
    if not template or (template.startswith("/") and not template.startswith("//")):
        return []
    found = urlsplit(re.sub(r"^(https?://)[^/.]*\{s\}[^/.]*", r"\1*", template))
    if found.scheme not in ("http", "https") or not re.fullmatch(r"(\*\.)?[A-Za-z0-9.-]+(:\d+)?", found.netloc):
        refuse(name, "is not an address like https://tile.example.org/{z}/{x}/{y}.png.")
    return [f"{found.scheme}://{found.netloc}"]
