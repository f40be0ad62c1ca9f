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
    """The answer to one gateway, or the reason why it gets none."""

    reply: ConfigReply | None
    reason: str = ""


def configurations(gateway_sns: Sequence[str], *, by_enrolment: bool = False) -> list[Configuration]:
    """For each gateway its organization's license, else the platform's; none for a disabled device. One query.

    What comes through enrolment may be anybody's: it gets the platform's license only.
    """
    rows = Device.objects.filter(sn__in=set(gateway_sns)).select_related("organization")
    devices = {device.sn: device for device in rows}
    answers = []
    for device in map(devices.get, gateway_sns):
        owner = device.speaks_for if device is not None and not by_enrolment else None
        app_id, app_key, app_license = settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE
        if owner is not None and owner.app_id:
            app_id, app_key, app_license = owner.app_id, owner.app_key, owner.app_license
        if device is not None and not device.is_enabled:
            answers.append(Configuration(None, DISABLED))
        elif not (app_id and app_key and app_license):
            answers.append(Configuration(None, NOT_CONFIGURED))
        else:
            reply = ConfigReply(
                app_id=app_id,
                app_key=app_key,
                app_license=app_license,
                ntp_server_host=settings.NTP_SERVER_HOST,
                ntp_server_port=settings.NTP_SERVER_PORT,
                result=Code.OK if settings.CONFIG_REPLY_RESULT else msgspec.UNSET,
            )
            answers.append(Configuration(reply))
    return answers
