"""Celery settings that are the same everywhere; `cloudapi/settings.py` takes them."""

# A Redis that hangs must not hold up the sender of a task for long, and a failed task is not sent again: the row in the
# database is the truth, and the sweep finds it. A worker tries for ever to get its Redis back.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 2.0,  # seconds
    "socket_connect_timeout": 2.0,
    "socket_keepalive": True,
    "health_check_interval": 5,
    "max_retries": 0,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False  # a command is published at most once: what dies with a worker is not done again
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# Tasks are hints and take milliseconds; with room for only one, a task that was lost with Redis would block a worker.
CELERY_WORKER_PREFETCH_MULTIPLIER = 8
CELERY_WORKER_ENABLE_PREFETCH_COUNT_REDUCTION = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_DB_REUSE_MAX = 2**31  # cloudapi/workers.py looks after connections
# An import or export may take minutes: workers of its own take it, and none of those that send commands.
CELERY_TASK_ROUTES = {"cloudapi.file_jobs.tasks.*": {"queue": "files"}}
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # keeps no file
CELERY_BEAT_SCHEDULE = {  # each expires, so that they do not pile up while no worker runs
    task.rpartition(".")[2]: {"task": task, "schedule": seconds, "args": arguments, "options": {"expires": seconds}}
    for task, seconds, *arguments in (
        ("devices.tasks.sweep_service_calls", 5.0),
        ("devices.tasks.start_due_batches", 5.0),
        ("licenses.tasks.synchronize_licenses", 60.0),
        ("cloudapi.tasks.prune", 10.0),
        ("cloudapi.tasks.report_alive", 10.0, "beat"),
        ("cloudapi.tasks.look_at_certificates", 60.0),
        ("cloudapi.file_jobs.tasks.work_off_file_jobs", 10.0),
    )
}
