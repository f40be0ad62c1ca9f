"""The metrics of this process, or of all that share them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Metric, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from cloudapi.monitoring.shared import shared_folder


def own_collectors() -> Sequence[Collector | CollectorRegistry]:
    """What this process counts. Memory and files are always its own, even where the rest is shared."""
    folder = shared_folder()
    return [REGISTRY] if folder is None else [SharedFigures(folder), ProcessCollector(registry=None)]


class SharedFigures(Collector):
    """The sums of all processes that write to this folder.

    The bridge is not among them. Its figures are in the folder all the same, as zeros, where its modules are imported.
    """

    def __init__(self, folder: Path) -> None:
        self._all = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterator[Metric]:
        """All but the bridge's."""
        found = self._all.collect()  # type: ignore[no-untyped-call]
        return (metric for metric in found if not metric.name.startswith("bridge_"))
