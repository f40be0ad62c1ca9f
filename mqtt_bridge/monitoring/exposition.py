"""Serves a process's metrics to Prometheus on a small HTTP port of its own."""

import logging
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

Address = tuple[str, int]


def serve(address: Address | None, collectors: Iterable[Collector | CollectorRegistry]) -> None:
    """Serve what these collect, from a thread of its own; nothing without an address.

    A port that is taken is logged, and no more: nobody should be without a bridge because nobody can watch it.
    """
    if address is None:
        return
    host, port = address
    try:
        server, _ = start_http_server(port, host, together(collectors))
    except OSError as error:
        logger.error("No metrics are served at %s:%d: %s", host, port, error)
        return
    logger.info("Metrics at http://%s:%d/metrics", host, server.server_port)


def together(collectors: Iterable[Collector | CollectorRegistry]) -> CollectorRegistry:
    """One registry of all these; a registry is one, too."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)  # a registry collects as a collector does
    return registry
