"""Many docks in one process, and the load they can make together."""

import asyncio
import csv
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from mqtt_bridge.simulator import joining
from mqtt_bridge.simulator.dock import Dock, Options, Patience, Step
from mqtt_bridge.simulator.ledger import Ledger, percentiles

SN_DIGITS = 5
LOOK_AGAIN = 1.0  # seconds, for new accounts


class LoadReport(NamedTuple):
    """The result of a load; times in seconds."""

    requests: int
    answered: int
    seconds: float
    p50: float
    p95: float
    longest: float


class CredentialsFile:
    """The accounts of docks at the broker: a CSV file with the columns sn, username and password, which may grow."""

    def __init__(self, path: str, mqtt_url: str) -> None:
        self._path = path
        self._parts = urlsplit(mqtt_url)

    def urls(self) -> dict[str, str]:
        """By serial number, the address with which the dock connects; raises OSError and ValueError."""
        found = {}
        with Path(self._path).open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                if None in (sn := row.get("sn"), name := row.get("username"), password := row.get("password")):
                    raise ValueError(f"{self._path}: it needs the columns sn, username and password in every line.")
                login = f"{quote(str(name), safe='')}:{quote(str(password), safe='')}"
                host = self._parts.netloc.rpartition("@")[2]
                found[str(sn)] = self._parts._replace(netloc=f"{login}@{host}").geturl()
        return found


