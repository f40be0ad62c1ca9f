"""What may be written down: secrets replaced before anything is stored or logged."""

import re
from functools import lru_cache
from typing import Final

import msgspec

from mqtt_bridge.protocol.conversion import Shaped

MASK: Final = "***"

# Parts of keys, in lower case and without separators.
_SECRET_WORDS: Final = (
    "password",  # login_dji_account
    "passwd",
    "passphrase",
    "pwd",
    "verificationcode",  # login_dji_account
    "secret",  # device_secret of update_topo
    "nonce",  # of update_topo: what it is for is not public, so it counts as a secret
    "appkey",  # config
    "applicense",  # config
    "bindingcode",  # airport_organization_get and _bind
    "bindcode",
    # In no message of ours; other services on the same broker may send them (decision 37).
    "token",
    "credential",
    "accesskey",
    "privatekey",
    "apikey",
    "authorization",
)
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")
# In a text: a key and what is between it and its value. Possessive, so that a long text takes no longer than it is.
_KEY = re.compile(r"""(?<![\w.-])([\w.-]++)\\?["']?\s{0,4}[:=]\s{0,4}b?""")
_VALUE = re.compile(r"""\\?"(?:[^"\\]|\\.)*+"?|\\?'(?:[^'\\]|\\.)*+'?|[^\s,;&)}\]]++""", re.DOTALL)
_LOGIN = re.compile(r"(://[^\s/:@]*+:)[^\s/@]++@")  # of an address: user and password
# Of an Authorization header.
_SCHEME = re.compile(r"\b(api-key|bearer|authorization\W{1,4}(?:b\W)?basic)\s++[^\s,;'\"]++", re.IGNORECASE)
# Parts of our own addresses that open what they name to whoever has them.
_TOKEN = re.compile(r"(/(?:welcome|license-files|password-reset/[^/\s?\"']+)/)[^/\s?\"']++")
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})  # what is copied, if its key does not forbid it
_CACHED_KEY: Final = 64  # characters; longer keys are a stranger's doing and not worth the memory


def redact(data: object, key: str = "") -> object:
    """Copy JSON, or a typed message, with "***" for every secret at any depth.

    A value counts as secret by its `key` (password, app_license, device_binding_code and the like, in any
    spelling). Of a URL only the part before the query is kept.
    """
    if key and (len(key) > _CACHED_KEY or _looks_marked(key)):
        if isinstance(data, str) and key.lower().endswith("url"):
            # A signature is in the query: DJI: flysafe shows one with `Signature` and `OSSAccessKeyId`.
            address, query, _ = data.partition("?")
            return f"{address}?{MASK}" if query else data
        if is_secret(key):
            return MASK
    if isinstance(data, dict):
        return {
            name: value
            if type(value) in _PLAIN and len(name) <= _CACHED_KEY and not _looks_marked(name)
            else redact(value, name)
            for name, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [redact(item) for item in data]
    if isinstance(data, msgspec.Struct):
        return redact(data.wire() if isinstance(data, Shaped) else msgspec.to_builtins(data))
    return data


def redact_text(text: str) -> str:
    """Copy a text with "***" for every value that a secret's key stands before, and for passwords in addresses."""
    text = _TOKEN.sub(rf"\1{MASK}", _LOGIN.sub(rf"\1{MASK}@", _SCHEME.sub(rf"\1 {MASK}", text)))
    shown, end = [], 0
    for found in _KEY.finditer(text):
        if found.start() >= end and is_secret(found[1]) and (value := _VALUE.match(text, found.end())):
            shown += [text[end : found.end()], MASK]
            end = value.end()
    return "".join([*shown, text[end:]])


def is_secret(key: str) -> bool:
    """Say whether a value under this key must not be written down."""
    return _is_secret(key) if len(key) <= _CACHED_KEY else _looks_secret(key)


@lru_cache(maxsize=4096)
def _looks_marked(key: str) -> bool:
    """Whether the value under this key needs a closer look; for keys that are not long."""
    return is_secret(key) or key.lower().endswith("url")


class Confidential(msgspec.Struct, frozen=True):
    """A message with secrets in it: its repr, and so every log and traceback, shows none."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [(name, MASK if is_secret(name) else getattr(self, name)) for name in self.__struct_fields__]


def _looks_secret(key: str) -> bool:
    squeezed = _NOT_ALPHANUMERIC.sub("", key.lower())
    return any(word in squeezed for word in _SECRET_WORDS)


_is_secret = lru_cache(maxsize=4096)(_looks_secret)
