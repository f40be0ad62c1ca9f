"""The Celery app, which hands commands to the workers: `celery -A cloudapi worker`, `celery -A cloudapi beat`."""

import os

from celery import Celery, signals
from kombu.entity import Exchange, Queue

from cloudapi import workers
from cloudapi.monitoring import tasks

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")

app = Celery("cloudapi")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()  # for every thread
app.autodiscover_tasks()
app.autodiscover_tasks(["organizations.people", "cloudapi.file_jobs"])


@app.on_after_configure.connect  # type: ignore[untyped-decorator]
def add_queue_of_files(sender: Celery, **_: object) -> None:
    """`celery worker --queues=files` takes imports and exports; a worker that is told nothing takes all but these."""
    name = f"{sender.conf.task_default_queue} files"  # as there: two servers on one Redis have different queues
    queue = Queue(name, Exchange(name), routing_key=name, alias="files")  # type: ignore[no-untyped-call]
    sender.amqp.queues.add(queue)


signals.setup_logging.connect(workers.leave_logging)
signals.celeryd_init.connect(workers.check_settings)  # `celery worker` starts
signals.beat_init.connect(workers.name_beat)
signals.beat_init.connect(workers.check_settings)  # `celery beat` starts
signals.worker_init.connect(workers.prepare)
signals.task_prerun.connect(workers.drop_broken_connections)
signals.task_postrun.connect(workers.drop_broken_connections)
signals.before_task_publish.connect(tasks.stamp)
signals.task_prerun.connect(tasks.begin)
signals.task_postrun.connect(tasks.end)
