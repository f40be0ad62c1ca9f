"""The metrics of this process, or of all that share them."""

from collections.abc import Sequence

from prometheus_client import REGISTRY, CollectorRegistry, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from cloudapi.monitoring.shared import shared_folder


def own_collectors() -> Sequence[Collector | CollectorRegistry]:
    """What this process counts. Memory and files are always its own, even where the rest is shared."""
    folder = shared_folder()
    if folder is None:
        return [REGISTRY]
    shared = CollectorRegistry()
    MultiProcessCollector(shared, str(folder))  # type: ignore[no-untyped-call]
    return [shared, ProcessCollector(registry=None)]
