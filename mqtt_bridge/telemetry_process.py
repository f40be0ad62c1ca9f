"""A process that takes a share of the telemetry, beside the bridge, which always takes one too.

Nobody has to know of the others. The broker hands each message to one of those that subscribe to the same share: it is
the broker that notices when one joins or is gone, at once if its connection ends and within 15 seconds if it hangs. So
nothing is handed over and nothing taken over, and the last one that is left gets all. What a process had in memory when
it was killed is lost, as QoS 0 allows: the next osd comes within two seconds, and is as likely to come to another one.
"""

import logging
import secrets
import threading
from collections import Counter
from contextlib import closing

from mqtt_bridge.line.client import Address
from mqtt_bridge.line.connection import BrokerUnavailableError, TelemetryConnection
from mqtt_bridge.monitoring import metrics
from mqtt_bridge.telemetry import TelemetryBuffer

logger = logging.getLogger(__name__)

PAUSE = 1.0  # seconds until the next try to reach the broker
CHECK_INTERVAL = 0.2  # seconds between two looks at the connection


def run(address: Address, *, client_id: str, stop: threading.Event) -> None:
    """Take telemetry until `stop` is set; what has arrived then is written."""
    client_id = f"{client_id}-telemetry-{secrets.token_hex(4)}"  # another one for each process
    counters: Counter[str] = Counter()
    metrics.live_figures.counters = counters
    buffer = TelemetryBuffer(counters)
    buffer.start()
    while not stop.is_set():
        try:
            with closing(TelemetryConnection(address, client_id=client_id, sink=buffer.add)) as connection:
                connection.open()
                logger.info("Taking telemetry as %s", client_id)
                while not stop.wait(CHECK_INTERVAL):
                    connection.check()
        except BrokerUnavailableError as error:
            logger.warning("Taking no telemetry: %s. Next try in %.1f s", error, PAUSE)
            stop.wait(PAUSE)
    buffer.stop()
