"""What the database shows of commands and of the broker's accounts."""

from datetime import timedelta

import pytest
from django.utils import timezone

from cloudapi.monitoring import database
from devices.models import BrokerAccount, ServiceCall
from organizations.models import FileJob

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _afresh(monkeypatch):
    monkeypatch.setattr(database, "_cached", (-database.CACHED, []))


def shown():
    samples = [sample for metric in database.DatabaseCollector().collect() for sample in metric.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def make_call(device, **fields):
    return ServiceCall.objects.create(
        device=device, organization=device.organization, method="unlock_license_list", **fields
    )


def test_commands_are_shown_by_state_age_and_whether_anybody_closes_them(dock, django_assert_max_num_queries):
    now = timezone.now()
    make_call(dock, subject="a", created=now - timedelta(seconds=40))
    make_call(dock, subject="b", status="sent", deadline=now - timedelta(seconds=90))
    make_call(dock, subject="c", status="sent", deadline=now - timedelta(seconds=5))
    make_call(dock, subject="d", status="succeeded", closed=now)
    with django_assert_max_num_queries(12):
        figures = shown()
    assert figures["service_calls_open", "queued"] == 1
    assert figures["service_calls_open", "sent"] == 2
    assert ("service_calls_open", "succeeded") not in figures
    assert 40 <= figures["service_calls_oldest_queued_seconds",] < 100
    assert figures["service_calls_overdue",] == 1


def test_an_import_or_export_that_nobody_takes_is_shown_by_its_age():
    moment = timezone.now() - timedelta(seconds=40)
    FileJob.objects.create(kind="export", table="devices", status="queued", created=moment)
    FileJob.objects.create(kind="export", table="devices", status="running", created=moment - timedelta(days=1))
    assert 40 <= shown()["file_jobs_oldest_waiting_seconds",] < 100


def test_what_takes_longer_is_not_read_at_each_scrape(dock):
    shown()
    make_call(dock, subject="a")
    assert shown()["service_calls_open", "queued"] == 0


@pytest.mark.parametrize(("minutes", "late"), [(5, 1), (0, 0)])
def test_an_account_that_the_broker_should_have_by_now_is_out_of_step(dock, settings, minutes, late):
    settings.MQTT_ADMIN_URL = "mqtt://admin:password@127.0.0.1:1"
    account = BrokerAccount.objects.create(username=dock.sn, kind="dock", device=dock, digest="", salt="")
    BrokerAccount.objects.filter(pk=account.pk).update(updated=timezone.now() - timedelta(minutes=minutes))
    assert shown()["broker_accounts_out_of_step",] == late


def test_a_statement_that_fails_is_a_figure_and_no_failure(monkeypatch):
    monkeypatch.setattr(database.Exchange._meta, "db_table", "no_such_table")
    figures = shown()
    assert figures["database_up",] == 0
    assert "bridge_up" not in str(figures)
