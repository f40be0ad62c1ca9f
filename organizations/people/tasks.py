"""Celery tasks: mail."""

from celery import shared_task

from organizations.people import password_reset


@shared_task  # type: ignore[untyped-decorator]
def send_password_reset(address: str) -> None:
    """Mail the users with this address, if any, a link to choose a new password."""
    password_reset.send(address)
