"""The bridge process: one active bridge between the broker and the database.

It fails by stopping to serve: whatever breaks (broker, database, lock), both connections are closed, nothing
unfinished is acknowledged, and `run` begins anew. The broker's session is the inbox, the rows are the dedupe.

Who does what, and how work passes from one to the next:

* The *session* (`mqtt_bridge/line/session.py`), a process of its own or, with SQLite, a thread, receives requests,
  events, replies and topologies. It judges who is let in, keeps what waits in the `Inbox`, hands out batches, publishes
  the answers, and acknowledges in the order of arrival. `mqtt_bridge/line/pipe.py` says how it works with us.
* The *main thread* (`Bridge.run`) takes a batch, handles it wave by wave, publishes the replies, asks for the next
  batch, writes the journal, and only then reports the batch as handled, which lets it be acknowledged. It alone uses
  the database connection, the lock of the active bridge, the timer and the journal.
* The *telemetry network thread* (`TelemetryConnection`) hands osd and state messages, unparsed, to
  `TelemetryBuffer.add`.
* The *telemetry thread* (`TelemetryBuffer`) parses and merges them once a second and writes them to the database, on
  its own connection. `note_seen` is how the main thread reports to it which gateways sent something.

What threads share is safe by itself: `TelemetryBuffer` has deques; `Delivery`, `Decoded` and `Result` never change.
`counters` have no lock: a lost increment harms nobody. What browsers are sent leaves after the commit, through a thread
of `devices/live/frame_sender.py`.
"""

import gc
import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from time import monotonic

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.utils import timezone
from django.utils.module_loading import import_string

from mqtt_bridge import dispatch, journal
from mqtt_bridge.database.lock import AdvisoryLock, FileLock, active_lock
from mqtt_bridge.database.timeouts import DatabaseUnavailableError, is_locked
from mqtt_bridge.dispatch import Result
from mqtt_bridge.line.client import parse_url, redact_url
from mqtt_bridge.line.connection import BrokerUnavailableError, ConnectionClosedError, TelemetryConnection
from mqtt_bridge.line.control import ControlConnection
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.line.pipe import Options
from mqtt_bridge.models import Exchange, Heartbeat
from mqtt_bridge.monitoring import metrics
from mqtt_bridge.protocol import topics
from mqtt_bridge.router import label
from mqtt_bridge.telemetry import TelemetryBuffer

logger = logging.getLogger(__name__)

BATCH = 256  # messages handled together at most; a batch never waits to fill
IDLE = 0.2  # seconds without a message until the timer is looked at
STANDBY_INTERVAL = 1.0  # seconds between two tries to become the active bridge
PING_INTERVAL = 10.0  # seconds
MAX_BACKOFF = 5.0  # seconds
MAX_TRUCE = 60.0  # seconds, when another client takes our client id again and again
LASTING = 120.0  # seconds after which a connection that was closed counts as one that lasted


