"""The onboarding sheet: what a technician types into DJI Pilot 2 beside the dock (DJI's "Dock access to cloud")."""

from itertools import groupby
from typing import NamedTuple

import segno
from django.conf import settings

from organizations.models import BindingCode


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
        Value("MQTT gateway address", settings.DOCK_MQTT_URL),
        Value("MQTT account", settings.DOCK_MQTT_USERNAME),
        Value("MQTT password", settings.DOCK_MQTT_PASSWORD),
        Value("Organization ID", code.organization.organization_id),
        Value("Device binding code", plain),
    ]
    needed = ("DOCK_MQTT_URL", "DOCK_MQTT_USERNAME", "DOCK_MQTT_PASSWORD")
    missing = [name for name in needed if not getattr(settings, name)]
    text = "\n".join(f"{label}: {value}" for label, value in values if value)
    return Sheet(code, values, missing, qr_code(text))


def qr_code(text: str) -> QRCode:
    """The text as a QR code: a path, not an image, so that it needs neither inline style nor a request."""
    rows = segno.make(text, error="m", micro=False).matrix
    quiet = 4
    bars = []
    for y, row in enumerate(rows, quiet):
        for is_dark, run in groupby(enumerate(row, quiet), key=lambda module: module[1]):
            (start, _), *more = run
            length = 1 + len(more)
            bars += [f"M{start} {y}h{length}v1h-{length}z"] if is_dark else []
    return QRCode(len(rows) + 2 * quiet, "".join(bars))
