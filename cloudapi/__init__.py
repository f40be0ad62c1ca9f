"""The project: settings, URLs, the MQTT routing table, Celery, embedded servers. Wiring only."""

from cloudapi.celery import app as celery_app  # whoever sends a task needs to know to whom

__all__ = ["celery_app"]
