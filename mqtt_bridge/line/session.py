"""The broker's end of the control connection: acknowledged by hand, in order. See `mqtt_bridge/line/pipe.py`.

It imports neither Django nor the metrics: as a process of its own it is to start at once.
"""

import signal
import socket
import sys
import traceback
from collections import OrderedDict, deque
from collections.abc import Iterable
from contextlib import closing, suppress
from time import monotonic

from msgspec import msgpack

from mqtt_bridge.line.admission import Admission
from mqtt_bridge.line.client import MQTT_ERR_SUCCESS, MQTTMessage, ReasonCode, publish_properties
from mqtt_bridge.line.connection import TURN, BridgeConnection, BrokerUnavailableError
from mqtt_bridge.line.inbox import Delivery, Inbox, gateway_of
from mqtt_bridge.line.pipe import Options, Orders, Pipe, Publish, Report, Take, decode_orders, encode
from mqtt_bridge.monitoring.backlog import Backlog
from mqtt_bridge.protocol.envelope import MAX_SERVICES_REPLY

SESSION_EXPIRY = 7 * 24 * 3600  # seconds the broker keeps what docks send while no bridge runs
REPLY_EXPIRY = 60  # seconds; an older reply is of no use to a dock
PUBACK_TIMEOUT = 30.0  # seconds
# The receive maximum does not hold for QoS 0: what a flood sends beyond this is dropped, as QoS 0 allows.
INBOX_LIMIT = 10_000
INBOX_BYTES = 2**30  # that wait to be handled; what comes beyond is dropped
REST = 0.5  # seconds until a message that came across a locked row is tried again
LAST_REPORT = 30.0  # seconds for the bridge to take it


