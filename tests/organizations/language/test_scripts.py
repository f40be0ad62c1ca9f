"""The texts of scripts: each page of a person who is signed in has them in its language."""

import re

import pytest
from django.utils.translation import override

from organizations.language import scripts

pytestmark = pytest.mark.django_db
CHINESE = {"Accept-Language": "zh-hans"}


def address(client, headers=None):
    """Where the start page loads them from."""
    found = re.search(
        r'<script defer src="(/admin/jsi18n/[^"]*)"', client.get("/admin/", headers=headers).content.decode()
    )
    return found and found[1].replace("&amp;", "&")


def test_each_language_has_an_address_that_browsers_may_keep(client, alice):
    client.force_login(alice)
    english, chinese = address(client), address(client, CHINESE)
    assert english != chinese
    answer = client.get(chinese)  # whatever this browser asks for
    assert answer["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer["Content-Type"].startswith("text/javascript")
    assert "\\u" in answer.content.decode() or "选" in answer.content.decode()
    assert "newcatalog = {" not in client.get(english).content.decode()


@pytest.mark.parametrize("query", ["", "?language=zh-hans&v=old", "?language=xx&v=", "?v=1"])
def test_nothing_else_is_kept(client, alice, query):
    client.force_login(alice)
    assert client.get(f"/admin/jsi18n/{query}")["Cache-Control"] == "no-cache"


def test_the_version_changes_with_the_texts(monkeypatch):
    with override("zh-hans"):
        before = scripts.query()
        monkeypatch.setattr(scripts, "PACKAGES", ["devices"])
        scripts.texts.cache_clear()
        assert scripts.query() != before
    scripts.texts.cache_clear()


def test_nobody_else_loads_them(client):
    assert "jsi18n" not in client.get("/admin/login/").content.decode()
    assert client.get("/admin/jsi18n/").status_code == 302
