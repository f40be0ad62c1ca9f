"""The Celery app, which hands commands to the workers: `celery -A cloudapi worker`, `celery -A cloudapi beat`."""

import os

from celery import Celery, signals

from cloudapi import workers
from cloudapi.monitoring import tasks

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")

app = Celery("cloudapi")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()  # for every thread
app.autodiscover_tasks()
app.autodiscover_tasks(["organizations.people"])

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
