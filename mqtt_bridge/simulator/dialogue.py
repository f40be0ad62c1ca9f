"""What a dock sends and receives: requests, events and their answers, commands and the answers to them."""

import asyncio
import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from mqtt_bridge.line.tls import DEFAULT_CERTIFICATES, Certificates
from mqtt_bridge.simulator import checks
from mqtt_bridge.simulator.checks import Json, Question
from mqtt_bridge.simulator.connection import Connection, Incoming
from mqtt_bridge.simulator.hardware import Device, Hardware
from mqtt_bridge.simulator.ledger import Ledger
from mqtt_bridge.simulator.misbehaviour import Manners
from mqtt_bridge.simulator.osd import Telemetry

KEPT_STEPS = 500
# channel of a question -> channel of its answer
REPLIES = {"requests": "requests_reply", "events": "events_reply", "status": "status_reply"}

# Of a dock's `result` (docs/protocol.md, "Result codes").
UNSUPPORTED = 314000  # not supported in the current state
DOCK_ERROR = 319999
BAD_PARAMETER = 325001
FAILED = 325003
NO_AIRCRAFT = 325012  # not connected


class NoAnswerError(Exception):
    """The server did not answer a request, however often it was repeated."""


@dataclass(frozen=True)
class Options:
    """How a dock behaves in time; all times in seconds."""

    reply_timeout: float = 3.0  # an unanswered message is repeated after this
    attempts: int = 3  # sendings of a request before the dock gives up
    retry_delay: float = 10.0  # until it tries again after giving up or after a refused license
    osd_rate: float = 0.5  # beats per second, each of several frames; 0 for none
    qos: int = 1  # of everything but osd and state, which go out at 0
    mqtt: str = "5"  # or "3.1.1"
    session_expiry: int = 0  # above 0 the broker keeps what it could not deliver
    connect_timeout: float = 10.0
    certificates: Certificates = DEFAULT_CERTIFICATES  # for mqtts://
    backoff: tuple[float, float] = (0.5, 30.0)  # first and longest pause between connection attempts
    onboard: bool = True  # False: connect, then send only what a test asks for
    aircraft_stays_on: float = 0.0  # in an idle dock, from the end of the onboarding until it is switched off
    aircraft_off_for: float = 540.0  # after that, off and on in turn; the first time shorter, by chance
    aircraft_on_for: float = 60.0
    reconnect_every: float = 60.0  # with the habit "reconnects"
    latitude: float = 22.5797  # degrees; where the fleet stands
    longitude: float = 113.9386


class Step(NamedTuple):
    """One step of a dock's history; `at` in seconds since 1970."""

    at: float
    name: str  # "connect", a method, or "disconnect"
    outcome: str  # ok, skipped, waiting, refused, partly refused, unanswered, failed, lost
    detail: str


class Patience(NamedTuple):
    """How often a question is sent (None: until answered) and after how many seconds again (None: never)."""

    attempts: int | None
    repeat_after: float | None


class Command(NamedTuple):
    """A `services` message."""

    tid: str
    bid: str
    method: str
    data: Json


@dataclass(frozen=True)
class Answer:
    """What a dock makes of a command: the `data` of its reply and of the events that follow.

    `pause` is in seconds, before each event.
    """

    data: Json
    events: Sequence[Json] = ()
    pause: float = 0.0


class _Open(NamedTuple):
    question: Question
    channel: str  # of the answer
    answer: "asyncio.Future[Json]"


