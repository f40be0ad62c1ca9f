"""Commands to a dock (`services`): which ones it knows, and how it carries them out."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from mqtt_bridge.simulator import checks
from mqtt_bridge.simulator.account import Account
from mqtt_bridge.simulator.dialogue import BAD_PARAMETER, DOCK_ERROR, UNSUPPORTED, Answer, Command, Dialogue
from mqtt_bridge.simulator.faults import Faults
from mqtt_bridge.simulator.licenses import Licenses

log = logging.getLogger(__name__)

PAUSE = 0.2  # seconds before each event

# Returns the reply's `data`, that and the events to follow it, or None to stay silent.
Handler = Callable[["Services", Command], Awaitable[Mapping[str, object] | Answer | None]]


@dataclass(frozen=True)
class Service:
    """How a dock carries out one service; data that `checks` complains about are refused first.

    `does` is the function that does it. A service without one simply succeeds: it replies result 0 and, if it has
    `steps`, reports each of them and then "ok", `PAUSE` apart.
    """

    does: Handler | None = None
    steps: Sequence[str] | None = None  # step keys of its progress events; () if they have none, None without events

    async def __call__(self, dock: "Services", command: Command) -> Mapping[str, object] | Answer | None:
        """Carry it out; it is a Handler like any other."""
        if checks.instruction_complaints(command.method, command.data):
            return {"result": BAD_PARAMETER}
        if self.does is not None:
            return await self.does(dock, command)
        if self.steps is None:
            return {"result": 0}
        reports = [("in_progress", step) for step in self.steps]
        reports.append(("ok", self.steps[-1] if self.steps else ""))
        events = []
        for place, (status, step) in enumerate(reports, 1):
            progress = {"percent": 100 * place // len(reports)} | ({"step_key": step} if step else {})
            events.append({"result": 0, "output": {"status": status, "progress": progress}})
        return Answer({"result": 0, "output": {"status": "in_progress"}}, events, PAUSE)

    @property
    def refusal(self) -> Answer:
        """How a dock refuses it: by status where the service has one, else by result."""
        if self.steps is None:
            return Answer({"result": UNSUPPORTED})
        return Answer({"result": 0, "output": {"status": "rejected"}})


# The dock is asked each time, so that its account or licenses may be exchanged.
SERVICES = {
    "unlock_license_list": Service(lambda dock, command: dock.licenses.inventory(dock, command)),
    "unlock_license_switch": Service(lambda dock, command: dock.licenses.switch(dock, command)),
    "unlock_license_update": Service(lambda dock, command: dock.licenses.update(dock, command)),
    "login_dji_account": Service(lambda dock, command: dock.account.log_in(dock, command), steps=()),
    "logout_dji_account": Service(lambda dock, command: dock.account.log_out(dock, command), steps=()),
}


class Services(Dialogue):
    """The part of a dock that obeys; `Dock` sets its attributes, which may be exchanged at any time.

    `handlers` says what it does on a command, a copy of SERVICES at first; all others are answered as unsupported.
    """

    licenses: Licenses
    account: Account
    faults: Faults
    handlers: dict[str, Handler]

    async def carry_out(self, command: Command) -> None:
        """Carry out a command or refuse it, then send reply and events as the faults want them."""
        faults, handler = self.faults, self.handlers.get(command.method)
        answer: Mapping[str, object] | Answer | None
        if faults.refuses():
            answer = SERVICES.get(command.method, Service()).refusal
        elif handler is None:
            answer = {"result": UNSUPPORTED}
        else:
            try:
                answer = await handler(self, command)
            except Exception:
                log.exception("%s: the handler of %s failed", self.sn, command.method)
                answer = {"result": DOCK_ERROR}
        command = command._replace(data={})  # a password must not outlive its use
        if answer is not None:
            await faults.deliver(self, command, answer if isinstance(answer, Answer) else Answer(dict(answer)))


def learn(services: Mapping[str, Sequence[str] | None]) -> None:
    """Let docks that are made from now on carry out further services, which simply succeed.

    The values are the step keys of their progress events, None for services without events.
    """
    for name, steps in services.items():
        SERVICES.setdefault(name, Service(steps=steps))
