"""Celery tasks: mail."""

from celery import shared_task

from organizations.people import password_reset


@shared_task  # type: ignore[untyped-decorator]
def send_password_reset(address: str, language: str = "en") -> None:
    """Mail the users with this address, if any, a link to choose a new password; `language` is of the request."""
    password_reset.send(address, language)
