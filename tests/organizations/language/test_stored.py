"""Sentences of rows, which are kept in English, as a Chinese page shows them."""

import pytest
from django.utils.translation import gettext_lazy, override

from organizations.language import stored


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("Authorization zones", "授权区"),
        ("type 77", "类型 77"),
        ("4TADL1: type 77", "4TADL1：类型 77"),
        ("Power; type 8", "功率；类型 8"),
        ("what nobody has translated", "what nobody has translated"),
        ("", ""),
    ],
)
def test_stored_sentences_are_translated_when_they_are_shown(text, chinese):
    with override("zh-hans"):
        assert stored.shown(text) == chinese
    with override("en"):
        assert stored.shown(text) == text


def test_rows_keep_english():
    with override("zh-hans"):
        assert stored.english(gettext_lazy("Authorization zones")) == "Authorization zones"
