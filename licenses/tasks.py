"""Celery tasks: what is done about licenses by schedule."""

from celery import shared_task

from licenses import synchronization


@shared_task  # type: ignore[untyped-decorator]
def synchronize_licenses() -> None:
    """Read the lists that are due."""
    synchronization.synchronize()
