"""A DJI dock with its aircraft, from the MQTT connection to telemetry."""

import asyncio
import contextlib
import json
import logging
import random
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mqtt_bridge.simulator import checks, onboarding
from mqtt_bridge.simulator.account import Account
from mqtt_bridge.simulator.checks import Json, Question
from mqtt_bridge.simulator.command import BAD_PARAMETER, DOCK_ERROR, UNSUPPORTED, Answer, Command
from mqtt_bridge.simulator.connection import Connection, Incoming
from mqtt_bridge.simulator.faults import Faults, rejection
from mqtt_bridge.simulator.habits import read_habits
from mqtt_bridge.simulator.ledger import Ledger
from mqtt_bridge.simulator.licenses import Licenses
from mqtt_bridge.simulator.misbehaviour import Manners
from mqtt_bridge.simulator.onboarding import NoAnswerError, Outcome
from mqtt_bridge.simulator.telemetry import Telemetry

log = logging.getLogger(__name__)

KEPT_STEPS = 500
# channel of a question -> channel of its answer
REPLIES = {"requests": "requests_reply", "events": "events_reply", "status": "status_reply"}


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
    backoff: tuple[float, float] = (0.5, 30.0)  # first and longest pause between connection attempts
    onboard: bool = True  # False: connect and stay quiet until told (load tests)
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


class Device(NamedTuple):
    """A dock or an aircraft as the bind request names it."""

    sn: str
    model_key: str  # domain-type-sub_type
    callsign: str


# Returns the reply's `data`, that and the events to follow it, or None to stay silent.
Handler = Callable[["Dock", Command], Awaitable[Mapping[str, Any] | Answer | None]]


class Patience(NamedTuple):
    """How often a question is sent (None: until answered) and after how many seconds again (None: never)."""

    attempts: int | None
    repeat_after: float | None


class _Open(NamedTuple):
    question: Question
    channel: str
    answer: "asyncio.Future[Json]"


