"""What may be written down: secrets replaced before anything is stored or logged."""

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from mqtt_bridge.protocol.conversion import Shaped

MASK: Final = "***"

_SECRET_WORDS: Final = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "verificationcode",
    "secret",
    "nonce",
    "appkey",
    "applicense",
    "bindingcode",
    "bindcode",
    "token",
    "credential",
    "accesskey",
    "privatekey",
    "apikey",
    "authorization",
)
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")
_CACHED_KEY: Final = 64  # longer keys are a stranger's doing and not worth the memory


def redact(data: Any) -> Any:
    """Copy JSON, or a typed message, with "***" for every secret at any depth.

    A value counts as secret by its key (password, app_license, device_binding_code and the like, in any
    spelling). Of a URL only the part before the query is kept, for signatures live there.
    """
    if isinstance(data, dict):
        return {key: _redact_value(str(key), value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [redact(item) for item in data]
    if isinstance(data, msgspec.Struct):
        return redact(data.wire() if isinstance(data, Shaped) else msgspec.to_builtins(data))
    return data


def is_secret(key: str) -> bool:
    """Say whether a value under this key must not be written down."""
    return _is_secret(key) if len(key) <= _CACHED_KEY else _looks_secret(key)


class Confidential(msgspec.Struct, frozen=True):
    """A message with secrets in it: its repr, and so every log and traceback, shows none."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, MASK if is_secret(name) else getattr(self, name)) for name in self.__struct_fields__]


def _redact_value(key: str, value: Any) -> Any:
    if isinstance(value, str) and key.lower().endswith("url"):
        address, query, _ = value.partition("?")
        return f"{address}?{MASK}" if query else value
    return MASK if is_secret(key) else redact(value)


def _looks_secret(key: str) -> bool:
    squeezed = _NOT_ALPHANUMERIC.sub("", key.lower())
    return any(word in squeezed for word in _SECRET_WORDS)


_is_secret = lru_cache(maxsize=4096)(_looks_secret)
