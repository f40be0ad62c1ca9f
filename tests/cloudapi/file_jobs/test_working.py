"""A job is done once and never lost, whatever becomes of its worker."""

import csv
import io
import logging
import os
import tempfile
import time
from datetime import timedelta

import pytest
from celery.worker import state
from django.db import OperationalError
from django.utils import timezone
from openpyxl import load_workbook

from cloudapi.file_jobs import asking, exporting, importing, pieces, running, working
from cloudapi.file_jobs.running import Stopped
from cloudapi.tables import writing
from devices.models import Device
from organizations import rights
from organizations.audit import Actor
from organizations.models import AuditEvent, FileJob, FilePiece, Membership, Role
from tests.cast import member

pytestmark = pytest.mark.django_db
Kind, Status = FileJob.Kind, FileJob.Status


@pytest.fixture
def ask(settings, alice, organization):
    settings.COMMANDS_AVAILABLE = True
    settings.CELERY_BROKER_URL = "memory://"
    Device.objects.bulk_create(
        Device(sn=f"DOCK{number:04}", model_key="3-2-0", organization=organization) for number in range(1, 31)
    )

    def ask(user=alice, kind=Kind.EXPORT, table="devices", format="csv", **values):
        actor = Actor(AuditEvent.Through.ADMIN, user=user)
        return asking.ask(
            actor=actor, rights=rights.of(user), kind=kind, needed=Role.VIEWER, table=table, format=format, **values
        )

    return ask


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(writing, "CHUNK", 10)
    monkeypatch.setattr(pieces, "PIECE", 500)
    monkeypatch.setattr(running, "BETWEEN_NOTES", 0)
    monkeypatch.setattr(importing, "AT_ONCE", 10)


def upload(*rows):
    return ("sn,callsign\n" + "".join(f"{row}\n" for row in rows)).encode()


def named(text="Pier"):
    return [f"DOCK{number:04},{text} {number}" for number in range(1, 31)]


def now_and_then(monkeypatch, deed, *, at=2):
    """Let something happen to the job when it notes for the second time, or a later one, how many rows are done."""
    note, calls = running.Run.note, []

    def noted(run, /, **values):
        calls.extend([values] if "done" in values else [])
        if "done" in values and len(calls) == at:
            deed(run)
        note(run, **values)

    monkeypatch.setattr(running.Run, "note", noted)


def test_an_export_is_kept_in_pieces_and_read_as_it_was_written(ask, small_steps):
    job = ask()
    working.work_off()
    job.refresh_from_db()
    file = b"".join(pieces.read(job))
    assert (job.status, job.done, job.total, job.size) == (Status.SUCCEEDED, 30, 30, len(file))
    assert FilePiece.objects.filter(job=job).count() > 3
    assert [row["Serial number"] for row in csv.DictReader(io.StringIO(file.decode("utf-8-sig")))] == [
        f"DOCK{number:04}" for number in range(1, 31)
    ]


def test_the_page_of_a_list_is_exported_with_its_filter_search_and_language(ask):
    job = ask(query="q=DOCK0007&p=3")
    FileJob.objects.update(language="zh-hans")
    working.work_off()
    job.refresh_from_db()
    lines = b"".join(pieces.read(job)).decode("utf-8-sig").splitlines()
    assert ("序列号" in lines[0], lines[1][:8], len(lines)) == (True, "DOCK0007", 2)


def test_a_list_that_has_lost_a_filter_fails_in_words(ask):
    ask(query="nonsense=1")
    working.work_off()
    assert FileJob.objects.get().errors == [{"row": "", "code": "unknown_filter", "values": {}}]


def test_two_workers_do_not_take_one_job(ask, monkeypatch):
    job = ask()
    first = working.claim()
    assert (first.job.pk, working.claim()) == (job.pk, None)
    FileJob.objects.update(alive_at=timezone.now() - 2 * working.DEAD)
    working.take_back_dead()
    second = working.claim()
    with pytest.raises(Stopped):
        first.note(done=7)
    with pytest.raises(Stopped):
        first.save(b"x", 1)
    working.carry_out(second)
    working.carry_out(first)
    assert FileJob.objects.get().status == Status.SUCCEEDED
    assert AuditEvent.objects.filter(action="export").count() == 1


def test_organizations_take_turns(ask, charlie, staff):
    first, second, _ = ask(), ask(), ask()
    of_charlie, of_staff = ask(charlie), ask(staff)
    assert [working.claim().job for _ in range(4)] == [first, of_charlie, of_staff, second]


def test_who_was_served_waits_for_those_who_were_not(ask, alice, bob, charlie):
    mine = [ask(), ask(), ask()]
    of_charlie = ask(charlie)

    def next_one():
        run = working.claim()
        run.end(Status.SUCCEEDED)
        return run.job

    assert [next_one() for _ in range(2)] == [mine[0], of_charlie]
    of_bob = ask(bob)  # of Alice's organization
    of_charlie = ask(charlie)
    assert [next_one() for _ in range(4)] == [of_bob, of_charlie, *mine[1:]]


