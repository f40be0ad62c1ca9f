"""What has arrived and is not handled yet: a queue for each gateway, served in turn."""

import math
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from time import monotonic

from msgspec import Struct, field
from msgspec.structs import replace

from mqtt_bridge.protocol.topics import ENROLMENT_PREFIX
from mqtt_bridge.rate_limit import cost

# The work of one gateway in a batch, in tokens (`mqtt_bridge/rate_limit.py`), and what a message counts at least: eight
# plain ones, for each may have to be handled apart from the others, or one with a long list.
WORK = 48
LEAST = 6
FOR_STRANGERS = 4  # a fourth of a batch, if there are as many
# How long a batch with strangers may take, in seconds, for preferred gateways wait until it ends. How many strangers
# that allows is measured from batch to batch: their requests may be cheap or dear, and the machine busy.
WITH_STRANGERS = 0.08
LEAST_STRANGERS = 8  # of a batch, or its own cost would be most of the work
FOR_ENROLMENT = 4  # a fourth of the strangers' places, whatever the serial numbers that come through enrolment


class Delivery(Struct, eq=False, kw_only=True, array_like=True, gc=False):  # not frozen: it fills in the last fields
    """One message as the broker delivered it; never changed. `mqtt_bridge/dispatch.py` makes a `Decoded` of it."""

    topic: str
    payload: bytes
    mid: int = 0  # its packet id, by which the connection acknowledges it; 0: sent at QoS 0, nothing to acknowledge
    retained: bool = False
    received_at: datetime = field(default_factory=partial(datetime.now, UTC))
    was_held: bool = False  # it was put back, because a row that it changes was locked
    gateway: str = ""  # whose queue and whose tokens: see `gateway_of`
    by_enrolment: bool = False  # as in `topics.Topic`
    cost: int = 0  # tokens (`mqtt_bridge/rate_limit.py`)

    def __post_init__(self) -> None:
        if not self.cost:  # it did not come through the pipe of `mqtt_bridge/line/control.py`
            self.gateway = gateway_of(self.topic)
            self.by_enrolment = self.topic.startswith(ENROLMENT_PREFIX)
            self.cost = cost(self.topic, self.payload)


Queues = OrderedDict[str, deque[Delivery]]  # by gateway; none is empty, the first is next


def gateway_of(topic: str) -> str:
    """The serial number in a topic, unchecked; "" if there is no place for one.

    What came through enrolment has the prefix before it: it must not use up what belongs to the real dock.
    """
    if topic.startswith(ENROLMENT_PREFIX):
        return ENROLMENT_PREFIX + gateway_of(topic.removeprefix(ENROLMENT_PREFIX))
    parts = topic.split("/", 3)
    return parts[2] if len(parts) > 2 else ""


class Inbox:
    """Deliveries in fair order: one of each gateway, then the next of each; those of one gateway stay in order.

    However much one gateway sends, a message of another waits for one batch, unless more gateways send something at
    once than a batch has places. Preferred gateways come first: nobody can crowd them out by inventing gateways; the
    others are strangers, and a batch with strangers is a short one. What came through enrolment has a small share of
    the strangers' places: anybody may invent gateways there. `put` and `take` need constant time per message.
    """

    def __init__(self) -> None:
        self._preferred: set[str] = set()
        self._first: Queues = OrderedDict()
        self._strangers: Queues = OrderedDict()
        self._enrolling: Queues = OrderedDict()
        # By gateway: until when it rests, on the monotonic clock, and its queue.
        self._resting: dict[str, tuple[float, deque[Delivery]]] = {}
        self._room = math.inf  # for strangers in the next batch
        self._began: float | None = None  # when the last batch was handed out that had some, on the monotonic clock
        self._count = 0
        self.size = 0  # bytes

    def __len__(self) -> int:
        return self._count

    def put(self, delivery: Delivery) -> None:
        """Add a delivery behind the others of its gateway."""
        name = delivery.gateway
        self._count += 1
        self.size += len(delivery.payload)
        if name in self._resting:
            self._resting[name][1].append(delivery)
        else:
            self._queues(name).setdefault(name, deque()).append(delivery)

    def put_back(self, deliveries: Sequence[Delivery], *, rest: float) -> None:
        """Put deliveries back before the others of their gateways, which then rest for so many seconds."""
        until = monotonic() + rest
        for delivery in reversed(deliveries):
            name = delivery.gateway
            if name not in self._resting:
                self._resting[name] = until, self._queues(name).pop(name, deque())
            self._resting[name][1].appendleft(replace(delivery, was_held=True))
            self._count += 1
            self.size += len(delivery.payload)

    def take(self, *, limit: int) -> list[Delivery]:
        """At most `limit` deliveries, a share of each gateway. Call it as soon as the batch before is done."""
        now = monotonic()
        for name in [name for name, (until, _) in self._resting.items() if until <= now]:
            _, self._queues(name)[name] = self._resting.pop(name)
        if self._began is not None:
            pace = WITH_STRANGERS / max(now - self._began, 0.001)
            self._room = max(LEAST_STRANGERS, min(self._room, limit) * min(1.25, max(0.5, pace)))
        room = int(min(self._room, limit))
        waiting = len(self._strangers) + len(self._enrolling)
        batch = _serve(self._first, limit - min(room, limit // FOR_STRANGERS, waiting))
        room = min(room, limit - len(batch))
        strangers = _serve(self._enrolling, max(1, room // FOR_ENROLMENT) if room else 0)
        strangers += _serve(self._strangers, room - len(strangers))
        self._began = now if strangers else None
        batch += strangers
        self._count -= len(batch)
        self.size -= sum(len(delivery.payload) for delivery in batch)
        return batch

    def prefer(self, gateways: Iterable[str]) -> None:
        """Serve these before all others from now on, including what has arrived already; no more than have an owner."""
        for name in gateways:
            self._preferred.add(name)
            if (waiting := self._strangers.pop(name, None)) is not None:
                self._first[name] = waiting

    def _queues(self, name: str) -> Queues:
        if name.startswith(ENROLMENT_PREFIX):
            return self._enrolling
        return self._first if name in self._preferred else self._strangers


def _serve(queues: Queues, room: int) -> list[Delivery]:
    """Take up to `room` deliveries, the first of each queue in turn, of no gateway more than WORK."""
    batch: list[Delivery] = []
    done: defaultdict[str, int] = defaultdict(int)  # work
    served = []
    while queues and len(batch) < room:
        name, waiting = queues.popitem(last=False)
        batch.append(delivery := waiting.popleft())
        done[name] += max(LEAST, delivery.cost)
        if not waiting:
            continue
        if done[name] < WORK:
            queues[name] = waiting
        else:
            served.append((name, waiting))
    queues.update(served)
    return batch
