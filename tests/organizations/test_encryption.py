"""Fields that are encrypted at rest."""

import pytest
from django.core import serializers

from organizations.models import Organization

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