class Fleet:
    """`count` docks, each with its aircraft, sharing one ledger.

    Serial numbers are the prefix and a number of five digits from `first` on (`SIMDOCK00001`); the aircraft's
    has an `A` behind it (`SIMDOCK00001A`). `mqtt_url` may be a function of the dock's serial number, for
    brokers where each dock has its own password. With `enrolment_url` docks go there first, and on to their own
    address as soon as `credentials` have it. Docks start `stagger` seconds apart. With the habit "shared-aircraft"
    the second dock of each pair has the aircraft of the first. The other arguments are those of `Dock`.
    """

    def __init__(
        self,
        *,
        count: int,
        mqtt_url: str | Callable[[str], str],
        enrolment_url: str = "",
        credentials: "CredentialsFile | None" = None,
        organization_id: str = "",
        binding_code: str = "",
        sn_prefix: str = "SIMDOCK",
        first: int = 1,
        aircraft_on: bool | None = None,
        stagger: float = 0.01,
        misbehave: Iterable[str] = (),
        faults: Iterable[str] = (),
        habits: Iterable[str] = (),
        services: bool | None = None,
        options: Options | None = None,
        on_step: Callable[[Dock, Step], None] | None = None,
    ) -> None:
        if count < 1:
            raise ValueError(f"A fleet has at least one dock, not {count}.")
        self.ledger = Ledger()
        self.stagger = stagger
        self._credentials = credentials
        self._handing_out: asyncio.Task[None] | None = None
        url_of = mqtt_url if callable(mqtt_url) else lambda _sn: mqtt_url
        own = credentials.urls() if credentials else {}
        names, fault_names, habit_names = list(misbehave), list(faults), list(habits)
        self.docks = [
            Dock(
                own.get(sn) or url_of(sn),
                sn,
                enrolment_url="" if sn in own else enrolment_url,
                aircraft_sn=f"{sn}A",
                organization_id=organization_id,
                binding_code=binding_code,
                aircraft_on=aircraft_on,
                misbehave=names,
                faults=fault_names,
                habits=habit_names,
                services=services,
                options=options,
                ledger=self.ledger,
                on_step=on_step,
                number=number,
            )
            for number in range(first, first + count)
            for sn in [f"{sn_prefix}{number:0{SN_DIGITS}d}"]
        ]
        if "shared-aircraft" in habit_names:
            for first_dock, second_dock in zip(self.docks[::2], self.docks[1::2], strict=False):
                second_dock.share_aircraft_of(first_dock)

    def dock(self, sn: str) -> Dock:
        """The dock with this serial number; raises KeyError."""
        return {dock.sn: dock for dock in self.docks}[sn]

    def start(self) -> None:
        """Start all docks on the running loop."""
        for place, dock in enumerate(self.docks):
            dock.start(after=place * self.stagger)
        if self._credentials is not None:
            self._handing_out = asyncio.ensure_future(self._hand_out(self._credentials))

    async def stop(self) -> None:
        """Disconnect and end all docks; raises the first thing that went wrong inside one."""
        if self._handing_out is not None:
            self._handing_out.cancel()
        ends = await asyncio.gather(*(dock.stop() for dock in self.docks), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def _hand_out(self, credentials: "CredentialsFile") -> None:
        """Give each dock that is bound its own account, once there is one."""
        while waiting := [dock for dock in self.docks if dock.is_enrolling]:
            with suppress(OSError, ValueError):  # somebody is writing the file
                own = credentials.urls()
                for dock in waiting:
                    if dock.is_enrolled and dock.sn in own:
                        dock.enter_account(own[dock.sn])
            await asyncio.sleep(LOOK_AGAIN)

    async def onboarded(self, seconds: float) -> None:
        """Wait until all docks are onboarded; raises TimeoutError naming the first that is not."""
        deadline = time.monotonic() + seconds
        for dock in self.docks:
            await dock.onboarded(max(0.0, deadline - time.monotonic()))

    async def settled(self, seconds: float) -> bool:
        """Wait until each dock is onboarded or waits for a person; returns whether all are onboarded."""
        deadline = time.monotonic() + seconds
        return all([await dock.settled(max(0.0, deadline - time.monotonic())) for dock in self.docks])

    def summary(self) -> dict[str, Counter[str]]:
        """For each step the number of docks by the step's latest outcome."""
        found: dict[str, Counter[str]] = {}
        for dock in self.docks:
            for name, outcome in {step.name: step.outcome for step in dock.steps}.items():
                found.setdefault(name, Counter())[outcome] += 1
        return found

    def report(self) -> list[str]:
        """The summary and the ledger as readable lines."""
        lines = [
            f"{name}: {', '.join(f'{times} {outcome}' for outcome, times in outcomes.most_common())}"
            for name, outcomes in self.summary().items()
        ]
        onboarded = sum(dock.is_onboarded for dock in self.docks)
        return [*lines, f"{onboarded} of {len(self.docks)} docks onboarded", self.ledger.summary()]

    async def send_load(
        self, *, requests: int, rate: float, repeat_after: float | None = 3.0, seconds: float = 60.0
    ) -> LoadReport:
        """Send bind-status and bind requests in turn, spread over the docks, and wait for the answers.

        `rate` is per second over the whole fleet; `repeat_after` (seconds) repeats what is unanswered, None
        never does. Ends when all are answered, or `seconds` after the start. A request that finds no
        connection waits for one. Docks built with `Options(onboard=False)` send nothing else.
        """
        start = time.monotonic()
        latencies: list[float] = []
        pending: set[asyncio.Task[None]] = set()

        async def ask(place: int) -> None:
            # Each dock takes its turn; in every other round they bind.
            round_number, number = divmod(place, len(self.docks))
            dock = self.docks[number]
            asked = time.monotonic()
            if round_number % 2:
                method, data = "airport_organization_bind", joining.bind_data(dock)
            else:
                method, data = "airport_bind_status", joining.status_data(dock)
            await dock.request(method, data, patience=Patience(None, repeat_after))
            latencies.append(time.monotonic() - asked)

        try:
            async with asyncio.timeout(seconds):
                for place in range(requests):
                    await asyncio.sleep(max(0.0, start + place / rate - time.monotonic()))
                    task = asyncio.ensure_future(ask(place))
                    pending.add(task)
                    task.add_done_callback(pending.discard)
                await asyncio.gather(*pending)
        except TimeoutError:
            for task in list(pending):
                task.cancel()
        taken = time.monotonic() - start
        return LoadReport(requests, len(latencies), taken, *percentiles(latencies or [0.0], 50, 95, 100))


async def run_until_signal(fleet: Fleet, *, onboarded_within: float | None = None) -> bool:
    """Run a fleet until SIGTERM or SIGINT and return whether all docks were onboarded then.

    With `onboarded_within` (seconds) it also ends as soon as each dock is onboarded or waits for a person,
    and when that time is over. Only for the main thread.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ended: asyncio.Future[bool] = asyncio.ensure_future(stop.wait())
    settled = ended
    if onboarded_within is not None:
        settled = asyncio.ensure_future(fleet.settled(onboarded_within))
    fleet.start()
    try:
        await asyncio.wait([ended, settled], return_when=asyncio.FIRST_COMPLETED)
        return all(dock.is_onboarded for dock in fleet.docks)
    finally:
        ended.cancel()
        settled.cancel()
        await asyncio.gather(ended, settled, return_exceptions=True)
        await fleet.stop()


@contextmanager
def run_in_thread(fleet: Fleet) -> Iterator[asyncio.AbstractEventLoop]:
    """Run a fleet beside the calling thread and yield its loop; at the end stop it and raise what failed.

    From outside: `loop.call_soon_threadsafe(dock.enter_code, organization_id, code)` and
    `asyncio.run_coroutine_threadsafe(fleet.onboarded(30), loop).result()`.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop))
        fleet.start()
        try:
            await stop.wait()
        finally:
            await fleet.stop()

    with ThreadPoolExecutor(1, thread_name_prefix="docks") as pool:
        ended = pool.submit(asyncio.run, main())
        loop, stop = started.result()
        try:
            yield loop
        finally:
            if not ended.done():
                loop.call_soon_threadsafe(stop.set)
            ended.result()
