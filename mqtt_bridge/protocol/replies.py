"""Answers that many methods share."""

from typing import Any

import msgspec

from mqtt_bridge.protocol.conversion import Int


class ResultReply(msgspec.Struct, frozen=True):
    """`{result, output}`: the general form of requests_reply and of many services_reply; 0 is success."""

    result: Int
    output: dict[str, Any] = {}


class EventAck(msgspec.Struct, frozen=True):
    """`{result}`: the answer to an event with need_reply, and a refusal where no output is documented."""

    result: Int = 0
