"""Two kinds of protocol error, told apart by whose fault they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqtt_bridge.protocol.envelope import Envelope


class ProtocolError(Exception):
    """Something that the DJI Cloud API does not allow was received, or was about to be sent."""


class RemoteProtocolError(ProtocolError):
    """The sender's fault: what arrived cannot be used.

    `reason` is a stable snake_case word to count and to filter by. `detail` says where and how much; it
    names fields and sizes, never the content of the payload, which may be a password. `envelope` holds what
    an answer needs (tid, bid, method; its `data` is empty) and is None where an answer is impossible. Only of a message
    that lacks nothing but a tid it is the whole message, which cannot be answered.
    """

    def __init__(self, reason: str, detail: str = "", envelope: Envelope | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.envelope = envelope


class LocalProtocolError(ProtocolError):
    """Our own fault: we tried to say something that may not be said."""
