"""What pages and REST say about a job."""

from collections.abc import Mapping
from typing import Any, Final

from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy

from cloudapi.tables.importing import Problem
from organizations.models import FileJob

# By code, which the row of the job keeps with its values.
FAILURES: Final = {
    "died": gettext_lazy("The worker ended while it was at this, {runs} times. The log of the worker says why."),
    "not_allowed": gettext_lazy("The person who asked for this is no longer allowed to."),
    "server_error": gettext_lazy("The server failed. Its log says why."),
    "too_large": gettext_lazy("The file is larger than the room that there is for it. Choose a narrower filter."),
    "too_many_rows": gettext_lazy(
        "The list has more than {most} rows, the most of one XLSX file. Choose a narrower filter, or CSV."
    ),
    "unknown_filter": gettext_lazy("The list no longer has such a filter."),
}


def title(job: FileJob) -> str:
    """The heading of its page."""
    words = gettext("Export: {rows}") if job.kind == FileJob.Kind.EXPORT else gettext("Import: {rows}")
    return words.format(rows=capfirst(job.rows_name))


def problems(job: FileJob) -> list[Problem]:
    """Each row of the uploaded file, or "" for all of it, with what is wrong."""
    return [Problem(str(error.get("row", "")), problem(error)) for error in job.errors]


def problem(error: Mapping[str, Any]) -> str:
    """What is wrong, in words; the problem of a row is in the language in which the job was asked for."""
    if "text" in error:
        return str(error["text"])
    words = FAILURES.get(error.get("code", ""))
    return str(words).format(**error.get("values", {})) if words else str(error.get("code", ""))


def progress(job: FileJob) -> str:
    """How far it is: "12,300 of 100,000 rows"."""
    if job.total is None:
        return gettext("{done} rows").format(done=f"{job.done:,}")
    return gettext("{done} of {total} rows").format(done=f"{job.done:,}", total=f"{job.total:,}")
