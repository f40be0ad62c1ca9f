"""A job in the hands of a worker: whatever that writes, it writes only for as long as the job is its own.

Each write names the run, so that a worker that slept while another took over, and one whose job was canceled, change
nothing.
"""

import time
import uuid
from typing import Any, Final

from celery.worker import state
from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from cloudapi.file_jobs.asking import FREED, room_taken
from organizations.models import FileJob, FilePiece

BETWEEN_NOTES: Final = 0.5  # seconds
ALIVE_FOR: Final = 60  # seconds for which the cache says that somebody works off files
Status = FileJob.Status


class Stopped(Exception):  # noqa: N818  (no error: somebody wanted it)
    """The job is not ours any more: it was canceled, or another worker has it."""


class HandedBack(Exception):  # noqa: N818
    """This worker is to end: another goes on with the job."""


class Failed(Exception):  # noqa: N818
    """The job cannot be done: by a code of `wording.FAILURES`, or in words that need no translation any more."""

    def __init__(self, code: str = "", *, text: str = "", **values: object) -> None:
        super().__init__(code or text)
        self.errors = [{"row": "", "text": text} if text else {"row": "", "code": code, "values": values}]


class Run:
    """One worker's hold of a job."""

    def __init__(self, job: FileJob, token: uuid.UUID) -> None:
        self.job = job
        self._token = token
        self._noted = time.monotonic()
        self._pieces = 0
        self._room = settings.FILES_CAP - room_taken(job)  # bytes

    def note(self, **values: Any) -> None:
        """Write these fields of the job, and that it is worked on. Raises Stopped."""
        self._noted = time.monotonic()
        mine = FileJob.objects.filter(pk=self.job.pk, status=Status.RUNNING, run=self._token)
        if not mine.update(**{"alive_at": timezone.now(), **values}):
            raise Stopped

    def progress(self, done: int) -> None:
        """Note so many rows, every now and then. Raises Stopped and HandedBack."""
        if time.monotonic() - self._noted < BETWEEN_NOTES:
            return
        self.note(done=done)
        say_alive()
        if is_ending():
            raise HandedBack

    def save(self, data: bytes, size: int) -> None:
        """Keep the next piece of the file: `size` bytes, compressed. Raises Stopped, and Failed if there is no room."""
        self._room -= len(data)
        if self._room < 0:
            raise Failed("too_large")
        with transaction.atomic():
            self.note(size=F("size") + size, stored=F("stored") + len(data))
            FilePiece.objects.create(job=self.job, number=self._pieces, data=data)
        self._pieces += 1

    def end(self, status: Status, **values: Any) -> None:
        """The job has ended so. Raises Stopped."""
        has_file = status == Status.WAITING or (status == Status.SUCCEEDED and self.job.kind == FileJob.Kind.EXPORT)
        values = ({} if has_file else FREED) | values
        self.note(status=status, finished=timezone.now(), run=None, **values)
        if status == Status.FAILED:
            FilePiece.objects.filter(job=self.job.pk).delete()

    def hand_back(self) -> None:
        """Let another worker have the job, at once."""
        self.note(status=Status.QUEUED, run=None, runs=F("runs") - 1)


def is_ending() -> bool:
    """Whether this worker was told to end, as far as it can know: with `--pool=solo` the tasks run in the process that
    gets the signal.
    """
    # The signal leaves an exit code, which may be 0.
    return any(code is not None and code is not False for code in (state.should_stop, state.should_terminate))


def say_alive() -> None:
    """Let the page "System" know that somebody works off files."""
    cache.set("files", {"at": time.time()}, ALIVE_FOR)
