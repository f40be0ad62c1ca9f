"""Asking for an import or an export, confirming one that was tried out, and stopping one."""

import uuid
from typing import Any, Final

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.utils import timezone
from django.utils.translation import get_language, gettext

from cloudapi.file_jobs import access
from organizations.audit import Actor
from organizations.models import OPEN_JOBS, FileJob, FilePiece, Organization, Role
from organizations.rights import Rights
from organizations.tenancy import is_platform_staff

TASK: Final = "cloudapi.file_jobs.tasks.work_off_file_jobs"
LONGEST_QUERY: Final = 2000  # characters of a filter
MOST_OPEN: Final = 10  # jobs of one user or API key that have not ended; and as many that wait to be confirmed
FREED: Final[dict[str, Any]] = {"source": None, "size": 0, "stored": 0}  # fields of a job that has no file any more
Status = FileJob.Status


class Declined(Exception):  # noqa: N818  (a verdict, which pages and REST show to the caller)
    """A job is not made, and the text says to a person why; `problem` is its status and type in REST."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.problem = (status, code)


def ask(*, actor: Actor, rights: Rights, kind: FileJob.Kind, needed: Role | None, **values: Any) -> FileJob:
    """Make a job for a worker, of the organizations in which the caller has the role that is `needed`.

    `values` are its fields. Raises Declined if nobody works on such jobs, or if the caller or the organization has too
    many.
    """
    if not settings.COMMANDS_AVAILABLE:
        raise Declined(503, "unavailable", gettext("No worker makes files here: REDIS_URL is not set."))
    if len(values.get("query", "")) > LONGEST_QUERY:
        text = gettext("The filter has more than {most} characters. Choose fewer values.")
        raise Declined(400, "invalid", text.format(most=LONGEST_QUERY))
    job = _of(actor=actor, rights=rights, kind=kind, needed=needed, **values)
    mine = access.jobs(rights).filter(status__in=OPEN_JOBS, requested_by=actor.user, requested_with=actor.key)  # type: ignore[misc]
    if mine.count() >= MOST_OPEN:
        text = gettext("You have {most} imports and exports that have not ended. Wait for one, or cancel one.")
        raise Declined(409, "busy", text.format(most=MOST_OPEN))
    _make_room(job)
    job.status = Status.QUEUED
    job.save(force_insert=True)
    transaction.on_commit(wake_a_worker, robust=True)
    return job


def keep_upload(*, actor: Actor, rights: Rights, needed: Role, **values: Any) -> FileJob:
    """Keep a short import, which its page tries out and carries out without a worker. Raises Declined."""
    job = _of(actor=actor, rights=rights, kind=FileJob.Kind.IMPORT, needed=needed, **values)
    _make_room(job)
    job.save(force_insert=True)
    return job


def _of(
    *,
    actor: Actor,
    rights: Rights,
    kind: FileJob.Kind,
    needed: Role | None,
    organization: Organization | None = None,
    **values: Any,
) -> FileJob:
    """A job of this caller, not saved. It is of one organization if it can be about no other."""
    is_staff = is_platform_staff(rights.principal)
    mine = [] if is_staff else sorted(pk for pk in rights.roles if rights.may(needed, pk))
    reach = [organization.pk] if organization else mine
    # A worker cannot ask later which of several roles was meant: the file of several organizations is only for oneself.
    role = "" if is_staff else rights.roles[reach[0]] if len(reach) == 1 else needed or ""
    return FileJob(
        kind=kind,
        organization_id=reach[0] if len(reach) == 1 else None,
        reach=reach,
        role=role,
        through=actor.through,
        language=get_language() or "en",
        request_id=actor.request_id,
        stored=len(values.get("source") or b""),
        requested_by=actor.user,  # type: ignore[misc]  # an actor knows no more than that it is a user
        requested_with=actor.key,
        **values,
    )


def _make_room(job: FileJob) -> None:
    """Let an upload take the place of the oldest that its person never confirmed. Raises Declined for want of room."""
    if job.kind == FileJob.Kind.IMPORT:
        unconfirmed = FileJob.objects.filter(status=Status.WAITING, requested_by=job.requested_by)
        for old in unconfirmed.order_by("-created")[MOST_OPEN - 1 :]:
            cancel(old)
    if room_taken(job) + job.stored >= settings.FILES_CAP:
        text = gettext("The files of the last 7 days take up all the room that there is for them. Wait a day.")
        raise Declined(409, "conflict", text)


def room_taken(job: FileJob) -> int:
    """Bytes that other files take of the room for this one: that of its organization.

    One of several organizations, or of none, is in the room of its requester, or one person could fill everybody's.
    """
    others = FileJob.objects.filter(organization=job.organization_id).exclude(pk=job.pk)
    if job.organization_id is None:
        others = others.filter(requested_by=job.requested_by_id)
    return others.aggregate(sum=Sum("stored"))["sum"] or 0


def confirm(job: FileJob) -> bool:
    """Let a worker carry out an import that was tried out; False if it is not to be confirmed (any more)."""
    values = {"status": Status.QUEUED, "dry_run": False, "done": 0, "runs": 0, "finished": None}
    is_done = bool(FileJob.objects.filter(pk=job.pk, status=Status.WAITING, dry_run=True).update(**values))
    if is_done:
        transaction.on_commit(wake_a_worker, robust=True)
    return is_done


def cancel(job: FileJob) -> bool:
    """Stop a job, and the worker that has it at its next rows; what was saved stays. False: it has ended."""
    rows: QuerySet[FileJob] = FileJob.objects.filter(pk=job.pk, status__in=(*OPEN_JOBS, Status.WAITING))
    values = {"status": Status.CANCELED, "finished": timezone.now(), "run": uuid.uuid4()}
    if not rows.update(**values, **FREED):
        return False
    FilePiece.objects.filter(job=job.pk).delete()
    return True


def wake_a_worker() -> None:
    """Tell a worker of `files` that there is something to do; without this it looks by itself after 10 s."""
    current_app.send_task(TASK)
