"""Celery workers and beat in threads of this process: what the demo has instead of Redis and `celery`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery
from celery.beat import EmbeddedService
from celery.worker import WorkController, state
from django.conf import settings

from cloudapi.celery import add_queue_of_files, app
from mqtt_bridge.line.publisher import publisher

START_TIMEOUT = 30.0  # seconds
IN_MEMORY = {"broker_url": "memory://localhost", "broker_transport_options": {"polling_interval": 0.02}}


class WorkerError(RuntimeError):
    """The worker did not start."""


@contextmanager
def running_worker(mqtt_url: str) -> Iterator[None]:
    """While the body lasts, run the tasks of this process, which publish to this broker. Raises WorkerError.

    One worker sends commands, another makes files. Must come before the process sends its first task: from then on no
    Redis is used, even if there is one.
    """
    app.conf.update(IN_MEMORY)
    settings.MQTT_URL = mqtt_url
    # An app knows which queues its worker takes: the second worker needs one of its own, with the same tasks.
    second = Celery("files", set_as_current=False)
    second.config_from_object("django.conf:settings", namespace="CELERY")
    second.on_after_configure.connect(add_queue_of_files)
    second.conf.update(IN_MEMORY)
    workers = [_Worker(app, "worker"), _Worker(second, "files", queues="files")]
    beat = EmbeddedService(app, thread=True, scheduler_cls=app.conf.beat_scheduler)  # it ignores the setting itself
    for worker in workers:
        worker.thread.start()
    try:
        if not all(worker.ready.wait(START_TIMEOUT) for worker in workers):
            raise WorkerError("The worker that sends commands did not start.")
        settings.COMMANDS_AVAILABLE = True
        beat.start()
        yield
    finally:
        state.should_stop = 0  # asks the threads, as SIGTERM would, to finish their task and to end with 0
        if beat.is_alive():
            beat.stop()
        settings.COMMANDS_AVAILABLE = False  # not before: beat would not start
        for worker in workers:
            worker.thread.join()
        state.should_stop = None
        publisher().close()


class _Worker:
    """A worker in a thread."""

    def __init__(self, of: Celery, name: str, **options: object) -> None:
        self.ready = threading.Event()
        controller = WorkController(
            app=of, pool="solo", concurrency=1, ready_callback=lambda _consumer: self.ready.set(), **options
        )
        self.thread = threading.Thread(target=controller.start, name=name)
