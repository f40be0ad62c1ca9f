"""Fields that are encrypted at rest."""

from io import StringIO

import pytest
from cryptography.fernet import Fernet, MultiFernet
from django.core import serializers
from django.core.management import CommandError, call_command
from django.db import connection

from organizations import encryption
from organizations.models import AuditEvent, FileJob, Organization

pytestmark = pytest.mark.django_db


def test_dump_of_the_data_holds_no_secret_and_loads_it_again(organization):
    Organization.objects.update(app_id="1", app_key="s3cret-key", app_license="s3cret-license")
    dump = serializers.serialize("json", Organization.objects.all())
    assert "s3cret" not in dump
    Organization.objects.all().delete()
    for loaded in serializers.deserialize("json", dump):
        loaded.save()
    restored = Organization.objects.get()
    assert (restored.app_key, restored.app_license) == ("s3cret-key", "s3cret-license")


def test_text_that_is_no_token_of_ours_is_taken_as_it_is(organization):
    field = Organization._meta.get_field("app_key")
    assert [field.to_python(text) for text in ("plain", "", "gAAAAABnonsense", "schlüssel")] == [
        "plain",
        "",
        "gAAAAABnonsense",
        "schlüssel",
    ]


OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def stored_tokens():
    with connection.cursor() as cursor:
        cursor.execute("SELECT app_key FROM organizations_organization WHERE app_key <> '' ORDER BY id")
        return [token for (token,) in cursor.fetchall()]


@pytest.fixture
def encrypted_by_the_old_key(settings):
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    for number in range(7):
        Organization.objects.create(organization_id=f"1000000{number}", name=f"N{number}", app_key=f"key {number}")
    return stored_tokens()


def rotate():
    call_command("rotate_encryption_keys", stdout=StringIO())


def test_after_a_rotation_the_old_key_is_not_needed(encrypted_by_the_old_key, settings, monkeypatch):
    monkeypatch.setattr(encryption, "PIECE", 3)
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    rotate()
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    keys = Organization.objects.exclude(app_key="").order_by("pk").values_list("app_key", flat=True)
    assert list(keys) == [f"key {number}" for number in range(7)]
    [event] = AuditEvent.objects.filter(action="rotate_key")
    assert event.after == {"encrypted_again": 7, "current": 0, "lost": 0}
    assert event.object_name == "organizations.Organization.app_key"


def test_a_file_that_is_shown_once_is_encrypted_again_too(organization, settings):
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    values = {"kind": FileJob.Kind.IMPORT, "table": "binding-codes", "format": FileJob.Format.CSV}
    job = FileJob.objects.create(organization=organization, result=encryption.cipher().encrypt(b"K7QM"), **values)
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    rotate()
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    [file] = FileJob.objects.filter(pk=job.pk).values_list("result", flat=True)
    assert encryption.cipher().decrypt(bytes(file)) == b"K7QM"


def test_a_rotation_that_was_cut_short_goes_on(encrypted_by_the_old_key, settings, monkeypatch):
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    monkeypatch.setattr(encryption, "PIECE", 2)
    turns, rotate_token = iter(range(5)), MultiFernet.rotate

    def cut(self, token):
        if next(turns) == 4:
            raise KeyboardInterrupt
        return rotate_token(self, token)

    with monkeypatch.context() as patch:
        patch.setattr(MultiFernet, "rotate", cut)
        with pytest.raises(KeyboardInterrupt):
            rotate()
    assert sum(before == now for before, now in zip(encrypted_by_the_old_key, stored_tokens(), strict=True)) == 3
    rotate()
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert list(Organization.objects.exclude(app_key="").values_list("app_key", flat=True))


def test_a_second_rotation_changes_nothing(encrypted_by_the_old_key, settings):
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    rotate()
    before = stored_tokens()
    rotate()
    assert stored_tokens() == before != encrypted_by_the_old_key
    assert AuditEvent.objects.filter(action="rotate_key").count() == 1


def test_what_no_key_opens_is_counted_and_left(encrypted_by_the_old_key, settings):
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    with pytest.raises(CommandError, match="7 values: no key"):
        rotate()
    assert stored_tokens() == encrypted_by_the_old_key


def test_every_encrypted_field_is_found():
    assert {str(done.field) for done in encryption.rotate()} >= {
        "organizations.Organization.app_key",
        "organizations.Organization.app_license",
        "devices.BrokerAccount.pending",
        "devices.ServiceCallSecret.sealed",
    }
