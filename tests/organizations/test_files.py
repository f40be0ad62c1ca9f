"""Imports and exports that a worker carries out."""

import pytest

from organizations.models import FileJob

pytestmark = pytest.mark.django_db


def test_a_list_of_jobs_loads_no_file_and_shows_none_of_another_organization(organization, alice, charlie):
    job = FileJob.objects.create(organization=organization, kind="export", table="devices", result=b"SN")
    FileJob.objects.create(kind="export", table="devices")
    assert FileJob.objects.visible_to(alice).get().get_deferred_fields() == {"source", "result"}
    assert bytes(FileJob.objects.get(pk=job.pk).result) == b"SN"
    assert not FileJob.objects.visible_to(charlie).exists()
