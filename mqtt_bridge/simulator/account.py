"""A dock's DJI account: logging in with a verification code, and out (docs/protocol.md, "DJI account")."""

import uuid
from dataclasses import dataclass

from mqtt_bridge.simulator.checks import Json
from mqtt_bridge.simulator.dialogue import FAILED, Answer, Command
from mqtt_bridge.simulator.hardware import Hardware

STEPS = (10, 30, 50, 70, 90)  # percent


@dataclass
class Account:
    """Who is logged in, and what a login takes. No password is ever kept here.

    Every password is right but `wrong_password`. With `asks_for_code` a login without `code` fails and names an
    address to get it from, a new one each time (the latest is `verification_code_url`).
    """

    username: str = ""  # "" while nobody is logged in; changes when the command is accepted
    code: str = "123456"
    asks_for_code: bool = True
    wrong_password: str = "wrong"  # noqa: S105 - one that is refused
    verification_code_url: str = ""
    pause: float = 0.2  # seconds before each event

    async def log_in(self, dock: Hardware, command: Command) -> Answer:
        """`login_dji_account`."""
        if command.data["password"] == self.wrong_password:
            return self._answer([progress(dock, "failed", 0, result=FAILED)])
        if self.asks_for_code and command.data["verification_code"] != self.code:
            self.verification_code_url = f"https://account.dji.com/simulated/{uuid.uuid4()}"
            failed = progress(dock, "failed", 0)
            failed["output"]["verification_code_url"] = self.verification_code_url
            return self._answer([failed])
        self.username = command.data["username"]
        self.verification_code_url = ""
        return self._answer(success(dock))

    async def log_out(self, dock: Hardware, _command: Command) -> Answer:
        """`logout_dji_account`; succeeds also when nobody was logged in."""
        self.username = self.verification_code_url = ""
        return self._answer(success(dock))

    def _answer(self, events: list[Json]) -> Answer:
        return Answer({"result": 0, "output": {"status": "in_progress"}}, events, self.pause)


def success(dock: Hardware) -> list[Json]:
    """Events from the first step to the good end."""
    return [*(progress(dock, "in_progress", percent) for percent in STEPS), progress(dock, "ok", 100)]


def progress(dock: Hardware, status: str, percent: int, *, result: int = 0) -> Json:
    """The `data` of a progress event."""
    aircraft = {"sub_device_sn": dock.aircraft.sn} if dock.aircraft else {}
    return {"result": result, **aircraft, "output": {"status": status, "progress": {"percent": percent}}}