class Dock:
    """A dock that comes to its organization by itself and then lives there.

    `organization_id` and `binding_code` are what a technician types into Pilot 2; without them the flow waits
    for `enter_code`. A message without answer is repeated with the *same* tid and bid and a new timestamp: a
    repeat is a new publish of the same transaction (the V1.1 pages say so of `status`; for requests it is our
    reading). `update_topo` and events that want a reply are repeated until answered, requests
    `options.attempts` times. All methods belong to the loop the dock runs on; from another thread use
    `loop.call_soon_threadsafe(dock.enter_code, ...)` or `asyncio.run_coroutine_threadsafe(...)`.

    `handlers` says what it does on a command; all others are answered as unsupported. `services` fills in those for
    unlock licenses and the DJI account; left out, a dock that onboards has them. `faults` are names of FAULTS,
    `habits` of HABITS.

    `aircraft_on` None is how docks live: the aircraft is on for the onboarding, then it is switched off, and on again
    for a minute in ten (`Options`), whatever `switch_aircraft` did in between. True and False keep it on or off until
    `switch_aircraft`.
    """

    def __init__(
        self,
        mqtt_url: str,
        sn: str,
        *,
        aircraft_sn: str | None = None,
        model_key: str = "3-2-0",
        aircraft_model_key: str = "0-91-1",
        callsign: str = "",
        aircraft_callsign: str = "",
        organization_id: str = "",
        binding_code: str = "",
        aircraft_on: bool | None = None,
        misbehave: Iterable[str] = (),
        faults: Iterable[str] = (),
        habits: Iterable[str] = (),
        services: bool | None = None,
        options: Options | None = None,
        ledger: Ledger | None = None,
        on_step: Callable[["Dock", Step], None] | None = None,
        number: int = 0,
    ) -> None:
        self.sn = sn
        self.habits = read_habits(habits)
        self.devices = [Device(sn, model_key, callsign or f"Dock {sn}")]
        if aircraft_sn is not None:
            aircraft = Device(aircraft_sn, aircraft_model_key, aircraft_callsign or f"Aircraft {aircraft_sn}")
            self.devices.append(aircraft)
        for device in self.devices:
            _split(device.model_key)
        self._aircraft_model_key = aircraft_model_key
        self._sharers = [self]
        self.organization_id = organization_id
        self.binding_code = binding_code
        self.is_paired = aircraft_sn is not None
        self.aircraft_on = self.is_paired and aircraft_on is not False
        self._is_idle = aircraft_on is None
        self.options = options or Options()
        self.ledger = ledger if ledger is not None else Ledger()
        self.steps: deque[Step] = deque(maxlen=KEPT_STEPS)
        self.properties: Json = {}  # set by the cloud
        self.telemetry = Telemetry(self.options.latitude, self.options.longitude, number)
        self.licenses = Licenses(self)
        self.account = Account()
        self.faults = Faults(faults)
        serves = self.options.onboard if services is None else services
        self.handlers: dict[str, Handler] = dict(SERVICES) if serves else {}
        self.connection = self._build_connection(mqtt_url)
        self._manners = Manners(misbehave)
        self._endless = Patience(None, self.options.reply_timeout)
        self.on_step = on_step
        self._open: dict[str, _Open] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None
        self._beside: list[asyncio.Task[None]] = []  # what it does beside the flow while it is connected
        self._is_known = False  # its topology was answered since it last connected
        self._entered = asyncio.Event()
        self._onboarded = asyncio.Event()
        self._settled = asyncio.Event()

    def _build_connection(self, mqtt_url: str) -> Connection:
        thing = ("requests_reply", "events_reply", "services", "property/set")
        return Connection(
            mqtt_url,
            client_id=self.sn,
            topics=[self.topic(channel) for channel in (*thing, "status_reply")],
            on_message=self._receive,
            mqtt=self.options.mqtt,
            session_expiry=self.options.session_expiry,
            timeout=self.options.connect_timeout,
            backoff=self.options.backoff,
            will=self._last_will() if "last-will" in self.habits else None,
        )

    # --- what others ask and tell it

    @property
    def sns(self) -> list[str]:
        """The dock's serial number, then its aircraft's."""
        return [device.sn for device in self.devices]

    @property
    def aircraft(self) -> Device | None:
        """The aircraft that belongs to this dock, on or off."""
        return self.devices[1] if len(self.devices) > 1 else None

    @property
    def bind_devices(self) -> list[Device]:
        """The devices it asks to bind."""
        return self.devices if self.is_paired and "bound-alone" not in self.habits else self.devices[:1]

    @property
    def best_link_gateway(self) -> str:
        """The dock that its aircraft reports through: of those that share it, the first where it is on."""
        return next((dock.sn for dock in self._sharers if dock.aircraft_on), self.sn)

    @property
    def is_onboarded(self) -> bool:
        """Whether it is bound, its topology was answered and its life began since it last connected."""
        return self._onboarded.is_set()

    async def onboarded(self, seconds: float) -> None:
        """Wait until the onboarding is through; raises TimeoutError saying how far it came."""
        await self._wait(self._onboarded, seconds, "not onboarded")

    async def settled(self, seconds: float) -> bool:
        """Wait until it is onboarded or waits for a person; returns whether it is onboarded."""
        await self._wait(self._settled, seconds, "neither onboarded nor stopped")
        return self.is_onboarded

    async def _wait(self, event: asyncio.Event, seconds: float, what: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            last = self.steps[-1] if self.steps else None
            where = f"{last.name} {last.outcome} {last.detail}".rstrip() if last else "nothing happened"
            raise TimeoutError(f"{self.sn}: {what} within {seconds} s; last: {where}.") from None

    def enter_code(self, organization_id: str, binding_code: str) -> None:
        """Type other values into Pilot 2: a flow that stopped starts over at the bind status."""
        self.organization_id = organization_id
        self.binding_code = binding_code
        self._settled.clear()
        self._entered.set()

    async def switch_aircraft(self, on: bool) -> None:
        """Switch the aircraft on or off and wait until the cloud has answered the new topology.

        Raises ValueError if the dock has none. Before the dock is onboarded this only sets the switch. An aircraft that
        two docks share has a switch in each: off means that this dock lets it go.
        """
        if not self.is_paired:
            raise ValueError(f"{self.sn} has no aircraft.")
        self.aircraft_on = on
        await self._report_aircraft()

    async def replace_aircraft(self, sn: str, model_key: str = "") -> None:
        """Put another aircraft into the dock, on or off as the last one, and wait as `switch_aircraft` does.

        `model_key` "" is that of the last one. A later onboarding asks to bind it. Raises ValueError for a bad key.
        """
        model_key = model_key or self._aircraft_model_key
        _split(model_key)
        self._aircraft_model_key = model_key
        self.devices[1:] = [Device(sn, model_key, f"Aircraft {sn}")]
        self.is_paired = True
        for dock in self._sharers:
            dock._sharers = [dock]
        await self._report_aircraft()

    async def unpair_aircraft(self) -> None:
        """End the pairing and wait as `switch_aircraft` does: the aircraft stays in the dock, off and not paired."""
        self.is_paired = self.aircraft_on = False
        await self._report_aircraft()

    def share_aircraft_of(self, other: "Dock") -> None:
        """Have the aircraft of another dock, too, as for flights from one to the other; before both start."""
        self.devices[1:] = other.devices[1:]
        self.is_paired, self.aircraft_on = other.is_paired, other.aircraft_on
        self._sharers = other._sharers = [other, self]

    async def request(self, method: str, data: Json | None, *, patience: "Patience | None" = None) -> Json:
        """Ask the cloud and return the answer's `data`; raises NoAnswerError.

        Without `patience` the dock's options say how often and when it repeats itself.
        """
        default = Patience(self.options.attempts, self.options.reply_timeout)
        return await self._ask("requests", method, data, patience or default)

    async def send_event(
        self, method: str, data: Any, *, bid: str = "", need_reply: bool = True, copies: int = 1
    ) -> Json | None:
        """Send an event; with `need_reply` repeat it until `events_reply` comes, and return its `data`.

        Progress of a command carries the command's `bid`. Without `need_reply` it goes out `copies` times.
        """
        extra = {"need_reply": int(need_reply)}
        if need_reply:
            return await self._ask("events", method, data, self._endless, bid=bid, extra=extra)
        message = self._envelope(method, data, bid=bid) | extra
        for _ in range(copies):
            await self._say("events", message)
        return None

    async def send_reply(self, command: Command, data: Mapping[str, Any], *, copies: int = 1) -> None:
        """Answer a command, `copies` times."""
        envelope = self._envelope(command.method, dict(data), tid=command.tid, bid=command.bid)
        for _ in range(copies):
            await self._say("services_reply", envelope)

    async def announce(self) -> bool:
        """Tell the topology (`update_topo`) until it is answered; False if the cloud objects.

        A dock with the habit "no-topology" sends none, and the cloud cannot object.
        """
        if "no-topology" in self.habits:
            self.note("update_topo", "skipped", "this dock sends none")
            return True
        data = self._topology()
        reply = await self._ask("status", "update_topo", data, self._endless)
        if reply.get("result") != 0:
            return self.note("update_topo", "refused", f"result {reply.get('result')}")
        return self.note("update_topo", "ok", f"aircraft {'on' if data['sub_devices'] else 'off'}")

    def note(self, name: str, outcome: str, detail: str = "") -> bool:
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

    # --- its life

    def start(self, *, after: float = 0.0) -> None:
        """Start living on the running loop, `after` so many seconds."""
        self._running = asyncio.get_running_loop().create_task(self._live(after), name=f"dock {self.sn}")

    async def stop(self) -> None:
        """Disconnect and end; raises what went wrong inside, if anything did."""
        running, self._running = self._running, None
        if running is None:
            return
        running.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.result()

    async def _live(self, after: float) -> None:
        try:
            await asyncio.sleep(after)
            while True:
                await self.connection.open_patiently(lambda error: self.note("connect", "failed", str(error)))
                self.note("connect", "ok")
                pause = await self._while_connected(self._visit())
                self._is_known = False
                self._onboarded.clear()
                self._settled.clear()
                await asyncio.sleep(pause)
        except Exception:
            log.exception("%s: a fault in the simulator itself", self.sn)
            raise
        finally:
            for task in self._tasks:
                task.cancel()
            await self.connection.close()

    async def _while_connected(self, work: Coroutine[Any, Any, None]) -> float:
        """Do the work until it ends or the connection does; returns the pause until the next visit."""
        visit = asyncio.ensure_future(work)
        lost = asyncio.ensure_future(self.connection.wait_lost())
        try:
            await asyncio.wait([visit, lost], return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                self.note("connect", "lost", lost.result())
                return self.options.backoff[0]
            visit.result()
            await self.connection.close()
            self.note("disconnect", "ok")
            return self.options.retry_delay
        finally:
            for task in (visit, lost, *self._beside):
                task.cancel()
            self._beside.clear()

    async def _visit(self) -> None:
        """From the first message to the end of the connection; returns to make the dock disconnect."""
        if self._manners.silent or not self.options.onboard:
            await asyncio.Event().wait()
        announces_first = "topology-first" in self.habits
        if announces_first:
            await self.announce()
        if not await onboarding.configure(self):
            return
        while True:
            outcome = await onboarding.bind(self)
            if outcome is Outcome.BOUND and not announces_first and not await self.announce():
                outcome = Outcome.UNANSWERED
            if outcome is not Outcome.UNANSWERED:
                self._report()  # bound or waiting for a person: it is there, and says so
            if outcome is Outcome.BOUND and not self.is_onboarded:
                await self._begin_life()
            if outcome is not Outcome.UNANSWERED:
                self._settled.set()
            await self._wait_for_person(self.options.retry_delay if outcome is Outcome.UNANSWERED else None)

    async def _begin_life(self) -> None:
        """Do what the dock does as soon as it is onboarded, and begin what it does from then on."""
        self._is_known = True
        another = f"{self.sn}B"
        if "replaced-aircraft" in self.habits and another not in self.sns:
            await self.replace_aircraft(another)
        if self._is_idle and self.aircraft_on and not self.options.aircraft_stays_on:
            await self.switch_aircraft(False)
        self._onboarded.set()
        if self._is_idle and self.is_paired:
            self._beside.append(asyncio.ensure_future(self._switch_in_turn()))
        if "reconnects" in self.habits:
            self._beside.append(asyncio.ensure_future(self._lose_connection()))

    async def _switch_in_turn(self) -> None:
        options = self.options
        await asyncio.sleep(options.aircraft_stays_on)
        off_for = options.aircraft_off_for * random.random()  # noqa: S311 - keeps a fleet out of step
        while True:
            if self.aircraft_on:
                await self.switch_aircraft(False)
            await asyncio.sleep(off_for)
            off_for = options.aircraft_off_for
            if self.is_paired:
                await self.switch_aircraft(True)
            await asyncio.sleep(options.aircraft_on_for)

    async def _lose_connection(self) -> None:
        await asyncio.sleep(self.options.reconnect_every)
        self.connection.drop()

    async def _wait_for_person(self, at_most: float | None) -> None:
        try:
            async with asyncio.timeout(at_most):
                await self._entered.wait()
        except TimeoutError:
            return
        self._entered.clear()

    # --- telemetry

    def _report(self) -> None:
        """Say that it is there, and go on with it beside the flow."""
        if self._beside:
            return
        with contextlib.suppress(ConnectionError):  # the visit ends with the connection
            self._send_state(self.sn, self.telemetry.dock_state())
            self._send_aircraft_state()
            if self.options.osd_rate > 0:
                self._send_osd()
        self._beside.append(asyncio.ensure_future(self._report_forever()))

    async def _report_forever(self) -> None:
        pause = 1 / self.options.osd_rate if self.options.osd_rate > 0 else None
        share = random.random()  # noqa: S311 - keeps a fleet from beating in step
        with contextlib.suppress(ConnectionError):  # the visit ends with the connection
            while pause is not None:
                await asyncio.sleep(pause * share)
                share = 1.0
                self._send_osd()

    async def _report_aircraft(self) -> None:
        """Tell the cloud what became of the aircraft, if it knows the dock."""
        if self._is_known:
            await self.announce()
            with contextlib.suppress(ConnectionError):  # it starts anew with the next connection
                self._send_aircraft_state()

    def _send_osd(self) -> None:
        for frame in self.telemetry.dock_frames(self._sub_device()):
            self._send_measurement(self.sn, "osd", frame)
        if self._relays_aircraft:
            for frame in self.telemetry.aircraft_frames(self.best_link_gateway):
                self._send_measurement(self.sns[1], "osd", frame)

    def _send_aircraft_state(self) -> None:
        if self._relays_aircraft:
            self._send_state(self.sns[1], self.telemetry.aircraft_state(self.best_link_gateway))

    @property
    def _relays_aircraft(self) -> bool:
        return self.aircraft_on and self.best_link_gateway == self.sn

    def _sub_device(self) -> Json:
        """What its osd says of the aircraft; the texts are "" in a dock that never had one."""
        dock, sn, model_key = self.devices[0], "", ""
        if self.aircraft is not None:
            sn, model_key = self.aircraft.sn, self.aircraft.model_key
        is_old = "product-type" in self.habits or dock.model_key.startswith("3-1-")
        return {
            "device_sn": sn,
            "product_type" if is_old else "device_model_key": model_key,
            "device_online_status": int(self.aircraft_on),
            "device_paired": int(self.is_paired),
        }

    def _send_state(self, sn: str, data: Json) -> None:
        self._send_measurement(sn, "state", data)

    def _send_measurement(self, sn: str, kind: str, data: Json) -> None:
        message = self._manners.change(self._envelope(None, data))
        self.connection.send(f"thing/product/{sn}/{kind}", self._manners.encode(message), qos=0)
        self.ledger.telemetry[kind] += 1

    # --- what it says

    def _envelope(self, method: str | None, data: Any, *, tid: str = "", bid: str = "") -> Json:
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

    def _topology(self) -> Json:
        dock, *others = (_product(device.model_key) for device in self.devices)
        shown = others if self.aircraft_on else []
        if "no-domain" in self.habits:
            for product in (dock, *shown):
                del product["domain"]
        sub_devices = [{"sn": self.devices[1].sn, **aircraft, **_SECRETS, "index": "A"} for aircraft in shown]
        return {**dock, **_SECRETS, "sub_devices": sub_devices}

    def _last_will(self) -> tuple[str, bytes]:
        """Topic and payload of what the broker says when it loses the dock."""
        data = {**_product(self.devices[0].model_key), "sub_devices": [], "online": False}
        return self.topic("status"), json.dumps({"method": "update_topo", "data": data}).encode()

    async def _ask(
        self,
        channel: str,
        method: str,
        data: Any,
        patience: "Patience",
        *,
        bid: str = "",
        extra: Json | None = None,
    ) -> Json:
        message = self._envelope(method, data, bid=bid) | (extra or {})
        if channel == "status":
            del message["gateway"]
        said = self._manners.change(message)
        question = Question(self.sn, method, said["tid"], said.get("bid", ""), said["data"])
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._open[question.tid] = _Open(question, REPLIES[channel], answer)
        try:
            sendings = 0
            while patience.attempts is None or sendings < patience.attempts:
                sendings += 1
                message["timestamp"] = time.time_ns() // 1_000_000
                for _ in range(self._manners.copies):
                    await self._say(channel, message, question)
                await asyncio.wait([answer], timeout=patience.repeat_after)
                if answer.done():
                    return answer.result()
        finally:
            del self._open[question.tid]
        raise NoAnswerError(f"{self.sn}: no answer to {method} after {sendings} sendings.")

    async def _say(self, channel: str, message: Json, question: Question | None = None) -> None:
        """Publish until the broker has acknowledged it, over as many connections as that takes."""
        said = self._manners.change(message)
        payload = self._manners.encode(said)
        topic = self.topic(channel)
        while True:
            await self.connection.wait_open()
            try:
                sent = self.connection.send(topic, payload, self.options.qos)
                if question is not None:
                    self.ledger.asked(self.sn, method=question.method, tid=question.tid, bid=question.bid)
                self._record("sent", topic, said, sent.mid)
                await sent.acknowledged()
            except ConnectionError:
                await asyncio.sleep(0)
            else:
                return

    def _record(self, direction: Any, topic: str, message: Json, mid: int) -> None:
        method, tid, bid = (str(message.get(key, "")) for key in ("method", "tid", "bid"))
        self.ledger.record(direction, self.sn, topic, method=method, tid=tid, bid=bid, mid=mid)

    # --- what it hears

    def _receive(self, incoming: Incoming) -> None:
        message, found = checks.parse(incoming.payload)
        self._record("received", incoming.topic, message or {}, incoming.mid)
        if incoming.retain:
            found.append("The message is retained.")
        if message is not None:
            channel = incoming.topic.split("/", 3)[-1]
            if channel == "services":
                found += self._take_command(message)
            elif channel == "property/set":
                found += self._take_property(message)
            else:
                found += self._take_reply(channel, message)
        self.ledger.complain(self.sn, incoming.topic, str((message or {}).get("tid", "")), found)

    def _take_reply(self, channel: str, reply: Json) -> list[str]:
        tid = reply.get("tid")
        known = self._open.get(tid) if isinstance(tid, str) else None
        if known is None:
            if isinstance(tid, str) and self.ledger.answered(self.sn, tid, _content(reply)):
                return []  # late or repeated: the ledger compares it with the first answer
            return [f"An answer to nothing that this dock asked (tid {tid!r})."]
        if channel != known.channel:
            return [f"The answer came on {channel} instead of {known.channel}."]
        found = checks.reply_complaints(known.question, reply)
        if checks.is_answer(known.question, reply):
            self.ledger.answered(self.sn, known.question.tid, _content(reply))
            if not known.answer.done():
                data = reply.get("data")
                known.answer.set_result(data if isinstance(data, dict) else {})
        return found

    def _take_command(self, message: Json) -> list[str]:
        found = checks.command_complaints(self.sn, message)
        tid, bid, method = (str(message.get(key, "")) for key in ("tid", "bid", "method"))
        self.ledger.commanded(self.sn, tid)
        data = message.get("data")
        self.spawn(self._execute(Command(tid, bid, method, data if isinstance(data, dict) else {})))
        return found

    async def _execute(self, command: Command) -> None:
        faults = self.faults
        answer = rejection(command.method) if faults.refuses() else await self._handle(command)
        command = command._replace(data={})  # a password must not outlive its use
        if answer is not None:
            await faults.deliver(self, command, answer)

    async def _handle(self, command: Command) -> Answer | None:
        handler = self.handlers.get(command.method)
        if handler is None:
            return Answer({"result": UNSUPPORTED})
        try:
            answer = await handler(self, command)
        except Exception:
            log.exception("%s: the handler of %s failed", self.sn, command.method)
            return Answer({"result": DOCK_ERROR})
        return answer if answer is None or isinstance(answer, Answer) else Answer(dict(answer))

    def _take_property(self, message: Json) -> list[str]:
        found = checks.property_complaints(self.sn, message)
        data = message.get("data")
        if isinstance(data, dict) and not found:
            self.properties.update(data)
            tid, bid = message["tid"], message["bid"]
            answer = self._envelope(None, {name: {"result": 0} for name in data}, tid=tid, bid=bid)
            self.spawn(self._say("property/set_reply", answer))
        return found

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let something happen beside the flow; it ends with the dock."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


# Opaque to the cloud: there is no public algorithm.
_SECRETS = {"device_secret": "simulated", "nonce": "simulated", "thing_version": "1.1.2"}


def _strict(handler: Handler) -> Handler:
    """Refuse data that `checks` complains about, so that a handler may rely on it."""

    async def handle(dock: Dock, command: Command) -> Mapping[str, Any] | Answer | None:
        if checks.instruction_complaints(command.method, command.data):
            return {"result": BAD_PARAMETER}
        return await handler(dock, command)

    return handle


# The dock is asked each time, so that its account or licenses may be exchanged.
SERVICES: dict[str, Handler] = {
    "unlock_license_list": _strict(lambda dock, command: dock.licenses.inventory(dock, command)),
    "unlock_license_switch": _strict(lambda dock, command: dock.licenses.switch(dock, command)),
    "unlock_license_update": _strict(lambda dock, command: dock.licenses.update(dock, command)),
    "login_dji_account": _strict(lambda dock, command: dock.account.log_in(dock, command)),
    "logout_dji_account": _strict(lambda dock, command: dock.account.log_out(dock, command)),
}


def _split(model_key: str) -> tuple[str, int, int]:
    try:
        domain, kind, sub_type = (int(part) for part in model_key.split("-"))
    except ValueError:
        raise ValueError(f"Not a model key: {model_key!r} (expected domain-type-sub_type).") from None
    return str(domain), kind, sub_type


def _product(model_key: str) -> Json:
    domain, kind, sub_type = _split(model_key)
    return {"domain": domain, "type": kind, "sub_type": sub_type}


def _content(reply: Json) -> str:
    return json.dumps({key: value for key, value in reply.items() if key != "timestamp"}, sort_keys=True)
