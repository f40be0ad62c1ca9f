"""Which job a worker takes, and what becomes of one whose worker died."""

import logging
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Count, F, Max, Q
from django.db.models.functions import Coalesce
from django.utils import timezone, translation

from cloudapi.file_jobs import exporting, importing
from cloudapi.file_jobs.asking import FREED
from cloudapi.file_jobs.running import Failed, HandedBack, Run, Stopped, is_ending, say_alive
from mqtt_bridge.database import timeouts
from organizations.models import FileJob, FilePiece

logger = logging.getLogger(__name__)

DEAD: Final = timedelta(minutes=2)  # without a sign of work: longer than a statement may take
MOST_RUNS: Final = 3
NEVER: Final = datetime.min.replace(tzinfo=UTC)
Status = FileJob.Status
_Whose = tuple[int | None, int | None, int | None]  # keys of an organization, a user, an API key


def work_off() -> None:
    """Carry out what waits, until there is nothing or this worker is to end."""
    say_alive()
    take_back_dead()
    while not is_ending() and (run := claim()) is not None:
        carry_out(run)


def take_back_dead() -> None:
    """Let another worker have the jobs of workers that died; one that ended several workers fails."""
    now = timezone.now()
    dead = FileJob.objects.filter(status=Status.RUNNING, alive_at__lt=now - DEAD)
    errors = Failed("died", runs=MOST_RUNS).errors
    given_up = {"status": Status.FAILED, "errors": errors, "finished": now, "run": None, **FREED}
    for pk in dead.filter(runs__gte=MOST_RUNS).values_list("pk", flat=True):
        with transaction.atomic():
            if dead.filter(pk=pk).update(**given_up):
                FilePiece.objects.filter(job=pk).delete()
    dead.update(status=Status.QUEUED, run=None)


def claim() -> Run | None:
    """Take the job whose turn it is, as the only worker that does; None: there is none."""
    waiting = FileJob.objects.filter(status=Status.QUEUED)
    while (pk := next_in_turn()) is not None:
        token, now = uuid.uuid4(), timezone.now()
        values = {"status": Status.RUNNING, "run": token, "runs": F("runs") + 1, "alive_at": now}
        with transaction.atomic():
            if waiting.filter(pk=pk).update(**values, started=Coalesce("started", now)):
                FilePiece.objects.filter(job=pk).delete()  # of a worker that died
                return Run(FileJob.objects.get(pk=pk), token)
    return None


def next_in_turn() -> uuid.UUID | None:
    """Of the jobs that wait that of the organization with the fewest at work; of these, of the one served longest ago.

    So nobody's ten long lists hold up a list of others for longer than one of them takes. In an organization its people
    take turns likewise. What is of several organizations counts for its person.
    """
    whose = ("organization", "requested_by", "requested_with")
    jobs = FileJob.objects.order_by("created")
    waiting = jobs.filter(status=Status.QUEUED).values_list("pk", *whose)
    at_work: Counter[_Whose] = Counter()
    served: dict[_Whose, datetime] = {}
    started = jobs.exclude(started=None).order_by().values_list(*whose)
    totals = started.annotate(latest=Max("started"), running=Count("pk", filter=Q(status=Status.RUNNING)))
    for organization, user, key, at, count in totals:
        for one in _places(organization, user, key):
            at_work[one] += count
            served[one] = max(at, served.get(one, at))

    def turn(job: tuple[uuid.UUID, int | None, int | None, int | None]) -> tuple[int, datetime, datetime]:
        place, person = _places(*job[1:])
        return at_work[place], served.get(place, NEVER), served.get(person, NEVER)

    job = min(waiting, key=turn, default=None)  # the oldest of several
    return job and job[0]


def _places(organization: int | None, user: int | None, key: int | None) -> tuple[_Whose, _Whose]:
    """Whose a job is: an organization's, and in it a person's or an API key's."""
    person = (organization, user, key)
    return ((organization, None, None) if organization is not None else person), person


def carry_out(run: Run) -> None:
    """Do it, in the language of whoever asked. What goes wrong is in the job; only a lost database raises."""
    try:
        with translation.override(run.job.language or "en"), timezone.override(UTC):
            try:
                (exporting.export if run.job.kind == FileJob.Kind.EXPORT else importing.carry_out)(run)
            except HandedBack:
                run.hand_back()
            except Failed as error:
                run.end(Status.FAILED, errors=error.errors)
            except Stopped:
                raise
            except Exception as error:
                if timeouts.is_away(error):
                    raise
                logger.exception("The file job %s failed", run.job.pk)
                run.end(Status.FAILED, errors=Failed("server_error").errors)
    except Stopped:
        logger.info("The file job %s was canceled, or another worker has it", run.job.pk)
