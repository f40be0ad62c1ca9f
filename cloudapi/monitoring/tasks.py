"""Counts and times the tasks of a worker."""

from time import monotonic, time

from celery import Task
from prometheus_client import Counter, Histogram

from mqtt_bridge.monitoring import log_fields

SENT_AT = "sent_at"  # a header of ours: seconds since 1970

tasks = Counter("worker_tasks", "Tasks by how they ended.", ["task", "state"])
task_seconds = Histogram("worker_task_seconds", "How long a task took.", ["task"])
task_wait_seconds = Histogram("worker_task_wait_seconds", "From sending a task until a worker began it.", ["task"])

_began: dict[str, float] = {}  # by id of a task that runs


def stamp(headers: dict[str, object], **_signal: object) -> None:
    """Let a task say when it was sent."""
    headers[SENT_AT] = time()


def begin(task_id: str, task: Task, **_signal: object) -> None:
    """A worker begins a task."""
    log_fields.note(task=task.name)
    _began[task_id] = monotonic()
    if isinstance(sent := getattr(task.request, SENT_AT, None), int | float):
        task_wait_seconds.labels(task.name).observe(max(0.0, time() - sent))


def end(task_id: str, task: Task, state: str | None = None, **_signal: object) -> None:
    """A task has ended."""
    tasks.labels(task.name, (state or "unknown").lower()).inc()
    if (began := _began.pop(task_id, None)) is not None:
        task_seconds.labels(task.name).observe(monotonic() - began)
    log_fields.note(task="")
