"""Real workers of the queue `files`: one is told to end, one is killed, and the file is whole in the end."""

import signal

import pytest
import redis
from django.conf import settings

from tests.stack import Redis, running_stack, wait_for

ROWS = 80_000  # so many that the file is looked at while it is made, on a quick machine, too
FILL = f"""
INSERT INTO organizations_auditevent
  (at, request_id, through, action, object_type, object_id, object_name, before, after)
SELECT now(), gen_random_uuid(), 'command', 'add', 'devices.Device', n::text, 'DOCK' || n, '{{}}', '{{}}'
FROM generate_series(1, {ROWS}) n RETURNING 1
"""
ASK = """
from django.contrib.auth import get_user_model
from cloudapi.file_jobs import asking
from organizations import rights
from organizations.audit import Actor
from organizations.models import AuditEvent, FileJob
user = get_user_model().objects.create_superuser("root", "root@example.org", "right password")
actor = Actor(AuditEvent.Through.ADMIN, user=user)
export = {"kind": FileJob.Kind.EXPORT, "table": "audit-events", "format": "csv"}
asking.ask(actor=actor, rights=rights.of(user), needed=None, **export)
"""
COUNT = """
from cloudapi.file_jobs import pieces
from organizations.models import FileJob
job = FileJob.objects.get()
file = b"".join(pieces.read(job)).decode("utf-8-sig")
print(job.status, len({line.split(",DOCK")[-1] for line in file.splitlines()[1:]}), file.count("\\r\\n") - 1, job.runs)
"""


@pytest.fixture
def stack(prepared, tmp_path):
    with running_stack("postgresql", tmp_path, template=prepared("postgresql"), redis=Redis()) as running:
        yield running


def job(stack):
    [(status, done)] = stack.rows("SELECT status, done FROM organizations_filejob")
    return status, done


def is_amid(stack):
    status, done = job(stack)
    assert status in ("queued", "running")
    return status == "running" and done > 0


def start(stack):
    return stack.start_worker(queues="files", pool="solo", beat=False, wait=False)


def wake(stack):
    stack.manage("shell", "-v0", "-c", "from cloudapi.file_jobs import asking; asking.wake_a_worker()")


@pytest.mark.turns(2)
def test_a_worker_takes_files_only_if_it_is_told_to_and_none_is_lost_with_it(stack):
    stack.rows(FILL)
    stack.manage("shell", "-v0", "-c", ASK)
    commands = stack.start_worker(beat=False)
    waiting = f"{settings.CELERY_TASK_DEFAULT_QUEUE} files"
    assert redis.Redis.from_url(stack.redis.url).llen(waiting) == 1
    assert job(stack) == ("queued", 0)

    worker = start(stack)
    wait_for(lambda: is_amid(stack))
    assert stack.stop_worker(worker, signal.SIGTERM) == 0
    assert job(stack)[0] == "queued"

    worker = start(stack)
    wake(stack)
    wait_for(lambda: is_amid(stack))
    stack.stop_worker(worker, signal.SIGKILL)
    assert job(stack)[0] == "running"

    worker = start(stack)
    stack.rows("UPDATE organizations_filejob SET alive_at = alive_at - interval '5 minutes' RETURNING 1")
    wake(stack)
    wait_for(lambda: job(stack)[0] == "succeeded")
    status, different, rows, runs = stack.manage("shell", "-v0", "-c", COUNT).split()
    assert (status, int(different), int(rows), runs) == ("succeeded", ROWS, ROWS, "2")
    assert stack.stop_worker(worker) == stack.stop_worker(commands) == 0
