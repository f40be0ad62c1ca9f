"""The project: settings, URLs, the MQTT routing table, Celery, the web process, the start page, private servers."""

from cloudapi.monitoring.shared import share

share()  # before prometheus_client is imported

from cloudapi.celery import app as celery_app  # noqa: E402  (the sender of a task needs to know its broker)

__all__ = ["celery_app"]
