"""Methods `login_dji_account`, `logout_dji_account`: commands, replies, progress (DJI: account login).

No public version of DJI's documentation has this page. The shape is that of the jobs of remote debugging: a service,
its reply with a first status, then events of the same method until a status ends the job.
"""

import math
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from mqtt_bridge.protocol.conversion import Entry, Int, Shaped, Sn, Text, Url, fill, flatten
from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.redaction import Confidential

# Reply: failed, in_progress, ok, rejected. Event: also canceled, paused, sent, timeout. Of these sent, in_progress and
# paused do not end the job.
_Status = Annotated[str, Meta(max_length=32)]


class LoginRequest(Confidential, frozen=True):
    """Log the dock in (DJI: account login, services)."""

    username: Text
    password: Text  # in clear text inside the JSON: sent at QoS 0, so that no broker stores it (decision 26)
    # Left out of the first attempt by the table, "" in the example: we send "" (decision 23). A failed attempt names a
    # link; the operator gets a code there and logs in again, with name and password.
    verification_code: Text = ""


class LogoutRequest(msgspec.Struct, frozen=True):
    """Log the dock out (DJI: account login, services)."""

    # `data` is null in the table, {} in the example and here (decision 24).


class AccountReply(Shaped, Entry, frozen=True):
    """Answer to login and logout: `{result, output: {status}}` (DJI: account login, services_reply)."""

    result: Int  # other than 0: the device's error code
    status: _Status = ""  # "" if there is no output: accepted, if result is 0

    @classmethod
    def read(cls, data: dict[str, object]) -> Self:
        """Take `status` nested or flat; it also makes up for a missing result."""
        return fill(cls, _with_result(flatten(data)))

    def wire(self) -> dict[str, object]:
        """Nest the status as documented."""
        return {"result": self.result, "output": {"status": self.status} if self.status else {}}


class AccountEvent(Shaped, Entry, frozen=True):
    """Progress of login and logout: `{result, sub_device_sn, output: {status, progress, ...}}`.

    DJI: account login, events. `percent` is 0 to 100, None if absent or not a number.
    """

    result: Int = 0  # 0 beside status "failed" in the example: the status decides
    status: _Status = ""
    percent: int | None = None  # of output.progress, in steps of 1
    sub_device_sn: Sn = ""  # in the tables, in neither example
    verification_code_url: Url = ""  # of login only; as the dock sent it, of any scheme; over 2048 characters it is ""

    @classmethod
    def read(cls, data: dict[str, object]) -> Self:
        """Refuse an event that has neither status nor result."""
        flat = _with_result(flatten(data))
        progress = flat.get("progress")
        sent = progress.get("percent") if isinstance(progress, dict) else flat.get("percent")
        try:
            number = float(sent) if isinstance(sent, int | float | str) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        percent = int(min(max(number, 0), 100)) if math.isfinite(number) else None
        return fill(cls, flat | {"percent": percent})

    def wire(self) -> dict[str, object]:
        """Nest status, progress and link as documented."""
        output: dict[str, object] = {"status": self.status}
        if self.percent is not None:
            output["progress"] = {"percent": self.percent}
        if self.verification_code_url:
            output["verification_code_url"] = self.verification_code_url
        data: dict[str, object] = {"output": output, "result": self.result}
        return data | ({"sub_device_sn": self.sub_device_sn} if self.sub_device_sn else {})


def _with_result(flat: dict[str, object]) -> dict[str, object]:
    """Let a status stand alone: it decides, not the result."""
    if flat.get("result") is not None:
        return flat
    if not flat.get("status"):
        raise RemoteProtocolError("data_invalid", "neither result nor status")
    return flat | {"result": 0}
