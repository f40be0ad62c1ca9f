"""Docks that answer commands badly, by script: each entry is one way to go wrong."""

# Misbehaviours spoil the form of everything a dock sends; faults spoil when and what it answers to a command.

import asyncio
import contextlib
import uuid
from collections.abc import Iterable

from mqtt_bridge.simulator.checks import Json
from mqtt_bridge.simulator.dialogue import FAILED, Answer, Command, Dialogue

SLOW = 5.0  # seconds
LAST_PERCENT = 50

FAULTS = {
    "slow": f"does it at once, but answers {SLOW:.0f} s later; slow:20 answers 20 s later",
    "silent": "does it and never answers",
    "duplicate": "reply and events go out twice",
    "foreign-tid": "the reply has a tid that nobody sent",
    "event-before-reply": "the events come first, the reply last",
    "percent-backwards": "the progress goes down",
    "ok-with-error": "status ok, but a result that is an error",
    "stripped": "the reply holds nothing but result 0",
    "after-restart": "loses its connection over the command and answers when it is back",
    "rejected": "refuses, and does nothing",
    "no-terminal": f"the progress stops at {LAST_PERCENT} percent",
}
# A fault and those that would have nothing left to spoil.
EXCLUDED = {
    "silent": set(FAULTS) - {"silent"},
    "rejected": {"event-before-reply", "percent-backwards", "ok-with-error", "stripped", "no-terminal"},
    "ok-with-error": {"no-terminal"},
}


class Faults:
    """The faults of one dock put together; without any, commands are answered properly.

    A name is a key of FAULTS, or `slow:SECONDS`. May be exchanged while the dock lives:
    `dock.faults = Faults(["slow:2"])` holds for the commands that come from then on. Raises ValueError for an unknown
    name and for two that exclude each other.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.delay = 0.0
        self.names: set[str] = set()
        for text in names:
            name, colon, seconds = text.partition(":")
            if name not in FAULTS or (colon and name != "slow"):
                raise ValueError(f"Unknown fault {text!r}: expected one of {', '.join(FAULTS)}.")
            self.names.add(name)
            if name == "slow":
                self.delay = -1.0
                with contextlib.suppress(ValueError):
                    self.delay = float(seconds) if colon else SLOW
                if not 0 <= self.delay < float("inf"):
                    raise ValueError(f"Not a number of seconds: {seconds!r} (in slow:SECONDS).")
        for name, others in EXCLUDED.items():
            clash = sorted(self.names & others) if name in self.names else []
            if clash:
                raise ValueError(f"The fault {name} cannot be combined with {clash[0]}.")

    def refuses(self) -> bool:
        """Whether the dock rejects a command instead of doing it."""
        return "rejected" in self.names

    def spoil(self, answer: Answer) -> Answer:
        """The answer as this dock words it."""
        reply, events = answer.data, list(answer.events)
        if "no-terminal" in self.names and events:
            events = [
                {**events[0], "result": 0, "output": {"status": "in_progress", "progress": {"percent": percent}}}
                for percent in range(10, LAST_PERCENT + 1, 20)
            ]
        if "percent-backwards" in self.names:
            running = [event for event in events if _is_running(event)]
            events = [running.pop() if _is_running(event) else event for event in events]
        if "ok-with-error" in self.names:
            if events:
                events[-1] = _with_error(events[-1])
            else:
                reply = _with_error(reply)
        if "stripped" in self.names:
            reply = {"result": 0}
        return Answer(reply, events, answer.pause)

    async def deliver(self, dock: Dialogue, command: Command, answer: Answer) -> None:
        """Send reply and events, or what this dock makes of them."""
        if "silent" in self.names:
            return
        if "after-restart" in self.names:
            dock.connection.drop()
        await asyncio.sleep(self.delay)
        spoilt = self.spoil(answer)
        if "event-before-reply" in self.names:
            await self._send_events(dock, command, spoilt)
            await self._send_reply(dock, command, spoilt)
        else:
            await self._send_reply(dock, command, spoilt)
            await self._send_events(dock, command, spoilt)

    async def _send_reply(self, dock: Dialogue, command: Command, answer: Answer) -> None:
        tid = str(uuid.uuid4()) if "foreign-tid" in self.names else command.tid
        await dock.send_reply(command._replace(tid=tid), answer.data, copies=self._copies)

    async def _send_events(self, dock: Dialogue, command: Command, answer: Answer) -> None:
        for event in answer.events:
            await asyncio.sleep(answer.pause)
            await dock.send_event(command.method, event, bid=command.bid, need_reply=False, copies=self._copies)

    @property
    def _copies(self) -> int:
        return 2 if "duplicate" in self.names else 1


def _is_running(event: Json) -> bool:
    return bool(event.get("output", {}).get("status") == "in_progress")


def _with_error(data: Json) -> Json:
    return {**data, "result": FAILED, "output": {**data.get("output", {}), "status": "ok"}}