class Bridge:
    """Everything one bridge process needs; `run` returns after `stop`."""

    def __init__(self, *, url: str, client_id: str) -> None:
        self.counters: Counter[str] = Counter()
        self._address = parse_url(url, settings.MQTT_CERTIFICATES)
        metrics.live_figures.counters = self.counters
        self._shown_url = redact_url(url)
        self._client_id = client_id
        self._ping_topic = f"bridge/{client_id}/ping"
        self._serving_since = timezone.now()
        self._stop = threading.Event()
        self._lock = active_lock()

    def stop(self) -> None:
        """Ask `run` to end; may be called from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Be the active bridge or stand by for it, until stopped."""
        backoff = STANDBY_INTERVAL / 10
        closed = 0  # times in a row that a working connection was closed soon
        standing_by = False
        while not self._stop.is_set():
            began = monotonic()
            try:
                if self._lock.acquire():
                    standing_by = False
                    self._serve()
                    continue
                if not standing_by:
                    logger.info("Standing by until the lock of the active bridge is free")
                    standing_by = True
                backoff = STANDBY_INTERVAL
            except (BrokerUnavailableError, DatabaseUnavailableError, DatabaseError, InterfaceError) as error:
                standing_by = False  # the lock is released, for its connection may be the one that broke
                lasted = monotonic() - began
                if isinstance(error, ConnectionClosedError):
                    # Two clients with one id throw each other out: each waits longer every time.
                    closed = 1 if lasted > LASTING else min(closed + 1, 10)
                    backoff = min(0.1 * 2**closed, MAX_TRUCE)
                else:
                    backoff = 0.2 if lasted > MAX_BACKOFF else min(backoff * 2, MAX_BACKOFF)
                kind = DatabaseUnavailableError if isinstance(error, DatabaseError | InterfaceError) else type(error)
                name = kind.__name__.removesuffix("Error")
                logger.warning("Not serving: %s: %s. Next try in %.1f s", name, error, backoff)
                connection.close()  # a database that restarted leaves it broken, and Django would keep it
            finally:
                if not standing_by:
                    self._lock.release()
                    gc.collect()  # a client of paho's and its four sockets are in circles of references
            self._stop.wait(backoff)

    def _serve(self) -> None:
        """Serve until stopped; raises when the broker, the database or the lock is gone."""
        answers = topics.ANSWER_FILTERS if settings.MQTT_LEAVE_METHODS else ()
        options = Options(
            self._address,
            client_id=self._client_id,
            filters=[*topics.CONTROL_FILTERS, self._ping_topic, *answers],
            ping_topic=self._ping_topic,
            unwanted=() if answers else topics.ANSWER_FILTERS,
        )
        with ExitStack() as stack:
            control = ControlConnection(options, self.counters, in_process=settings.CONTROL_PROCESS)
            stack.callback(control.close)
            known: Callable[[], Iterable[str]] = import_string(settings.KNOWN_GATEWAYS)
            control.prefer(known())  # before strangers, from the first moment on
            control.open()
            buffer = TelemetryBuffer(self.counters)
            buffer.start()
            stack.callback(buffer.stop)
            telemetry = TelemetryConnection(self._address, client_id=f"{self._client_id}-telemetry", sink=buffer.add)
            stack.callback(telemetry.close)
            telemetry.open()
            metrics.live_figures.connect(control.backlog)
            stack.callback(metrics.live_figures.connect, None)
            self._serving_since = timezone.now()
            logger.info("Serving docks at %s as %s", self._shown_url, self._client_id)
            timer = Timer(self._lock, control)
            while not self._stop.is_set():
                if deliveries := control.take(limit=BATCH, timeout=IDLE):
                    self._handle(control, buffer, deliveries)
                telemetry.check()
                timer.run()

    def _handle(self, control: ControlConnection, buffer: TelemetryBuffer, deliveries: Sequence[Delivery]) -> None:
        """Handle, commit, publish, ask for more, journal; only then may the batch be acknowledged.

        What came across a locked row goes back to the inbox.
        """
        results: list[Result] = []
        held: list[Delivery] = []
        began = monotonic()
        for wave in dispatch.handle(self._take_out_ping(deliveries)):
            results += wave.results
            held += wave.held
            for result in wave.results:
                delivery = result.decoded.delivery
                if result.cost:
                    control.charge(delivery.gateway, result.cost)
                if result.reply:
                    control.publish(result.reply_topic, result.reply, answers=delivery, qos=result.qos)
            control.flush()
            _time_answers(wave.results)
        if held:
            if gateways := {delivery.gateway for delivery in held if not delivery.was_held}:
                logger.warning("These wait for a locked database row: %s", ", ".join(sorted(gateways)))
            self.counters["held"] += len(held)
            control.put_back(held)
            deliveries = [delivery for delivery in deliveries if delivery not in held]
        control.ask(limit=BATCH, timeout=IDLE)
        owners = self._write_journal(results, deliveries)
        control.handled(deliveries)
        control.prefer(sn for sn, owner in owners.items() if owner is not None)
        alive = [(result.decoded.sn, result.refused_why) for result in results if result.decoded.is_sign_of_life]
        if alive:
            buffer.note_seen(alive, max(result.decoded.delivery.received_at for result in results))
        self.counters["received"] += len(deliveries)
        self.counters.update(result.outcome for result in results)
        _count_outcomes(results)
        metrics.batch_messages.observe(len(deliveries))
        metrics.batch_seconds.observe(monotonic() - began)

    def _write_journal(self, results: Sequence[Result], deliveries: Sequence[Delivery]) -> dict[str, int | None]:
        """Returns the owners of the gateways, as far as the journal had to know them."""
        owners: dict[str, int | None] = {}
        try:
            owners = journal.write(results)
            journal.note_answers(deliveries)
        except Exception as error:
            if isinstance(error, DatabaseError | InterfaceError) and not is_locked(error):
                raise
            # The broker would send the batch again and again if a locked row, or our own fault, stopped the bridge.
            logger.error("%d journal rows are lost: %s", len(results), error, exc_info=not is_locked(error))
        return owners

    def _take_out_ping(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """What is for handlers; our own ping updates the heartbeat."""
        others = []
        for delivery in deliveries:
            if delivery.topic != self._ping_topic:
                others.append(delivery)
                continue
            _, sent = delivery.payload.split()
            values = {
                "started_at": self._serving_since,
                "beat_at": timezone.now(),
                "round_trip_ms": (monotonic() - float(sent)) * 1000,
                "counters": dict(self.counters),
            }
            try:
                Heartbeat.objects.update_or_create(instance=self._client_id, defaults=values)
            except OperationalError as error:
                if not is_locked(error):
                    raise
        return others


def _time_answers(results: Iterable[Result]) -> None:
    """Note how long those took that were answered just now."""
    now = timezone.now()
    answered = [result.decoded for result in results if result.reply]
    kinds = {(item.channel, item.envelope.method) for item in answered}
    timers = {kind: metrics.answer_seconds.labels(label(*kind)) for kind in kinds}
    for item in answered:
        seconds = (now - item.delivery.received_at).total_seconds()
        timers[item.channel, item.envelope.method].observe(seconds)


def _count_outcomes(results: Iterable[Result]) -> None:
    """Count what became of these, by kinds of messages."""
    kinds = Counter((item.decoded.channel, item.decoded.envelope.method, item.outcome) for item in results)
    for (channel, method, outcome), count in kinds.items():
        metrics.handled.labels(channel, label(channel, method), outcome).inc(count)
    for result in results:
        if result.outcome == Exchange.Outcome.QUARANTINED:
            metrics.quarantined.labels(result.reason.partition(":")[0]).inc()


class Timer:
    """What the active bridge does from time to time, between two batches."""

    def __init__(self, lock: AdvisoryLock | FileLock, control: ControlConnection) -> None:
        self._lock, self._control = lock, control
        self._began = monotonic()  # not by the clock, which may be set back
        self._due: dict[str, float] = {}

    def run(self) -> None:
        """Do what is due; raises DatabaseUnavailableError if another bridge may have become the active one."""
        if self._is_due("lock", STANDBY_INTERVAL) and not self._lock.is_held():
            raise DatabaseUnavailableError("the lock of the active bridge is gone with its connection")
        if self._is_due("ping", PING_INTERVAL):  # that it comes back is the only proof that the bridge works
            self._control.ping(f"{secrets.token_hex(16)} {monotonic()}".encode())
        for path, interval in settings.BRIDGE_TICKS.items():
            if self._is_due(path, interval):
                try:
                    import_string(path)(listening_since=timezone.now() - timedelta(seconds=monotonic() - self._began))
                except Exception as error:
                    if not dispatch.is_transient(error):  # raises if the database is gone
                        logger.exception("%s failed; docks are still answered", path)

    def _is_due(self, name: str, interval: float) -> bool:
        now = monotonic()
        if now < self._due.get(name, 0.0):
            return False
        self._due[name] = now + interval
        return True
