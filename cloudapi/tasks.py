"""Celery tasks of the whole server."""

from celery import shared_task

from cloudapi import retention


@shared_task  # type: ignore[untyped-decorator]
def prune() -> None:
    """Delete rows that were kept long enough."""
    retention.prune()
