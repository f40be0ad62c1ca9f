"""The two forms of a log record, a line or a JSON document. Neither holds a secret that can be recognized as one."""

import json
import logging
from copy import copy
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote, urlsplit

from django.conf import settings

from mqtt_bridge.monitoring import log_fields
from mqtt_bridge.protocol.redaction import MASK, redact, redact_text

SHORTEST: Final = 8  # characters; a shorter secret would mask parts of other words
LONGEST: Final = 32_768  # characters of a text; the rest is cut off
OWN_SECRETS: Final = (
    "SECRET_KEY", "DJI_APP_KEY", "DJI_APP_LICENSE", "DOCK_MQTT_PASSWORD", "METRICS_TOKEN", "MQTT_AUTH_SECRET",
    "OIDC_CLIENT_SECRET",
)  # fmt: skip
OWN_ADDRESSES: Final = (
    "DATABASE_URL", "REDIS_URL", "MQTT_URL", "MQTT_ADMIN_URL", "ENROLMENT_MQTT_ADMIN_URL", "ENROLMENT_BRIDGE_URL",
    "EMAIL_URL",
)  # fmt: skip


# What ends a line, or moves the cursor of whoever reads the log: nobody's text makes a second record of itself.
_CONTROLS: Final = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029) if code != 9}


class Line(logging.Formatter):
    """A line of text; a stack below it, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        shown = copy(record)
        shown.msg, shown.args = message(record).translate(_CONTROLS), None
        return clean(super().format(shown))


class JSONLine(logging.Formatter):
    """A JSON document on one line: time, level, logger, process and message, what it is about, and the exception."""

    def format(self, record: logging.LogRecord) -> str:
        known = log_fields.current()
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": log_fields.process_kind(),
            "pid": record.process,
            "message": clean(message(record)),
        }
        for name in log_fields.NAMES:
            if value := getattr(record, name, "") or known.get(name, ""):
                document[name] = clean(str(value))
        if record.exc_info:
            document["exception"] = clean(self.formatException(record.exc_info))
        return json.dumps(document)  # in ASCII: no character of a device's ends a line


def message(record: logging.LogRecord) -> str:
    """The text of a record, without the secrets of objects in it."""
    args = record.args
    if isinstance(args, tuple):
        args = tuple(redact(one) if isinstance(one, dict | list) else one for one in args)
    elif args:
        args = {name: redact(one, name) for name, one in args.items()}
    return str(record.msg) % args if args else str(record.msg)


def clean(text: str) -> str:
    """The text without what looks like a secret, and without the server's own."""
    text = redact_text(text[:LONGEST])
    for secret in own_secrets():
        text = text.replace(secret, MASK)
    return text


def own_secrets() -> list[str]:
    """The secrets in the settings, as they are now; none while they are being read."""
    if not settings.configured:
        return []
    found = [str(getattr(settings, name, "")) for name in OWN_SECRETS]
    found += settings.FIELD_ENCRYPTION_KEYS
    for name in OWN_ADDRESSES:
        password = urlsplit(getattr(settings, name, "")).password or ""
        found += {password, unquote(password)}
    return [secret for secret in found if len(secret) >= SHORTEST]