def test_a_job_whose_worker_died_is_done_by_another_from_the_beginning(ask, small_steps, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(run):
        raise Killed

    job = ask()
    with monkeypatch.context() as patch:
        now_and_then(patch, kill, at=3)
        with pytest.raises(Killed):
            working.work_off()
    assert FileJob.objects.get().status == Status.RUNNING
    working.work_off()  # another may still have it
    assert FileJob.objects.get().status == Status.RUNNING
    FileJob.objects.update(alive_at=timezone.now() - working.DEAD - timedelta(seconds=1))
    working.work_off()
    job.refresh_from_db()
    assert (job.status, job.runs, len(b"".join(pieces.read(job)))) == (Status.SUCCEEDED, 2, job.size)


def test_a_job_that_ends_every_worker_fails_at_last(ask):
    ask()
    for _ in range(working.MOST_RUNS):
        assert working.claim() is not None
        FileJob.objects.update(alive_at=timezone.now() - 2 * working.DEAD)
        working.take_back_dead()
    assert working.claim() is None
    job = FileJob.objects.get()
    assert (job.status, job.errors[0]["code"], job.errors[0]["values"]) == (Status.FAILED, "died", {"runs": 3})


def test_a_file_that_failed_or_is_begun_again_takes_no_room(ask, small_steps, monkeypatch, settings):
    def hand_back(run):
        run.job.refresh_from_db()
        begun.append(run.job.stored)
        settings.FILES_CAP = 800
        raise running.HandedBack

    begun = []
    ask()
    settings.FILES_CAP = 400
    working.work_off()
    job = FileJob.objects.get()
    assert (job.errors[0]["code"], job.size, job.stored) == ("too_large", 0, 0)
    settings.FILES_CAP = 2000
    ask()
    now_and_then(monkeypatch, hand_back, at=4)
    working.work_off()
    stored = FileJob.objects.get(status=Status.SUCCEEDED).stored
    assert stored == sum(len(piece.data) for piece in FilePiece.objects.all())
    assert begun[0] < stored < 800 < begun[0] + stored


def test_pieces_of_a_job_that_is_given_up_are_deleted(ask):
    ask()
    working.claim().save(b"x", 1)
    FileJob.objects.update(alive_at=timezone.now() - 2 * working.DEAD, runs=working.MOST_RUNS)
    working.take_back_dead()
    assert (FileJob.objects.get().stored, FilePiece.objects.count()) == (0, 0)


def test_a_canceled_job_stops_at_its_next_rows_and_leaves_no_piece(ask, small_steps, monkeypatch):
    job = ask()
    now_and_then(monkeypatch, lambda run: asking.cancel(job), at=3)
    working.work_off()
    job.refresh_from_db()
    assert (job.status, job.size, FilePiece.objects.count()) == (Status.CANCELED, 0, 0)


def test_a_worker_that_is_told_to_end_hands_its_job_to_the_next(ask, small_steps, monkeypatch):
    ask()
    monkeypatch.setattr(state, "should_stop", 0)
    running_one = working.claim()
    working.carry_out(running_one)
    job = FileJob.objects.get()
    assert (job.status, job.runs) == (Status.QUEUED, 0)
    working.work_off()  # it takes nothing more
    assert FileJob.objects.get().status == Status.QUEUED


def test_a_fault_of_ours_is_logged_and_the_job_says_so(ask, monkeypatch, caplog):
    ask()
    monkeypatch.setattr(exporting.writing, "write", lambda *_: 1 / 0)
    with caplog.at_level(logging.ERROR):
        working.work_off()
    assert FileJob.objects.get().errors[0]["code"] == "server_error"
    assert "ZeroDivisionError" in caplog.text


def test_a_lost_database_leaves_the_job_to_be_taken_up_again(ask, monkeypatch):
    def lose(*_):
        raise OperationalError

    ask()
    monkeypatch.setattr(exporting.writing, "write", lose)
    with pytest.raises(OperationalError):
        working.work_off()
    assert FileJob.objects.get().status == Status.RUNNING


def test_a_sheet_has_a_limit_and_a_file_no_more_than_its_room(ask, small_steps, monkeypatch, settings):
    monkeypatch.setitem(writing.MOST, FileJob.Format.XLSX, 20)
    ask(format="xlsx")
    settings.FILES_CAP = 200
    ask()
    working.work_off()
    codes = {job.format: job.errors[0] for job in FileJob.objects.all()}
    assert codes["xlsx"] == {"row": "", "code": "too_many_rows", "values": {"most": "20"}}
    assert codes["csv"]["code"] == "too_large"
    assert not FilePiece.objects.exists()


def test_a_sheet_of_a_job_is_a_sheet(ask, small_steps):
    job = ask(format="xlsx")
    working.work_off()
    sheet = load_workbook(io.BytesIO(b"".join(pieces.read(job)))).active
    assert (sheet.max_row, sheet["A31"].value) == (31, "DOCK0030")


def test_half_sheets_of_killed_workers_are_deleted_after_a_day(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, age in (("openpyxl.old", 90_000), ("openpyxl.new", 60), ("other.old", 90_000)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    writing.delete_left_over()
    assert {file.name for file in tmp_path.iterdir()} == {"openpyxl.new", "other.old"}


def test_sqlite_reads_the_same_rows_in_the_same_order(ask, small_steps, monkeypatch):
    rows = Device.objects.order_by("-sn")
    with_cursor = [[row.sn for row in chunk] for chunk in writing.chunks(rows, rows)]
    monkeypatch.setattr(writing, "connection", type("SQLite", (), {"vendor": "sqlite"}))
    assert [[row.sn for row in chunk] for chunk in writing.chunks(rows, rows)] == with_cursor
    assert [len(chunk) for chunk in with_cursor] == [10, 10, 10]


# --- imports -----------------------------------------------------------------------------------------


def test_an_upload_is_tried_out_then_confirmed_then_saved(ask, small_steps):
    job = ask(kind=Kind.IMPORT, source=upload(*named()), dry_run=True)
    working.work_off()
    job.refresh_from_db()
    assert (job.status, job.outcome["changed"], job.done) == (Status.WAITING, 30, 30)
    assert not Device.objects.exclude(callsign="").exists()
    assert asking.confirm(job)
    assert not asking.confirm(job)
    working.work_off()
    job.refresh_from_db()
    assert (job.status, job.done, job.total) == (Status.SUCCEEDED, 30, 30)
    assert Device.objects.get(sn="DOCK0030").callsign == "Pier 30"
    assert AuditEvent.objects.filter(action="change", request_id=job.request_id).count() == 30
    assert FileJob.objects.defer(None).get().source is None


def test_nothing_is_asked_about_a_file_that_changes_nothing(ask):
    job = ask(kind=Kind.IMPORT, source=upload("DOCK0001,"), dry_run=True)
    working.work_off()
    job.refresh_from_db()
    assert (job.status, job.outcome["unchanged"]) == (Status.SUCCEEDED, 1)


def test_a_row_that_is_there_twice_is_named_wherever_it_is(ask, small_steps):
    job = ask(kind=Kind.IMPORT, source=upload(*named(), "DOCK0001,Again"), dry_run=True)
    working.work_off()
    job.refresh_from_db()
    assert (job.status, job.errors) == (
        Status.FAILED,
        [{"row": "32", "text": "DOCK0001 is in row 2 already."}],
    )


def test_a_dry_run_finds_the_limit_of_an_organization_wherever_it_is_reached(ask, small_steps, staff, organization):
    organization.device_limit = 30 + 15
    organization.save()
    rows = [f"NEW{number},12345678" for number in range(30)]
    file = ("sn,organization_id\n" + "\n".join(rows)).encode()
    job = ask(user=staff, kind=Kind.IMPORT, source=file, dry_run=True)
    working.work_off()
    job.refresh_from_db()
    assert (job.status, job.outcome["new"]) == (Status.FAILED, 15)
    assert [error["row"] for error in job.errors] == [str(number) for number in range(17, 32)]


def test_an_import_goes_on_after_the_rows_that_the_dead_worker_saved(ask, small_steps, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(run):
        raise Killed

    job = ask(kind=Kind.IMPORT, source=upload(*named()))
    with monkeypatch.context() as patch:
        now_and_then(patch, kill, at=3 + 2)  # three steps tried out, one saved
        with pytest.raises(Killed):
            working.work_off()
    assert Device.objects.exclude(callsign="").count() == 10
    FileJob.objects.update(alive_at=timezone.now() - 2 * working.DEAD)
    working.work_off()
    job.refresh_from_db()
    assert (job.status, job.outcome["changed"]) == (Status.SUCCEEDED, 30)
    assert AuditEvent.objects.filter(action="change").count() == 30


def test_what_has_changed_since_it_was_tried_out_stops_the_import_and_says_where(ask, small_steps, organization):
    job = ask(kind=Kind.IMPORT, source=upload(*named()), dry_run=True)
    working.work_off()
    asking.confirm(job)
    Device.objects.filter(sn="DOCK0015").update(organization=None)
    working.work_off()
    job.refresh_from_db()
    assert (job.status, job.done, [error["row"] for error in job.errors]) == (Status.FAILED, 10, ["16"])
    assert Device.objects.exclude(callsign="").count() == 10


def test_who_is_no_longer_an_operator_imports_nothing(ask, organization):
    olga = member("olga", organization, Role.OPERATOR)
    job = ask(user=olga, kind=Kind.IMPORT, source=upload(*named()))
    Membership.objects.filter(user=olga).update(role=Role.VIEWER)
    working.work_off()
    job.refresh_from_db()
    assert (job.status, job.errors[0]["code"]) == (Status.FAILED, "not_allowed")
    assert not Device.objects.exclude(callsign="").exists()
