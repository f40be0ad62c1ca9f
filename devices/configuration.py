"""The DJI license that a dock asks for before anything else (DJI's "configuration update" page)."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from django.conf import settings

from devices.models import Device
from mqtt_bridge.protocol.messages import ConfigReply
from mqtt_bridge.protocol.result_codes import Code

DISABLED = "device disabled"
NOT_CONFIGURED = "no DJI license configured"


class Configuration(NamedTuple):
    """What one gateway is told, or why it is told nothing."""

    reply: ConfigReply | None
    reason: str = ""


def configurations(gateway_sns: Sequence[str]) -> list[Configuration]:
    """For each gateway its organization's license, else the platform's; None for a disabled device. One query."""
    rows = Device.objects.filter(sn__in=set(gateway_sns)).select_related("organization")
    devices = {device.sn: device for device in rows}
    return [_configuration(devices.get(sn)) for sn in gateway_sns]


def _configuration(device: Device | None) -> Configuration:
    if device is not None and not device.is_enabled:
        return Configuration(None, DISABLED)
    app_id, app_key, app_license = _license(device)
    if not (app_id and app_key and app_license):
        return Configuration(None, NOT_CONFIGURED)
    reply = ConfigReply(
        app_id=app_id,
        app_key=app_key,
        app_license=app_license,
        ntp_server_host=settings.NTP_SERVER_HOST,
        ntp_server_port=settings.NTP_SERVER_PORT,
        result=Code.OK if settings.CONFIG_REPLY_RESULT else msgspec.UNSET,
    )
    return Configuration(reply)


def _license(device: Device | None) -> tuple[str, str, str]:
    owner = device.speaks_for if device is not None else None
    if owner is not None and owner.app_id:
        return owner.app_id, owner.app_key, owner.app_license
    return settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE
