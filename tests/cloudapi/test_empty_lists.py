"""A list without rows says what to do next, or why there is nothing to do."""

import re

import pytest
from django.contrib import admin
from django.urls import reverse

from cloudapi import urls  # noqa: F401  (registers the pages)

MODELS = [model for model in admin.site._registry if model._meta.app_label not in ("auth", "axes")]


@pytest.mark.django_db
def test_every_list_without_rows_says_more_than_that_it_is_empty(client, staff):
    client.force_login(staff)
    said = {}
    for model in MODELS:
        page = client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
        if page.context["cl"].result_count == 0:
            [said[model.__name__]] = re.findall(r'<p class="empty-list">(.*?)</p>', page.content.decode(), re.DOTALL)
    assert len(said) > 10
    assert [name for name, text in said.items() if "<a " not in text and text.strip() == "Nothing yet."] == []
