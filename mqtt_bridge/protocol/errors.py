"""Two kinds of protocol error, told apart by whose fault they are."""


class ProtocolError(Exception):
    """Something that the DJI Cloud API does not allow was received, or was about to be sent."""


class RemoteProtocolError(ProtocolError):
    """The sender's fault: what arrived cannot be used.

    `reason` is a stable snake_case word to count and to filter by. `detail` says where and how much.
    """

    # `detail` names fields and sizes and never quotes the payload, which may hold a password (login_dji_account).
    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class LocalProtocolError(ProtocolError):
    """Our own fault: we tried to send what must not be sent."""
