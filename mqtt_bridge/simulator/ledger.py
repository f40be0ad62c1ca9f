"""What the docks sent and received, and the questions a checker asks about it."""

import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from sys import intern
from typing import Literal, NamedTuple

KEPT_MESSAGES = 500_000  # about 150 MB; older ones are forgotten, transactions never


class Message(NamedTuple):
    """One control message; `at` in seconds since 1970, `mid` the MQTT packet id (0 at QoS 0)."""

    at: float
    direction: Literal["sent", "received"]
    sn: str
    topic: str
    method: str
    tid: str
    bid: str
    mid: int


class Complaint(NamedTuple):
    """What a strict dock objects to in a message of the server."""

    at: float
    sn: str
    topic: str
    tid: str
    text: str


@dataclass(slots=True)
class Transaction:
    """A question of one dock and what came back; clock times are monotonic seconds."""

    sn: str
    method: str
    tid: str
    bid: str
    asked: float
    sends: int = 0
    answers: int = 0
    first_answer: float = 0.0
    content: int = 0  # hash of the first answer, without its timestamp
    differs: bool = False

    @property
    def latency(self) -> float:
        """Seconds from the first sending to the first answer."""
        return self.first_answer - self.asked


class Ledger:
    """The book of one dock or of a whole fleet. Not thread-safe: written on the docks' loop.

    Telemetry (`osd`, `state`) is counted per topic kind in `telemetry`, not kept. A transaction is known
    by (dock, tid), so an answer that reaches the wrong dock does not count.
    """

    def __init__(self, *, kept_messages: int = KEPT_MESSAGES) -> None:
        self.messages: deque[Message] = deque(maxlen=kept_messages)
        self.complaints: list[Complaint] = []
        self.telemetry: Counter[str] = Counter()
        self._transactions: dict[tuple[str, str], Transaction] = {}
        self._commands: Counter[tuple[str, str]] = Counter()

    # --- written by the docks

    def record(
        self,
        direction: Literal["sent", "received"],
        sn: str,
        topic: str,
        *,
        method: str,
        tid: str,
        bid: str,
        mid: int,
    ) -> None:
        """Note one control message."""
        self.messages.append(Message(time.time(), direction, sn, intern(topic), intern(method), tid, bid, mid))

    def asked(self, sn: str, *, method: str, tid: str, bid: str) -> None:
        """Note that a question went out; a repeat with the same tid adds to the same transaction."""
        new = Transaction(sn, intern(method), tid, bid, time.monotonic())
        self._transactions.setdefault((sn, tid), new).sends += 1

    def answered(self, sn: str, tid: str, content: str) -> bool:
        """Note an answer (`content` without its timestamp); False if this dock never asked with that tid."""
        known = self._transactions.get((sn, tid))
        if known is None:
            return False
        known.answers += 1
        if known.answers == 1:
            known.first_answer, known.content = time.monotonic(), hash(content)
        elif known.content != hash(content):
            known.differs = True
        return True

    def commanded(self, sn: str, tid: str) -> None:
        """Note a command that reached a dock."""
        self._commands[sn, tid] += 1

    def complain(self, sn: str, topic: str, tid: str, texts: Iterable[str]) -> None:
        """Note what is wrong with a message of the server."""
        self.complaints.extend(Complaint(time.time(), sn, topic, tid, text) for text in texts)

    # --- asked by checkers

    def transactions(self, method: str = "") -> list[Transaction]:
        """All transactions, or those of one method, in the order of asking."""
        return [one for one in self._transactions.values() if method in ("", one.method)]

    def unanswered(self, method: str = "") -> list[Transaction]:
        """Questions without any answer."""
        return [one for one in self.transactions(method) if not one.answers]

    def answered_more_than_once(self) -> list[Transaction]:
        """Questions with several answers: normal where the dock repeated itself or delivery was repeated."""
        return [one for one in self._transactions.values() if one.answers > 1]

    def answered_more_often_than_asked(self) -> list[Transaction]:
        """Questions with more answers than sendings: the server handled one message twice."""
        return [one for one in self._transactions.values() if one.answers > one.sends]

    def answered_differently(self) -> list[Transaction]:
        """Questions whose answers contradict each other."""
        return [one for one in self._transactions.values() if one.differs]

    def commands(self) -> dict[tuple[str, str], int]:
        """(dock, tid) of each command received, and how often."""
        return dict(self._commands)

    def commands_received_twice(self) -> list[tuple[str, str]]:
        """(dock, tid) of the commands that came more than once."""
        return [key for key, times in self._commands.items() if times > 1]

    def latency(self, *percents: float, method: str = "") -> list[float]:
        """The given percentiles (0 to 100) of the reply latency in seconds, nearest rank; [] without answers.

        Raises ValueError for a percentile out of range.
        """
        if not all(0 <= percent <= 100 for percent in percents):
            raise ValueError(f"Percentiles go from 0 to 100, not {percents}.")
        latencies = [one.latency for one in self.transactions(method) if one.answers]
        return percentiles(latencies, *percents) if latencies else []

    def summary(self) -> str:
        """All of it in one readable line."""
        times = self.latency(50, 95, 100)
        asked = len(self._transactions)
        line = (
            f"{asked} requests, {len(self.unanswered())} unanswered, "
            f"{len(self.answered_differently())} answered differently, {len(self.complaints)} complaints"
        )
        if times:
            line += ", latency p50 {:.0f} ms, p95 {:.0f} ms, max {:.0f} ms".format(*(t * 1000 for t in times))
        return line


def percentiles(values: Iterable[float], *percents: float) -> list[float]:
    """The given percentiles (0 to 100) of at least one value, nearest rank."""
    ordered = sorted(values)
    return [ordered[round((len(ordered) - 1) * percent / 100)] for percent in percents]
