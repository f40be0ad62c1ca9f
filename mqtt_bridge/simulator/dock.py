"""A simulated DJI dock and its life: power, connection, onboarding, aircraft, telemetry.

Four layers, each of which can be read alone: `hardware.py` is what it consists of, `dialogue.py` how it talks,
`commands.py` how it carries out commands, and this module what it does by itself.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable

from mqtt_bridge.simulator import joining
from mqtt_bridge.simulator.account import Account
from mqtt_bridge.simulator.commands import SERVICES, Services
from mqtt_bridge.simulator.dialogue import Options, Patience, Step
from mqtt_bridge.simulator.faults import Faults
from mqtt_bridge.simulator.hardware import Device
from mqtt_bridge.simulator.joining import Outcome
from mqtt_bridge.simulator.ledger import Ledger
from mqtt_bridge.simulator.licenses import Licenses
from mqtt_bridge.simulator.osd import Telemetry

__all__ = ["Dock", "Options", "Patience", "Step"]

log = logging.getLogger(__name__)


class Dock(Services):
    """A dock that comes to its organization by itself and then lives there.

    Without `organization_id` and `binding_code` the onboarding waits for `enter_code`. All methods belong to the loop
    the dock runs on; from another thread use `loop.call_soon_threadsafe(dock.enter_code, ...)` or
    `asyncio.run_coroutine_threadsafe(...)`.

    With `enrolment_url` it first goes there, with an account that many docks share. It binds, and can do nothing else
    until `enter_account`.

    `services` False leaves out all of SERVICES; left out, a dock that onboards has them. `misbehave`, `faults` and
    `habits` are names of MISBEHAVIOURS, FAULTS and HABITS, `number` is its place in a fleet.

    `aircraft_on` None is how docks live: the aircraft is on for the onboarding, then it is switched off, and on again
    for a minute in ten (`Options`), whatever `switch_aircraft` did in between. True and False keep it on or off until
    `switch_aircraft`.
    """

    def __init__(
        self,
        mqtt_url: str,
        sn: str,
        *,
        enrolment_url: str = "",
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
        options = options or Options()
        devices = [Device(sn, model_key, callsign or f"Dock {sn}")]
        if aircraft_sn is not None:
            devices.append(Device(aircraft_sn, aircraft_model_key, aircraft_callsign or f"Aircraft {aircraft_sn}"))
        super().__init__(
            enrolment_url or mqtt_url,
            devices,
            Telemetry(options.latitude, options.longitude, number),
            habits=habits,
            aircraft_on=aircraft_on is not False,
            misbehave=misbehave,
            options=options,
            ledger=ledger,
        )
        self.is_enrolling = bool(enrolment_url)
        if self.is_enrolling:
            self.connection.needed = {self.topic("requests_reply")}
        self.is_enrolled = False  # bound, and waiting for an account of its own
        self.organization_id = organization_id
        self.binding_code = binding_code
        self.on_step = on_step
        self.licenses = Licenses(self)
        self.account = Account()
        self.faults = Faults(faults)
        serves = options.onboard if services is None else services
        self.handlers = dict(SERVICES) if serves else {}
        self._aircraft_model_key = aircraft_model_key  # of the last aircraft, or of the first to come
        self._is_idle = aircraft_on is None
        self._running: asyncio.Task[None] | None = None
        # Ends with the connection.
        self._background: list[asyncio.Task[None] | asyncio.TimerHandle] = []
        self._is_known = False  # its topology was answered since it last connected
        self._entered = asyncio.Event()
        self._onboarded = asyncio.Event()
        self._settled = asyncio.Event()

    # --- what a person or a test does to it

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

    def enter_code(self, organization_id: str, binding_code: str) -> None:
        """Type other values into Pilot 2: an onboarding that stopped starts over at the bind status."""
        self.organization_id = organization_id
        self.binding_code = binding_code
        self._settled.clear()
        self._entered.set()

    def enter_account(self, mqtt_url: str) -> None:
        """Type the values of its own account into Pilot 2: it connects anew. Raises ValueError for a bad address."""
        self.is_enrolling = self.is_enrolled = False
        self.connection.needed = self.own_topics
        self.connection.move(mqtt_url)

    @property
    def is_onboarded(self) -> bool:
        """Whether it is bound, its topology was answered and its life began since it last connected."""
        return self._onboarded.is_set()

    async def onboarded(self, seconds: float) -> None:
        """Wait until it is onboarded; raises TimeoutError saying how far it came."""
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
        aircraft = Device(sn, model_key or self._aircraft_model_key, f"Aircraft {sn}")
        self.pair(aircraft)
        self._aircraft_model_key = aircraft.model_key
        await self._report_aircraft()

    async def unpair_aircraft(self) -> None:
        """End the pairing and wait as `switch_aircraft` does: the aircraft stays in the dock, off and not paired."""
        self.is_paired = self.aircraft_on = False
        await self._report_aircraft()

    # --- its life

    async def _live(self, after: float) -> None:
        try:
            await asyncio.sleep(after)
            while True:
                await self.connection.open_patiently(lambda error: self.note("connect", "failed", str(error)))
                self.note("connect", "ok")
                if self.connection.denied:
                    self.note("subscribe", "partly refused", ", ".join(self.connection.denied))
                lost = await self.connection.while_open(self._visit())
                if lost is None:
                    await self.connection.close()
                    self.note("disconnect", "ok")
                else:
                    self.note("connect", "lost", lost)
                self._stop_background()
                self._is_known = False
                self._onboarded.clear()
                self._settled.clear()
                await asyncio.sleep(self.options.retry_delay if lost is None else self.options.backoff[0])
        except Exception:
            log.exception("%s: a fault in the simulator itself", self.sn)
            raise
        finally:
            self._stop_background()
            for task in self._tasks:
                task.cancel()
            await self.connection.close()

    def _stop_background(self) -> None:
        for work in self._background:
            work.cancel()
        self._background.clear()

    async def _visit(self) -> None:
        """From the first message to the end of the connection; returns to make the dock disconnect."""
        if self.manners.silent or not self.options.onboard:
            await asyncio.Event().wait()
        announces_first = "topology-first" in self.habits and not self.is_enrolling
        if announces_first:
            await self.announce()
        if not await joining.configure(self):
            return
        while True:
            outcome = await joining.bind(self)
            if outcome is Outcome.BOUND and self.is_enrolling:
                self.is_enrolled = True
                self.note("enrolment", "ok", "bound; it needs an account of its own")
                self._settled.set()
                await asyncio.Event().wait()  # until the connection ends
            if outcome is Outcome.BOUND and not announces_first and not await self.announce():
                outcome = Outcome.UNANSWERED
            if outcome is not Outcome.UNANSWERED:
                self._report()  # bound or waiting for a person: it is there, and reports
                if outcome is Outcome.BOUND and not self.is_onboarded:
                    await self._begin_life()
                self._settled.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.options.retry_delay if outcome is Outcome.UNANSWERED else None):
                    await self._entered.wait()
                    self._entered.clear()

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
            self._background.append(asyncio.ensure_future(self._switch_in_turn()))
        if "reconnects" in self.habits:
            loop = asyncio.get_running_loop()
            self._background.append(loop.call_later(self.options.reconnect_every, self.connection.drop))

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

    # --- telemetry

    def _report(self) -> None:
        """Report for the first time since it connected, and go on with it until the connection ends."""
        if self._background:
            return
        rate = self.options.osd_rate

        async def go_on() -> None:
            share = random.random()  # noqa: S311 - keeps a fleet from beating in step
            with contextlib.suppress(ConnectionError):  # the visit ends with the connection
                while rate > 0:
                    await asyncio.sleep(share / rate)
                    share = 1.0
                    self._send_osd()

        with contextlib.suppress(ConnectionError):
            self.send_measurement(self.sn, "state", self.telemetry.dock_state())
            self._send_aircraft_state()
            if rate > 0:
                self._send_osd()
        self._background.append(asyncio.ensure_future(go_on()))

    async def _report_aircraft(self) -> None:
        """Send topology and state after a change of the aircraft, if the cloud knows the dock."""
        if self._is_known:
            await self.announce()
            with contextlib.suppress(ConnectionError):  # it starts anew with the next connection
                self._send_aircraft_state()

    def _send_osd(self) -> None:
        for frame in self.telemetry.dock_frames(self.sub_device()):
            self.send_measurement(self.sn, "osd", frame)
        if self.relays_aircraft:
            for frame in self.telemetry.aircraft_frames(self.best_link_gateway):
                self.send_measurement(self.sns[1], "osd", frame)

    def _send_aircraft_state(self) -> None:
        if self.relays_aircraft:
            self.send_measurement(self.sns[1], "state", self.telemetry.aircraft_state(self.best_link_gateway))
