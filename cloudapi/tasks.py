"""Celery tasks of the whole server."""

import socket
import time

from celery import shared_task
from django.core.cache import cache
from django.db import connection

from cloudapi import retention
from cloudapi.diagnosis import certificates
from mqtt_bridge.line.publisher import publisher

ALIVE_FOR = 60  # seconds that a report is kept


@shared_task  # type: ignore[untyped-decorator]
def prune() -> None:
    """Delete rows that were kept long enough."""
    retention.prune()


@shared_task  # type: ignore[untyped-decorator]
def look_at_certificates() -> None:
    """Remember the certificates that were not looked at for an hour."""
    certificates.refresh()


@shared_task  # type: ignore[untyped-decorator]
def report_alive(key: str) -> None:
    """Report that a worker works: with the database, and with a connection to the broker or without."""
    connection.ensure_connection()
    report = {"at": time.time(), "host": socket.gethostname(), "broker": publisher().connect()}
    cache.set(key, report, ALIVE_FOR)
