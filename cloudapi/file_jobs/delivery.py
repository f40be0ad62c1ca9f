"""Handing out the file of a job, from a page or by REST."""

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.utils.text import capfirst
from django.utils.translation import gettext, override
from django.views.decorators.debug import sensitive_variables

from cloudapi.file_jobs import access, pieces
from cloudapi.file_jobs.asking import Declined
from cloudapi.tables.writing import CONTENT_TYPES
from organizations import audit
from organizations.audit import Actor
from organizations.encryption import cipher
from organizations.models import FileJob
from organizations.rights import Rights


@sensitive_variables()
def deliver(job: FileJob, *, held: Rights, actor: Actor) -> HttpResponseBase:
    """The file as a download, audited. What is shown once is gone from here on.

    Raises PermissionDenied for a caller who may see the job but not its file, and Declined if it has none (any more).
    """
    if not access.may_take(held, job):
        raise PermissionDenied
    if job.status != FileJob.Status.SUCCEEDED or not job.size:
        raise Declined(409, "closed", gettext("There is no file, or not yet."))
    is_secret = job.kind == FileJob.Kind.IMPORT
    headers = {
        "Content-Length": str(job.size),
        "Content-Disposition": content_disposition_header(True, name_of(job)) or "attachment",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store" if is_secret else "private, no-store",
    }
    content_type = CONTENT_TYPES[FileJob.Format.CSV if is_secret else FileJob.Format(job.format)]
    with transaction.atomic():
        organization = job.organization_id
        audit.record([audit.event(actor, "download", job, organization_id=organization)])
        if not is_secret:
            return StreamingHttpResponse(pieces.read(job), headers=headers, content_type=content_type)
        row = FileJob.objects.select_for_update().defer(None).filter(pk=job.pk, result__isnull=False).first()
        if row is None:
            raise Declined(409, "closed", gettext("It was downloaded before. What it held is shown once."))
        FileJob.objects.filter(pk=job.pk).update(result=None)
        file = cipher().decrypt(bytes(row.result))  # if that fails, it is not gone
    return HttpResponse(file, headers=headers, content_type=content_type)


def name_of(job: FileJob) -> str:
    """What the browser saves it as: "Devices-2026-11-30.csv"."""
    kind = "csv" if job.kind == FileJob.Kind.IMPORT else job.format
    with override("en"):
        rows = capfirst(job.rows_name).replace(" ", "-")
    return f"{rows}-{job.created:%Y-%m-%d}.{kind}"
