"""Methods `login_dji_account`, `logout_dji_account`: commands, replies, progress (DJI: services, events)."""

import math
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta

from mqtt_bridge.protocol.conversion import Entry, Int, Shaped, Sn, Text, Url, fill, flatten
from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.journal import Confidential

_Status = Annotated[str, Meta(max_length=32)]


class LoginRequest(Confidential, frozen=True):
    """Log the dock in; the first attempt sends an empty verification code, as DJI's example does."""

    username: Text
    password: Text
    verification_code: Text = ""


class LogoutRequest(msgspec.Struct, frozen=True):
    """Log the dock out: `{}`."""


class AccountReply(Shaped, Entry, frozen=True):
    """Answer to login and logout: `{result, output: {status}}`.

    `status` is one of ok, in_progress, failed, rejected, any other text, or "" (accepted, if result is 0).
    """

    result: Int
    status: _Status = ""

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """Take `status` nested or flat; it also makes up for a missing result."""
        return fill(cls, _with_result(flatten(data)))

    def wire(self) -> dict[str, Any]:
        """Nest the status as documented."""
        return {"result": self.result, "output": {"status": self.status} if self.status else {}}


class AccountEvent(Shaped, Entry, frozen=True):
    """Progress of login and logout: `{result, sub_device_sn, output: {status, progress, ...}}`.

    `percent` is 0 to 100, None if absent. `verification_code_url` is what the dock says, of any scheme;
    over 2048 characters it is "".
    """

    result: Int = 0
    status: _Status = ""
    percent: int | None = None
    sub_device_sn: Sn = ""
    verification_code_url: Url = ""

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """Refuse an event that says neither status nor result."""
        flat = _with_result(flatten(data))
        progress = flat.get("progress")
        percent = progress.get("percent") if isinstance(progress, dict) else flat.get("percent")
        return fill(cls, flat | {"percent": _percent(percent)})

    def wire(self) -> dict[str, Any]:
        """Nest status, progress and link as documented."""
        output: dict[str, Any] = {"status": self.status}
        if self.percent is not None:
            output["progress"] = {"percent": self.percent}
        if self.verification_code_url:
            output["verification_code_url"] = self.verification_code_url
        data: dict[str, Any] = {"output": output, "result": self.result}
        return data | ({"sub_device_sn": self.sub_device_sn} if self.sub_device_sn else {})


def _with_result(flat: dict[str, Any]) -> dict[str, Any]:
    """Let a status stand alone: it decides, not the result."""
    if flat.get("result") is not None:
        return flat
    if not flat.get("status"):
        raise RemoteProtocolError("data_invalid", "neither result nor status")
    return flat | {"result": 0}


def _percent(value: object) -> int | None:
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return int(min(max(number, 0), 100)) if math.isfinite(number) else None
