"""The onboarding sheet: what a technician types into DJI Pilot 2 beside the dock (DJI's "Dock access to cloud")."""

from collections.abc import Iterator
from typing import NamedTuple

import segno
from django.conf import settings

from organizations.models import BindingCode

ADDRESS = "MQTT gateway address"


class Value(NamedTuple):
    """One field of Pilot 2 and what goes into it."""

    label: str
    value: str


class QRCode(NamedTuple):
    """A QR code as an SVG path in a square of `size` modules, quiet zone included."""

    size: int
    path: str


class Sheet(NamedTuple):
    """The five values, which of them the server's settings lack, and all as a QR code of plain text."""

    code: BindingCode
    values: list[Value]
    missing: list[str]
    qr: QRCode


def sheet(code: BindingCode, plain: str) -> Sheet:
    """The sheet of a code that was just issued; `plain` is the code, which cannot be found again later."""
    values = [
        Value(ADDRESS, settings.DOCK_MQTT_URL),
        Value("MQTT account", settings.DOCK_MQTT_USERNAME),
        Value("MQTT password", settings.DOCK_MQTT_PASSWORD),
        Value("Organization ID", code.organization.organization_id),
        Value("Device binding code", plain),
    ]
    missing = [name for name in ("DOCK_MQTT_URL", "DOCK_MQTT_USERNAME", "DOCK_MQTT_PASSWORD") if not _is_set(name)]
    text = "\n".join(f"{label}: {value}" for label, value in values if value)
    return Sheet(code, values, missing, qr_code(text))


def _is_set(name: str) -> bool:
    return bool(getattr(settings, name))


def qr_code(text: str) -> QRCode:
    """The text as a QR code. A path and no image of its own, so that it needs neither inline style nor a request."""
    rows = segno.make(text, error="m", micro=False).matrix
    quiet = 4
    path = "".join(
        f"M{start + quiet} {y + quiet}h{length}v1h-{length}z"
        for y, row in enumerate(rows)
        for start, length in _runs(row)
    )
    return QRCode(len(rows) + 2 * quiet, path)


def _runs(row: bytearray) -> Iterator[tuple[int, int]]:
    """Each run of dark modules as (start, length)."""
    start = None
    for x, dark in enumerate([*row, 0]):
        if dark and start is None:
            start = x
        elif not dark and start is not None:
            yield start, x - start
            start = None
