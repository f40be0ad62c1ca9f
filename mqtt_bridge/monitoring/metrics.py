"""What the bridge counts and times. No label has a value that a device can make up: see `router.label`.

They have a registry of their own, because other processes import the modules that count here.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mqtt_bridge.monitoring.backlog import Backlog

BRIDGE: Final = CollectorRegistry()
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 40)  # a dock waits for 40 s
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)

active = Gauge("bridge_active", "1 while this bridge serves docks, 0 while it stands by or waits.", registry=BRIDGE)
handled = Counter(
    "bridge_handled",
    "Control messages by what became of them.",
    ["channel", "method", "outcome"],
    registry=BRIDGE,
)
quarantined = Counter("bridge_quarantined", "Messages that could not be read.", ["reason"], registry=BRIDGE)
answer_seconds = Histogram(
    "bridge_answer_seconds",
    "From the arrival of a message until its reply was published.",
    ["method"],
    buckets=SECONDS,
    registry=BRIDGE,
)
handler_seconds = Histogram(
    "bridge_handler_seconds",
    "A handler with its transaction, for all messages that it got at once.",
    ["channel", "method"],
    buckets=SECONDS,
    registry=BRIDGE,
)
batch_messages = Histogram("bridge_batch_messages", "Messages handled together.", buckets=SIZES, registry=BRIDGE)
batch_seconds = Histogram(
    "bridge_batch_seconds", "From taking a batch until it was journalled.", buckets=SECONDS, registry=BRIDGE
)
telemetry_write_seconds = Histogram(
    "bridge_telemetry_write_seconds", "One write of telemetry, at most one a second.", buckets=SECONDS, registry=BRIDGE
)
telemetry_devices = Gauge(
    "bridge_telemetry_devices", "Devices in the telemetry that was written last.", registry=BRIDGE
)


# Keys of `Bridge.counters`, as `bridge_dropped_total` calls them.
DROPS: Final = (
    "rate_limited", "enrolment_limited", "overdrawn", "forged_pings", "inbox_full", "replies_refused",
    "telemetry_dropped", "telemetry_refused",
)  # fmt: skip


class LiveFigures(Collector):
    """What the bridge knows anyway, read at each scrape: it costs the bridge nothing."""

    def __init__(self) -> None:
        self.counters: Mapping[str, int] = {}
        self.backlog: Callable[[], Backlog] | None = None  # None while there is no connection

    def connect(self, backlog: Callable[[], Backlog] | None) -> None:
        """Read this connection from now on; None: there is none."""
        self.backlog = backlog
        active.set(backlog is not None)

    def collect(self) -> Iterator[Metric]:
        """The figures of this moment."""
        counters = dict(self.counters)
        waiting = self.backlog() if self.backlog is not None else Backlog()
        yield GaugeMetricFamily("bridge_inbox_messages", "Messages that wait to be handled.", value=waiting.inbox)
        yield GaugeMetricFamily("bridge_inbox_bytes", "Their size.", value=waiting.inbox_bytes)
        yield GaugeMetricFamily(
            "bridge_unacknowledged_messages",
            "Messages that the broker keeps until they are handled.",
            value=waiting.unacknowledged,
        )
        yield GaugeMetricFamily(
            "bridge_unconfirmed_replies", "Replies that the broker has not confirmed.", value=waiting.unconfirmed
        )
        dropped = CounterMetricFamily("bridge_dropped", "Messages that were not handled, and why.", labels=["reason"])
        for reason in DROPS:
            dropped.add_metric([reason], counters.get(reason, 0))
        yield dropped
        yield CounterMetricFamily(
            "bridge_held", "Messages put back because of a locked row.", value=counters.get("held", 0)
        )
        yield CounterMetricFamily(
            "bridge_telemetry_frames", "osd and state messages that were read.", value=counters.get("telemetry", 0)
        )


live_figures = LiveFigures()
BRIDGE.register(live_figures)
