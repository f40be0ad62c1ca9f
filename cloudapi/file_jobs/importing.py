"""What an import does with the rows of a file: all are tried out first, then they are saved.

Rows that change what docks are asked about, such as devices, are saved a few at a time: their locks would hold up the
bridge. If a worker dies, another goes on after the rows that were saved. What is new and shown once is saved at once.
"""

from collections import Counter
from typing import Any, Final

from django.db import transaction
from tablib import Dataset

from cloudapi.file_jobs import access
from cloudapi.file_jobs.running import Failed, HandedBack, Run, is_ending, say_alive
from cloudapi.tables import reading
from cloudapi.tables.importing import Outcome, RowsResource
from cloudapi.tables.imports import IMPORTS, IssuedRows, shown_once
from organizations.admin.spreadsheet import MARK, encoded
from organizations.audit import Actor
from organizations.encryption import cipher
from organizations.models import AuditEvent, FileJob

AT_ONCE: Final = 100  # rows of one transaction
SHOWN: Final = 200  # changes that the job keeps to be shown
MOST_ERRORS: Final = 1000
Status = FileJob.Status


def carry_out(run: Run) -> None:
    """Try out the import of a job, and do it unless it is a dry run or a row has a problem.

    Raises Failed, Stopped and HandedBack.
    """
    job = run.job
    resource = resource_of(job)
    try:
        rows = reading.read(bytes(job.source or b""), most=resource.most)
    except reading.UnreadableError as error:
        raise Failed(text=str(error)) from None
    if not job.outcome.get("is_checked"):
        go_through(run, resource, rows, dry=True)
        if job.errors:
            run.end(Status.FAILED)
            return
        if job.dry_run:
            is_asking = job.through == AuditEvent.Through.ADMIN and (job.outcome["new"] or job.outcome["changed"])
            run.end(Status.WAITING if is_asking else Status.SUCCEEDED)
            return
        resource = resource_of(job)  # without what it remembers of the rows
    go_through(run, resource, rows, dry=False)


def resource_of(job: FileJob) -> RowsResource:
    """What takes the rows, for what the requester may do now; raises Failed."""
    held = access.rights_of(job)
    found = next((resource for resource in IMPORTS.values() if resource.name == job.table), None)
    if held is None or found is None or not held.may(found.role, anywhere=True):
        raise Failed("not_allowed")
    actor = Actor(AuditEvent.Through(job.through), job.requested_by, job.requested_with, job.request_id)
    return found(rights=held, actor=actor)


def go_through(run: Run, resource: RowsResource, rows: Dataset, *, dry: bool) -> None:
    """Give the rows to the resource, and note after each step what became of them; the last one ends the job."""
    job, total = run.job, rows.height
    step = total if isinstance(resource, IssuedRows) and not dry else AT_ONCE
    start = 0 if dry else job.outcome.get("saved", 0)
    report = Report(job, is_new=start == 0)
    while start < total:
        end = min(start + step, total)
        with transaction.atomic():
            resource.offset = start
            outcome = resource.run(part_of(rows, start, end), dry=dry)
            report.add(outcome)
            values: dict[str, Any] = {"done": end, "total": total, "outcome": job.outcome, "errors": job.errors}
            if dry:
                job.outcome["is_checked"] = end == total and not job.errors
            elif outcome.problems:  # since it was tried out, something has changed
                run.end(Status.FAILED, **(values | {"done": start}))
                return
            elif end == total:
                run.end(Status.SUCCEEDED, **values, **sealed(outcome.secrets))
                return
            else:
                job.outcome["saved"] = end
            run.note(**values)
        start = end
        say_alive()
        if is_ending() and start < total:
            raise HandedBack


def part_of(rows: Dataset, start: int, end: int) -> Dataset:
    """Some of the rows, with their numbers in the file."""
    found = Dataset(headers=rows.headers)
    for row in rows._data[start:end]:
        found.append(list(row), tags=row.tags)
    return found


def sealed(secrets: list[tuple[Any, str]]) -> dict[str, Any]:
    """What is shown once as a file, encrypted: the fields of its job."""
    if not secrets:
        return {}
    lines = [(str(row), row.organization.name, shown_once(row, plain)) for row, plain in secrets]
    file = MARK + encoded([("row", "organization", "secret"), *lines])
    return {"result": cipher().encrypt(file), "size": len(file)}


class Report:
    """What the job says became of its rows, in its own fields."""

    def __init__(self, job: FileJob, *, is_new: bool) -> None:
        self._job = job
        if is_new:
            job.errors = []
            job.outcome = {"new": 0, "changed": 0, "unchanged": 0, "problems": 0, "ignored": [], "changes": []} | {
                name: value for name, value in job.outcome.items() if name == "is_checked"
            }

    def add(self, outcome: Outcome) -> None:
        """What became of some more rows."""
        found, job = self._job.outcome, self._job
        counted = Counter(
            new=outcome.new, changed=outcome.changed, unchanged=outcome.unchanged, problems=len(outcome.problems)
        )
        for name, count in counted.items():
            found[name] += count
        found["ignored"] = outcome.ignored
        for change in outcome.changes[: SHOWN - len(found["changes"])]:
            values = [[head, str(before or ""), str(after or "")] for head, before, after in change.values]
            found["changes"].append({"row": change.row, "is_new": change.is_new, "name": change.name, "values": values})
        left = MOST_ERRORS - len(job.errors)
        job.errors += [{"row": problem.row, "text": problem.text} for problem in outcome.problems[:left]]
