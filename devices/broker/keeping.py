"""Keeps a broker in step with our rows: pushes each change at once, and compares everything now and then."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from time import monotonic

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Q
from django.utils import timezone

from devices.broker import comparison
from devices.broker.accounts import note_connections
from devices.broker.wanted import Broker, snapshot, wanted
from devices.models import BrokerAccount
from mqtt_bridge.line.connection import BrokerUnavailableError
from mqtt_bridge.line.dynamic_security import Contents, ControlTopic

logger = logging.getLogger(__name__)

INTERVAL = 0.5  # seconds between two looks at our rows
FULL_INTERVAL = 60.0  # seconds between two looks at the whole broker, which others may have changed
AFTER_FAILURE = 5.0  # the same when the broker refused something
RETRY = 1.0  # seconds until a broker or database that is away is tried again
WRITE_INTERVAL = 1.0  # seconds between two writes of who connected


class ConnectionLog:
    """Who connected to the broker of this kind of accounts since the last write; `note` runs in the network thread."""

    def __init__(self, kind: BrokerAccount.Kind) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[datetime, str]] = {}
        self._written = 0.0

    def note(self, username: str, address: str) -> None:
        with self._lock:
            self._seen[username] = timezone.now(), address

    def write(self) -> None:
        """Write what came, at most once a second."""
        if monotonic() - self._written < WRITE_INTERVAL:
            return
        self._written = monotonic()
        with self._lock:
            seen, self._seen = self._seen, {}
        if seen:
            note_connections([(username, at, address) for username, (at, address) in seen.items()], self._kind)


class Keeper:
    """One broker, over one connection to it."""

    def __init__(self, broker: Broker, control: ControlTopic) -> None:
        self._broker = broker
        self._control = control
        self._has: Contents | None = None
        self._snapshot: object = None
        self._compared = float("-inf")
        self._known: set[str] = set()  # differences that are in the log already

    def look(self) -> None:
        """End what differs, if our rows changed or it is time to look at the whole broker again."""
        self._control.check()
        now = timezone.now()
        rows = snapshot(self._broker, now)
        is_time = monotonic() - self._compared > (FULL_INTERVAL if self._has else AFTER_FAILURE)
        if is_time or rows != self._snapshot:
            self.synchronize(now, afresh=is_time)
            self._snapshot = rows

    def synchronize(self, now: datetime, *, afresh: bool = True) -> list[str]:
        """End all differences, and tell the rows; returns those that are left. `afresh` asks the broker what it has."""
        if afresh or self._has is None:
            self._has, self._compared = self._control.read(), monotonic()
        found = wanted(self._broker, now)
        differences = comparison.compare(found, self._has, admin=self._broker.admin)
        failed = comparison.apply(differences, self._control, self._has)
        left = {difference.text: "" for difference in differences if not difference.commands} | failed
        for text in [one.text for one in differences if one.commands and one.text not in failed]:
            logger.info("%s broker: %s: done", self._broker.name, text)
        for text in left.keys() - self._known:
            logger.error("%s broker: %s %s", self._broker.name, text, left[text])
        self._known = set(left)
        if failed:
            self._has = None  # somebody else changed it: read it again
        stuck = {one.name for one in differences if one.section == "users" and one.text in left}
        done = [one.key for name, one in found.items() if one.key and name not in stuck]
        rows = BrokerAccount.objects.filter(kind=self._broker.kind)
        rows.filter(~Q(pending="") | Q(applied_at=None), pk__in=done).update(pending="", applied_at=now)
        if stuck:
            rows.filter(username__in=stuck).exclude(applied_at=None).update(applied_at=None)
        if not failed:  # the broker has thrown these out
            rows.filter(applied_at=None).exclude(pk__in=rows.alive(now).values("pk")).update(applied_at=now)
        return list(left)


def keep(broker: Broker, stop: threading.Event, ready: Callable[[], None] = lambda: None) -> None:
    """Keep one broker until `stop` is set, through its and the database's absences."""
    log = ConnectionLog(broker.kind)
    complaint = ""
    while not stop.is_set():
        try:
            with broker.control(log.note) as control:
                keeper = Keeper(broker, control)
                keeper.look()
                logger.info("%s broker: in step", broker.name)
                complaint = ""
                ready()
                while not stop.wait(INTERVAL):
                    keeper.look()
                    log.write()
        except (BrokerUnavailableError, DatabaseError, InterfaceError) as error:
            if str(error) != complaint:
                logger.warning("%s broker: %s", broker.name, error)
            complaint = str(error)
            connection.close()
            stop.wait(RETRY)
        except Exception:
            logger.exception("%s broker: it is not kept in step", broker.name)
            stop.wait(RETRY)
