"""The onboarding sheet: what a technician types into DJI Pilot 2 beside the dock (DJI's "Dock access to cloud")."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import segno
from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from organizations.models import BindingCode
from organizations.typed import in_groups


class Value(NamedTuple):
    """One field of Pilot 2 and what goes into it."""

    label: str | Promise  # in the language of the sheet, which may be another than the page's
    value: str
    groups: Sequence[str] = ()  # the value again, to be read; a gap is none when it is typed


class QRCode(NamedTuple):
    """A QR code as an SVG path in a square of `size` modules, quiet zone included."""

    size: int
    path: str


class Login(NamedTuple):
    """An account of the broker, and where a dock uses it."""

    address: str
    username: str
    password: str
    sn: str = ""  # of the dock whose own account it is
    is_fixed: bool = False  # from the settings


class Sheet(NamedTuple):
    """The five values, and which of them the server's settings lack."""

    code: BindingCode
    login: Login
    values: list[Value]
    missing: list[str]

    @property
    def qr(self) -> QRCode:
        return qr_of(self.values)


def languages() -> list[tuple[str, str]]:
    """In which a sheet can be printed, by code and name: the reader's own first."""
    return sorted(settings.LANGUAGES, key=lambda language: language[0] != get_language())


def enrolment_address() -> str:
    """Where a dock with an enrolment account connects."""
    return settings.DOCK_ENROLMENT_URL or settings.DOCK_MQTT_URL


def fixed_login() -> Login:
    """The account for enrolment in the settings, if there is one."""
    username, password = settings.DOCK_MQTT_USERNAME, settings.DOCK_MQTT_PASSWORD
    return Login(enrolment_address(), username, password, is_fixed=True)


def sheet(code: BindingCode, plain: str, login: Login) -> Sheet:
    """The sheet of a code that was just issued; `plain` is the code, which cannot be found again later."""
    values = [
        Value(_("MQTT gateway address"), login.address),
        Value(_("MQTT account"), login.username),
        Value(_("MQTT password"), login.password, () if login.is_fixed else in_groups(login.password)),
        Value(_("Organization ID"), code.organization.organization_id),
        Value(_("Device binding code"), plain),
    ]
    needed = zip(("DOCK_MQTT_URL", "DOCK_MQTT_USERNAME", "DOCK_MQTT_PASSWORD"), login[:3], strict=True)
    return Sheet(code, login, values, [name for name, value in needed if not value])


def qr_of(values: Sequence[Value]) -> QRCode:
    """These values as plain text, each with its name in the active language."""
    return qr_code("\n".join(f"{one.label}: {one.value}" for one in values if one.value))


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
