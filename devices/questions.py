"""What a dock asks before it is bound: its DJI license, what is bound already, whose a code is.

The messages are on DJI's pages "configuration update" and "organization", the answers those of docs/protocol.md.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from django.conf import settings
from django.utils.translation import gettext_noop

from devices.models import Device, Standing
from mqtt_bridge.database.prepared import AnyOf, Prepared
from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol.messages import BindStatus, ConfigReply
from mqtt_bridge.protocol.result_codes import Code
from organizations.credentials import Credentials, check
from organizations.encryption import opened, stored
from organizations.models import Organization

# in the journal
DISABLED = Exchange.DISABLED
NOT_CONFIGURED = gettext_noop("no DJI license configured")


# --- config ------------------------------------------------------------------------------------


class Configuration(NamedTuple):
    """The answer to one gateway, or the reason why it gets none."""

    reply: ConfigReply | None
    reason: str = ""


class _AskingColumns(NamedTuple):
    sn: str
    is_enabled: bool
    claim: str
    model_key: str
    gateway_id: int | None
    organization_id: int | None
    app_id: str | None
    app_key: str | None  # as it is stored
    app_license: str | None  # as it is stored


class _Asking(_AskingColumns, Standing):
    """A gateway with its organization's license."""


_ASKING = Prepared(
    _Asking,
    lambda: (
        Device.objects.filter(AnyOf("sn", "sns"))
        .order_by()
        .values_list(
            "sn", "is_enabled", "claim", "model_key", "gateway", "organization", "organization__app_id",
            stored("organization__app_key"), stored("organization__app_license"),
        )
    ),
)  # fmt: skip


def configurations(gateway_sns: Sequence[str], *, by_enrolment: bool = False) -> list[Configuration]:
    """For each gateway its organization's license, else the platform's; none for a disabled device. One query.

    What comes through enrolment may be anybody's: it gets the platform's license only.
    """
    devices = {device.sn: device for device in _ASKING(sns=set(gateway_sns))}
    licenses: dict[int | None, Configuration] = {}  # by organization; None: the platform's
    answers = []
    for device in map(devices.get, gateway_sns):
        if device is not None and not device.is_enabled:
            answers.append(Configuration(None, DISABLED))
            continue
        is_own = device is not None and not by_enrolment and device.spoken_for is not None and bool(device.app_id)
        owner = device if is_own else None
        key = owner.organization_id if owner else None
        if key not in licenses:
            licenses[key] = _license(owner)
        answers.append(licenses[key])
    return answers


def _license(owner: _Asking | None) -> Configuration:
    """The license of this device's organization, or the platform's."""
    app_id, app_key, app_license = settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE
    if owner is not None:
        app_id, app_key, app_license = owner.app_id or "", opened(owner.app_key or ""), opened(owner.app_license or "")
    if not (app_id and app_key and app_license):
        return Configuration(None, NOT_CONFIGURED)
    return Configuration(
        ConfigReply(
            app_id=app_id,
            app_key=app_key,
            app_license=app_license,
            ntp_server_host=settings.NTP_SERVER_HOST,
            ntp_server_port=settings.NTP_SERVER_PORT,
            result=Code.OK if settings.CONFIG_REPLY_RESULT else msgspec.UNSET,
        )
    )


# --- airport_bind_status -----------------------------------------------------------------------


class _AskedColumns(NamedTuple):
    sn: str
    pk: int
    callsign: str
    claim: str
    model_key: str
    gateway_id: int | None
    organization_id: int | None
    owner_id: str | None  # as the technician typed it
    owner_name: str | None


class _Asked(_AskedColumns, Standing):
    """A device that is asked about, or asks."""


_ASKED = Prepared(
    _Asked,
    lambda: (
        Device.objects.filter(AnyOf("sn", "sns"))
        .order_by()
        .values_list(
            "sn", "pk", "callsign", "claim", "model_key", "gateway", "organization",
            "organization__organization_id", "organization__name",
        )
    ),
)  # fmt: skip


def bind_status(
    questions: Sequence[tuple[str, Sequence[str]]], *, by_enrolment: bool = False
) -> list[list[BindStatus]]:
    """For each (gateway, serial numbers asked for): one entry per number, in the order asked. One query.

    Whether a number is bound is answered for every device; names only for the gateway's own and its organization's
    devices (docs/protocol.md, decision 30), so that nobody learns who owns what. No names through enrolment, where
    anybody may be the gateway.
    """
    asked = {sn for gateway_sn, sns in questions for sn in (gateway_sn, *sns)}
    known = {device.sn: device for device in _ASKED(sns=asked)}
    return [
        [_status(sn, known.get(sn), known.get(gateway_sn), is_proven=not by_enrolment) for sn in sns]
        for gateway_sn, sns in questions
    ]


def _status(sn: str, device: _Asked | None, gateway: _Asked | None, *, is_proven: bool) -> BindStatus:
    """What this gateway may know about the device."""
    if device is None:
        return BindStatus(sn)
    owner = device.spoken_for if device is gateway else device.organization_id
    if owner is None:
        return BindStatus(sn)
    is_own = gateway is not None and gateway.pk in (device.pk, device.gateway_id)
    if not is_proven or not (is_own or (gateway is not None and gateway.spoken_for == owner)):
        return BindStatus(sn, is_device_bind_organization=True)
    return BindStatus(sn, True, device.owner_id or "", device.owner_name or "", device.callsign)


# --- airport_organization_get ------------------------------------------------------------------


class Finding(NamedTuple):
    """The organization that an id and a code open, or the reason why none; for the journal, the one concerned."""

    organization: Organization | None
    reason: str
    organization_id: int | None


def find_organizations(attempts: Sequence[Credentials], *, now: datetime) -> list[Finding]:
    """For each pair of id and code the organization it opens. Uses no code up, but counts wrong pairs."""
    findings = []
    for verdict in check(attempts, now=now):
        reason = verdict.code.why_unusable(now) if verdict.code else verdict.reason
        organization = verdict.code.organization if verdict.code and not reason else None
        findings.append(Finding(organization, reason, verdict.organization_id))
    return findings
