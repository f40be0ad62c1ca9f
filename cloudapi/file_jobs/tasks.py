"""Celery tasks: imports and exports. A task is a hint, the rows decide."""

from celery import shared_task

from cloudapi.file_jobs import working


@shared_task  # type: ignore[untyped-decorator]
def work_off_file_jobs() -> None:
    """Carry out the jobs that wait, one after the other, until there is none."""
    working.work_off()