class Session(BridgeConnection):
    """The broker's end: a persistent session, whose deliveries are acknowledged by hand, in order.

    MQTT wants acknowledgements in the order of arrival; a `Delivery` also belongs to the connection it came by
    and cannot be acknowledged on another, where its packet id means something else.
    """

    clean_start = False
    session_expiry = SESSION_EXPIRY
    qos = 1
    largest_packet = 2 * MAX_SERVICES_REPLY

    def __init__(self, options: Options, pipe: Pipe) -> None:
        super().__init__(
            options.address, client_id=options.client_id, filters=options.filters, unwanted=options.unwanted
        )
        self._client.max_inflight_messages_set(0)  # at each PUBACK paho would look through all that is under way
        self._pipe = pipe
        self._ping_topic = options.ping_topic
        self._admission = Admission(options.ping_topic)
        self._inbox = Inbox()
        self._inbox.prefer([gateway_of(options.ping_topic)])
        self._asked: Take | None = None
        self._due = 0.0  # when a report is due even if nothing arrives, on the monotonic clock
        # By packet id, in the order of arrival: how much has to happen before a message may be acknowledged. It has to
        # be handled, and each answer to it has to reach the broker.
        self._unacknowledged: OrderedDict[int, int] = OrderedDict()
        # Of what we published, by packet id: since when it is under way, and the packet id of what it answers, or 0.
        self._outstanding: dict[int, tuple[float, int]] = {}
        self._waiting: deque[Publish] = deque()  # until the broker takes more
        self._properties = publish_properties(expiry=REPLY_EXPIRY)

    def run(self) -> None:
        """Carry out orders and hand out what arrives until the connection is lost. Raises EOFError with the pipe."""
        self.report([])
        while not self.lost:
            self.turn()
            self.hand_out()
            oldest = next(iter(self._outstanding.values()), None)
            if oldest is not None and monotonic() - oldest[0] > PUBACK_TIMEOUT:
                self.lost = f"the broker acknowledged nothing for {PUBACK_TIMEOUT:.0f} s"
        self.report([])

    def report(self, deliveries: list[Delivery]) -> None:
        unconfirmed = len(self._outstanding) + len(self._waiting)
        backlog = Backlog(len(self._inbox), self._inbox.size, len(self._unacknowledged), unconfirmed)
        report = Report(deliveries, self._admission.drops, backlog, self.lost, self.is_closed_by_broker)
        self._pipe.send(encode(report))
        self._admission.drops.clear()

    def wait_until_ready(self) -> None:
        deadline = monotonic() + self.timeout
        while not self._ready.is_set() and monotonic() < deadline:
            self.turn()

    def turn(self) -> None:
        """Wait until something happens, let it pass, and publish what waits."""
        patience = max(0.0, min(TURN, self._due - monotonic())) if self._asked else TURN
        if self._pipe.unsent:  # a large batch, which the bridge takes piece by piece
            patience = min(patience, 0.001)
        if self._client.turn(self._pipe.end, timeout=patience):
            self._pipe.fill()
            while (message := self._pipe.pop()) is not None:
                self.carry_out(decode_orders(message))
        self._pipe.flush()
        while self._waiting and len(self._outstanding) < self.window:  # a broker that gets more hangs up
            answer = self._waiting.popleft()
            info = self._client.publish(answer.topic, answer.payload, qos=answer.qos, properties=self._properties)
            if info.rc != MQTT_ERR_SUCCESS:
                self.lost = self.lost or f"publish failed: {info.rc}"
                return
            self._outstanding[info.mid] = monotonic(), answer.answers

    def carry_out(self, orders: Orders) -> None:
        for answer in orders.answers:
            if answer.answers:
                self._unacknowledged[answer.answers] += 1
            self._waiting.append(answer)
        self._acknowledge(orders.handled)
        self._inbox.put_back(orders.held, rest=REST)
        self._inbox.prefer(orders.preferred)
        for gateway, tokens in orders.charges:
            self._admission.limiter.charge(gateway, tokens)
        if orders.ping:
            self._admission.ping = orders.ping
            self._waiting.append(Publish(self._ping_topic, orders.ping))
        if orders.take:
            self._asked, self._due = orders.take, monotonic() + orders.take.timeout

    def hand_out(self) -> None:
        """Report what is asked for, if it is there or its time is up."""
        if self._asked is None:
            return
        taken = self._inbox.take(limit=self._asked.limit)
        overdrawn = [delivery for delivery in taken if self._admission.is_overdrawn(delivery)]
        if overdrawn:
            taken = [delivery for delivery in taken if delivery not in overdrawn]
            self._acknowledge(delivery.mid for delivery in overdrawn)
        if taken or monotonic() >= self._due:
            self._asked = None
            self.report(taken)

    def on_message(self, message: MQTTMessage) -> None:
        mid = message.mid if message.qos else 0
        if mid in self._unacknowledged:
            return  # MQTT 5 forbids sending it again on the same connection, but some brokers do
        delivery = Delivery(topic=message.topic, payload=bytes(message.payload), mid=mid, retained=message.retain)
        has_room = self._inbox.size < INBOX_BYTES and (mid or len(self._inbox) <= INBOX_LIMIT)
        if not has_room:
            self._admission.drops["inbox_full"] += 1
        is_wanted = has_room and self._admission.admit(delivery)
        if mid:
            # What is refused changes nothing, so there is nothing to commit; it still waits for its turn.
            self._unacknowledged[mid] = int(is_wanted)
            self._acknowledge()
        if is_wanted:
            self._inbox.put(delivery)

    def on_publish(self, mid: int, reason: ReasonCode) -> None:
        # Whatever the reason code: the broker has had it, and will not want it again.
        if reason.is_failure:
            self._admission.drops["replies_refused"] += 1
        _, answered = self._outstanding.pop(mid)
        self._acknowledge([answered])

    def _acknowledge(self, mids: Iterable[int] = ()) -> None:
        """Count down what these wait for (0 is no message), and acknowledge those whose turn it is."""
        for mid in mids:
            if mid:
                self._unacknowledged[mid] -= 1
        while self._unacknowledged:
            mid, awaited = next(iter(self._unacknowledged.items()))
            if awaited:
                return
            del self._unacknowledged[mid]
            self._client.ack(mid, 1)


def serve(end: socket.socket) -> None:
    """Be the broker's end until the connection or the pipe ends."""
    pipe = Pipe(end)
    failure = ""
    with end, suppress(EOFError, OSError):
        options = msgpack.decode(pipe.wait(), type=Options)
        end.setblocking(False)
        try:
            with closing(Session(options, pipe)) as session:
                session.open()
                session.run()
        except BrokerUnavailableError as error:
            failure = str(error)
        except EOFError:
            raise
        except Exception:
            failure = f"our own fault: {traceback.format_exc()}"
        end.settimeout(LAST_REPORT)
        if failure:
            pipe.send(encode(Report([], {}, Backlog(), failure)))
        pipe.flush()


def main() -> None:
    """Be a process of its own, which ends after the bridge and not before; the last argument names the pipe."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    serve(socket.socket(fileno=int(sys.argv[-1])))


if __name__ == "__main__":
    main()
