"""A Celery worker and beat in threads of this process: what the demo has instead of Redis and `celery`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from celery.beat import EmbeddedService
from celery.worker import WorkController, state
from django.conf import settings

from cloudapi.celery import app
from mqtt_bridge.line.publisher import publisher

START_TIMEOUT = 30.0  # seconds
IN_MEMORY = {"broker_url": "memory://localhost", "broker_transport_options": {"polling_interval": 0.02}}


class WorkerError(RuntimeError):
    """The worker did not start."""


@contextmanager
def running_worker(mqtt_url: str) -> Iterator[None]:
    """While the body lasts, run the tasks of this process, which publish to this broker. Raises WorkerError.

    Must come before the process sends its first task: from then on no Redis is used, even if there is one.
    """
    app.conf.update(IN_MEMORY)
    settings.MQTT_URL = mqtt_url
    ready = threading.Event()
    worker = WorkController(app=app, pool="solo", concurrency=1, ready_callback=lambda _consumer: ready.set())
    thread = threading.Thread(target=worker.start, name="worker")
    beat = EmbeddedService(app, thread=True, scheduler_cls=app.conf.beat_scheduler)  # it ignores the setting itself
    thread.start()
    try:
        if not ready.wait(START_TIMEOUT):
            raise WorkerError("The worker that sends commands did not start.")
        settings.COMMANDS_AVAILABLE = True
        beat.start()
        yield
    finally:
        state.should_stop = 0  # asks the thread, as SIGTERM would, to finish its task and to end with 0
        if beat.is_alive():
            beat.stop()
        settings.COMMANDS_AVAILABLE = False  # not before: beat would not start
        thread.join()
        state.should_stop = None
        publisher().close()