class Dialogue(Hardware):
    """The part of a dock that talks: it repeats questions, checks what it receives, and enters all in the ledger.

    An unanswered message is repeated with the *same* tid and bid and a new timestamp: a repeat is a new publish of
    the same transaction (the V1.1 pages say so of `status`; for requests it is our reading). `update_topo` and
    events that want a reply are repeated until answered, requests `options.attempts` times.

    `organization_id` and `binding_code` are what a technician types into Pilot 2, `steps` is the dock's history, of
    which each step goes to `on_step`, and `properties` is what the cloud set (`property/set`).
    """

    def __init__(
        self,
        mqtt_url: str,
        devices: Sequence[Device],
        telemetry: Telemetry,
        *,
        habits: Iterable[str],
        aircraft_on: bool,
        misbehave: Iterable[str],
        options: Options,
        ledger: Ledger | None,
    ) -> None:
        super().__init__(devices, telemetry, habits=habits, aircraft_on=aircraft_on)
        self.organization_id = self.binding_code = ""
        self.options = options
        self.ledger = ledger if ledger is not None else Ledger()
        self.steps: deque[Step] = deque(maxlen=KEPT_STEPS)
        self.on_step: Callable[[Self, Step], None] | None = None
        self.properties: Json = {}
        self.manners = Manners(misbehave)
        last_will = {**devices[0].product(), "sub_devices": [], "online": False}
        will = self.topic("status"), json.dumps({"method": "update_topo", "data": last_will}).encode()
        channels = ("requests_reply", "events_reply", "services", "property/set", "status_reply")
        self.own_topics = {self.topic(channel) for channel in channels}
        foreign = [f"thing/product/NOT{self.sn}/services"] if "subscribes-to-more" in self.habits else []
        self.connection = Connection(
            mqtt_url,
            client_id=self.sn,
            topics=[*foreign, *sorted(self.own_topics)],
            on_message=self._receive,
            mqtt=options.mqtt,
            session_expiry=options.session_expiry,
            timeout=options.connect_timeout,
            backoff=options.backoff,
            will=will if "last-will" in self.habits else None,
            certificates=options.certificates,
        )
        self.connection.needed = self.own_topics
        self._endless = Patience(None, options.reply_timeout)
        self._open: dict[str, _Open] = {}  # by tid
        self._tasks: set[asyncio.Task[object]] = set()

    def note(self: Self, name: str, outcome: str, detail: str = "") -> bool:
        """Write a step into the history; returns whether its outcome is "ok"."""
        step = Step(time.time(), name, outcome, detail)
        self.steps.append(step)
        if self.on_step is not None:
            self.on_step(self, step)
        return outcome == "ok"

    def topic(self, channel: str) -> str:
        """The dock's topic for a channel."""
        is_sys = channel.startswith("status") and "thing-status" not in self.habits
        return f"{'sys' if is_sys else 'thing'}/product/{self.sn}/{channel}"

    def spawn(self, work: Coroutine[object, None, object]) -> None:
        """Run something in the background; it ends with the dock."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what it sends

    async def request(self, method: str, data: Json | None, *, patience: Patience | None = None) -> Json:
        """Ask the cloud and return the answer's `data`; raises NoAnswerError.

        Without `patience` the dock's options say how often and when it repeats itself.
        """
        default = Patience(self.options.attempts, self.options.reply_timeout)
        return await self._ask("requests", method, data, patience or default)

    async def announce(self) -> bool:
        """Send the topology (`update_topo`) until it is answered; False if the cloud objects.

        A dock with the habit "no-topology" sends none, and the cloud cannot object.
        """
        if "no-topology" in self.habits:
            self.note("update_topo", "skipped", "this dock sends none")
            return True
        data = self.topology()
        reply = await self._ask("status", "update_topo", data, self._endless)
        if reply.get("result") != 0:
            return self.note("update_topo", "refused", f"result {reply.get('result')}")
        return self.note("update_topo", "ok", f"aircraft {'on' if data['sub_devices'] else 'off'}")

    async def send_event(
        self, method: str, data: object, *, bid: str = "", need_reply: bool = True, copies: int = 1
    ) -> Json | None:
        """Send an event; with `need_reply` repeat it until `events_reply` comes, and return its `data`.

        Progress of a command carries the command's `bid`. Without `need_reply` it goes out `copies` times.
        """
        extra = {"need_reply": int(need_reply)}
        if need_reply:
            return await self._ask("events", method, data, self._endless, bid=bid, extra=extra)
        message = self._envelope(method, data, bid=bid) | extra
        for _ in range(copies):
            await self._publish("events", message)
        return None

    async def send_reply(self, command: Command, data: Mapping[str, object], *, copies: int = 1) -> None:
        """Answer a command, `copies` times."""
        envelope = self._envelope(command.method, dict(data), tid=command.tid, bid=command.bid)
        for _ in range(copies):
            await self._publish("services_reply", envelope)

    def send_measurement(self, sn: str, kind: Literal["osd", "state"], data: Json) -> None:
        """Send telemetry of the dock or its aircraft at QoS 0; raises ConnectionError when not connected."""
        message = self.manners.change(self._envelope(None, data))
        self.connection.send(f"thing/product/{sn}/{kind}", self.manners.encode(message), qos=0)
        self.ledger.telemetry[kind] += 1

    def _envelope(self, method: str | None, data: object, *, tid: str = "", bid: str = "") -> Json:
        message: Json = {
            "tid": tid or str(uuid.uuid4()),
            "bid": bid or str(uuid.uuid4()),
            "timestamp": time.time_ns() // 1_000_000,
            "gateway": self.sn,
        }
        if method is not None:
            message["method"] = method
        message["data"] = data
        return message

    async def _ask(
        self,
        channel: str,
        method: str,
        data: object,
        patience: Patience,
        *,
        bid: str = "",
        extra: Json | None = None,
    ) -> Json:
        message = self._envelope(method, data, bid=bid) | (extra or {})
        if channel == "status":
            del message["gateway"]
        sent = self.manners.change(message)
        question = Question(self.sn, method, sent["tid"], sent.get("bid", ""), sent["data"])
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._open[question.tid] = _Open(question, REPLIES[channel], answer)
        try:
            sendings = 0
            while patience.attempts is None or sendings < patience.attempts:
                sendings += 1
                message["timestamp"] = time.time_ns() // 1_000_000
                for _ in range(self.manners.copies):
                    await self._publish(channel, message, question)
                await asyncio.wait([answer], timeout=patience.repeat_after)
                if answer.done():
                    return answer.result()
        finally:
            del self._open[question.tid]
        raise NoAnswerError(f"{self.sn}: no answer to {method} after {sendings} sendings.")

    async def _publish(self, channel: str, message: Json, question: Question | None = None) -> None:
        """Publish until the broker has acknowledged it, over as many connections as that takes."""
        changed = self.manners.change(message)
        payload = self.manners.encode(changed)
        topic = self.topic(channel)
        while True:
            await self.connection.wait_open()
            try:
                sent = self.connection.send(topic, payload, self.options.qos)
                if question is not None:
                    self.ledger.asked(self.sn, method=question.method, tid=question.tid, bid=question.bid)
                self.ledger.record("sent", self.sn, topic, mid=sent.mid, **_names(changed))
                await sent.acknowledged()
            except ConnectionError:
                await asyncio.sleep(0)
            else:
                return

    # --- what it receives

    def _receive(self, incoming: Incoming) -> None:
        parsed, found = checks.parse(incoming.payload)
        message = parsed or {}
        self.ledger.record("received", self.sn, incoming.topic, mid=incoming.mid, **_names(message))
        if incoming.retain:
            found.append("The message is retained.")
        channel = incoming.topic.split("/", 3)[-1]
        data = message.get("data")
        if parsed is None:
            pass
        elif channel == "services":
            found += checks.command_complaints(self.sn, message)
            command = Command(**_names(message), data=data if isinstance(data, dict) else {})
            self.ledger.commanded(self.sn, command.tid)
            self.spawn(self.carry_out(command))
        elif channel == "property/set":
            wrong = checks.property_complaints(self.sn, message)
            if isinstance(data, dict) and not wrong:
                self.properties.update(data)
                results = {name: {"result": 0} for name in data}
                answer = self._envelope(None, results, tid=message["tid"], bid=message["bid"])
                self.spawn(self._publish("property/set_reply", answer))
            found += wrong
        else:
            found += self._take_reply(channel, message)
        self.ledger.complain(self.sn, incoming.topic, str(message.get("tid", "")), found)

    def _take_reply(self, channel: str, reply: Json) -> list[str]:
        tid = reply.get("tid")
        content = json.dumps({key: value for key, value in reply.items() if key != "timestamp"}, sort_keys=True)
        known = self._open.get(tid) if isinstance(tid, str) else None
        if known is None:
            if isinstance(tid, str) and self.ledger.answered(self.sn, tid, content):
                return []  # late or repeated: the ledger compares it with the first answer
            return [f"An answer to nothing that this dock asked (tid {tid!r})."]
        if channel != known.channel:
            return [f"The answer came on {channel} instead of {known.channel}."]
        found = checks.reply_complaints(known.question, reply)
        if checks.is_answer(known.question, reply):
            self.ledger.answered(self.sn, known.question.tid, content)
            if not known.answer.done():
                data = reply.get("data")
                known.answer.set_result(data if isinstance(data, dict) else {})
        return found

    async def carry_out(self, command: Command) -> None:
        """Carry out a command and answer it; a dock that only talks supports none."""
        await self.send_reply(command, {"result": UNSUPPORTED})


def _names(message: Json) -> dict[str, str]:
    """The names of a message as texts, "" for a missing one."""
    return {key: str(message.get(key, "")) for key in ("tid", "bid", "method")}
