"""The bridge's end of its control connection; `mqtt_bridge/line/pipe.py` says how the ends work together."""

import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from mqtt_bridge.line import session
from mqtt_bridge.line.connection import BrokerUnavailableError, ConnectionClosedError
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.line.pipe import Options, Orders, Pipe, Publish, Report, Take, decode_report, encode
from mqtt_bridge.monitoring.backlog import Backlog

SILENCE = 60.0  # seconds without a report after which the session is given up; connecting may take 30
CLOSE_TIMEOUT = 3.0  # seconds
SESSION = ("-m", session.__name__)  # what a Python interpreter runs


class ControlConnection:
    """The bridge's end. What it orders leaves with the next `flush`, `ask` or `take`."""

    def __init__(self, options: Options, counters: Counter[str], *, in_process: bool) -> None:
        """Start the other end, which connects at once. Its drops are added to `counters`."""
        self._counters = counters
        self._report = Report([], {}, Backlog())
        self._orders = Orders()
        self._is_asked = False
        ours, theirs = socket.socketpair()
        ours.settimeout(SILENCE)
        self._pipe = Pipe(ours)
        self._other: subprocess.Popen[bytes] | threading.Thread
        if in_process:
            self._other = subprocess.Popen(  # noqa: S603 - our own command; not a fork, for the bridge has threads
                [sys.executable, *SESSION, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
            )
            theirs.close()
        else:
            self._other = threading.Thread(target=session.serve, args=[theirs], name="control", daemon=True)
            self._other.start()
        self._send(options)

    def open(self) -> None:
        """Wait until it is connected and subscribed; raises BrokerUnavailableError when that fails."""
        self.flush()
        self._receive()

    def close(self) -> None:
        """Let the other end disconnect; the broker keeps the session and whatever was not acknowledged."""
        with suppress(BrokerUnavailableError):
            self.flush()
        self._pipe.end.close()
        if isinstance(self._other, threading.Thread):
            self._other.join(CLOSE_TIMEOUT)
            return
        try:
            self._other.wait(CLOSE_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._other.kill()
            self._other.wait()

    def ask(self, *, limit: int, timeout: float) -> None:
        """Let the next batch come while this one is finished; `take` returns it."""
        self._orders.take = Take(limit, timeout)
        self._is_asked = True
        self.flush()

    def take(self, *, limit: int, timeout: float) -> list[Delivery]:
        """What has arrived, at most `limit`, a fair share of each gateway; waits up to `timeout` seconds for one.

        Raises BrokerUnavailableError if the connection is gone, ConnectionClosedError if the broker closed it.
        """
        if self._is_asked:
            self.flush()
        else:
            self.ask(limit=limit, timeout=timeout)
        self._is_asked = False
        self._receive()
        return self._report.deliveries

    def put_back(self, deliveries: Iterable[Delivery]) -> None:
        """Hand these out again, in order, after a rest; what their gateways send until then waits behind them."""
        self._orders.held += deliveries

    def prefer(self, gateways: Iterable[str]) -> None:
        """Let `take` hand out what these send before what others do."""
        self._orders.preferred += gateways

    def charge(self, gateway: str, tokens: int) -> None:
        """Take tokens for work that showed only when it was done."""
        self._orders.charges.append((gateway, tokens))

    def ping(self, payload: bytes) -> None:
        """Send ourselves a message, which `take` returns before those of docks that nobody knows."""
        self._orders.ping = payload

    def publish(self, topic: str, payload: bytes, *, answers: Delivery | None = None, qos: int = 1) -> None:
        """Publish; the delivery it answers is not acknowledged before this one is (or, at QoS 0, has been sent)."""
        self._orders.answers.append(Publish(topic, payload, answers.mid if answers is not None else 0, qos))

    def handled(self, deliveries: Iterable[Delivery]) -> None:
        """Let these be acknowledged, as soon as the broker has the answers to them."""
        self._orders.handled += [delivery.mid for delivery in deliveries]

    def flush(self) -> None:
        """Send what was ordered."""
        if self._orders != Orders():
            orders, self._orders = self._orders, Orders()
            self._send(orders)

    def backlog(self) -> Backlog:
        """What waited there at the last report. For any thread."""
        return self._report.backlog

    def _send(self, message: Options | Orders) -> None:
        try:
            self._pipe.send(encode(message))
        except TimeoutError:
            raise BrokerUnavailableError("the process of the control connection takes no orders") from None

    def _receive(self) -> None:
        try:
            self._report = decode_report(self._pipe.wait())
        except EOFError:
            raise BrokerUnavailableError("the process of the control connection ended") from None
        except TimeoutError:
            raise BrokerUnavailableError("the process of the control connection does not answer") from None
        self._counters.update(self._report.drops)
        if self._report.lost:
            error = ConnectionClosedError if self._report.is_closed_by_broker else BrokerUnavailableError
            raise error(self._report.lost)
