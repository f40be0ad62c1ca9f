"""Method `config`: the dock asks for the license and the time server (DJI: dock, requests, config)."""

import msgspec

from mqtt_bridge.protocol.conversion import Entry, Int, Text
from mqtt_bridge.protocol.journal import Confidential


class ConfigRequest(Entry, frozen=True):
    """Documented values are "json" and "product"; others are no reason to leave a dock without license."""

    config_type: Text = ""
    config_scope: Text = ""


class ConfigReply(Confidential, frozen=True):
    """Flat, unlike all other answers; the dock checks the license itself.

    `result` is ours: `msgspec.UNSET` leaves it out. Without a license to give, answer `EventAck(200001)`.
    """

    app_id: str
    app_key: str
    app_license: str
    ntp_server_host: str
    ntp_server_port: Int = 123
    result: Int | msgspec.UnsetType = 0
