"""The operator's guide: the same in both languages, in words that the pages really have, and a page of the admin."""

import re
from collections import Counter
from functools import cache

import pytest
from django.contrib import admin
from django.contrib.staticfiles import finders
from django.urls import reverse
from django.utils import translation

from cloudapi import urls
from cloudapi.admin import help_page
from organizations.language import catalogues
from tests.organizations.language.test_catalogues import PLACEHOLDER, glossary, texts
from tests.stack import ROOT

LANGUAGES = sorted(help_page.GUIDES)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
NAME = re.compile(r"\*\*(.+?)\*\*")
CODE = re.compile(r"`([^`\n]+)`")


def parts(language):
    """(level of the heading, its text, what follows it) of each part of a guide."""
    _, *pieces = HEADING.split(help_page.GUIDES[language].read_text())
    return list(zip(map(len, pieces[::3]), pieces[1::3], pieces[2::3], strict=True))


PAIRS = list(zip(parts("en"), parts("zh-hans"), strict=True))  # a part that one of them lacks fails here
SHAPES = {
    "items": r"^ *(?:\*|\d+\.) ",
    "rows": r"^\|",
    "images": r"^!\[",
    "links": r"(?<!!)\[[^\]]+\]\(",
    "paragraphs and the like": r"\n{2,}(?=.)",
}


@cache
def messages():
    """English and Chinese of every text of ours."""
    found = set()
    for app in catalogues.APPS:
        for domain in (catalogues.PAGES, catalogues.SCRIPTS):
            for one in catalogues.read(catalogues.path_of(app, domain)):
                found |= {(english, texts(one)[0]) for english in ([one.id] if isinstance(one.id, str) else one.id)}
    return found


def names(text):
    """What is bold in a text, whose lines may end anywhere."""
    return NAME.findall(re.sub(r"\s+", " ", CODE.sub("", text)))


def pattern(text):
    """Of a text of the pages with an example in place of its value."""
    return r"(\d+|…)".join(map(re.escape, PLACEHOLDER.split(text)))


def chinese(name):
    """How the pages say this in Chinese; nothing if no page says it. Names of models are small in the code."""
    spellings = {name, name[0].lower() + name[1:]}
    with translation.override("zh-hans"):  # Django's own words
        found = {translation.gettext(text) for text in spellings} - spellings
    found |= {theirs for ours, theirs in messages() if ours in spellings and theirs}
    if not found and re.search(r"\d|…", name):  # an example stands for a value
        for ours, theirs in messages():
            if PLACEHOLDER.search(ours) and (match := re.fullmatch(pattern(ours), name)):
                found.add(re.sub(PLACEHOLDER, match[1], theirs))
    return found


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0][1])
def test_both_guides_have_the_same_parts_with_the_same_code(pair):
    (level, _, english), (their_level, _, theirs) = pair
    assert their_level == level
    for shape, regex in SHAPES.items():
        assert len(re.findall(regex, theirs, re.MULTILINE)) == len(re.findall(regex, english, re.MULTILINE)), shape
    assert Counter(CODE.findall(theirs)) == Counter(CODE.findall(english))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0][1])
def test_what_is_bold_is_a_word_of_the_pages_in_either_language(pair):
    """A button that has a new name fails here."""
    (_, _, english), (_, _, theirs) = pair
    left = names(theirs)
    for name in names(english):
        assert chinese(name), f"no page says: {name}"
        match = next((one for one in left if one in chinese(name)), None)
        assert match, f"in Chinese {name} is {chinese(name)}, and not one of {left}"
        left.remove(match)
    assert left == []


def test_the_chinese_guide_has_the_words_of_the_glossary():
    text = help_page.GUIDES["zh-hans"].read_text()
    assert [word for _, _, never in glossary() for word in never if word in text] == []


def test_a_word_that_no_page_says_is_noticed():
    assert chinese("Release from …") == {"从 … 解绑"}
    assert chinese("Connections") == chinese("connections") != set()
    assert chinese("Launch selected docks") == set()
    assert chinese("Launch the 4 that failed") == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_guide_is_read_as_it_was_meant(language):
    with translation.override(language):
        found = help_page.guide(language)
    assert [part.title for part in found.parts] == [title for _, title, _ in parts(language)[1:]]
    assert "**" not in re.sub("<code>.*?</code>", "", found.html)
    for image in re.findall(r'<img src="/static/([^"]+)"', found.html):
        assert finders.find(image), image
    anchors = {part.anchor for part in found.parts}
    assert set(re.findall(r'href="#([^"]+)"', found.html)) <= anchors == set(re.findall(r' id="([^"]+)"', found.html))


def test_html_in_a_guide_is_shown_as_text(monkeypatch, tmp_path):
    guide = tmp_path / "guide"
    guide.write_text("# Guide\n\n## Part\n\n<script>alert(1)</script> [a](javascript:alert(1))\n")
    monkeypatch.setitem(help_page.GUIDES, "en", guide)
    html = help_page.guide.__wrapped__("en").html
    assert "<script" not in html
    assert 'href="javascript' not in html


def test_links_to_the_guide_lead_to_parts_of_it():
    anchors = {part.anchor for part in help_page.guide("en").parts}
    templates = "".join(path.read_text() for path in (ROOT / "templates").rglob("*.html"))
    named = set(re.findall(r'help_link.html" with part="([^"]+)"', templates))
    assert len(named) > 3
    assert named | set(help_page.PARTS.values()) <= anchors


def test_pages_that_have_a_part_of_the_guide_exist():
    known = {one.name for one in [*urls.urlpatterns, *admin.site.get_urls()] if getattr(one, "name", None)}
    for model, model_admin in admin.site._registry.items():
        known |= {one.name for one in model_admin.get_urls() if getattr(one, "name", None)}
        known.add(f"{model._meta.app_label}_{model._meta.model_name}")
    assert set(help_page.PARTS) - known == set()


@pytest.mark.parametrize(("language", "title"), [("en", "Operator's guide"), ("zh-hans", "操作员指南")])
def test_the_guide_is_in_the_language_of_the_person(client, bob, language, title):
    client.force_login(bob)
    text = client.get(reverse("admin:help"), headers={"Accept-Language": language}).content.decode()
    assert f"<h1>{title.replace(chr(39), '&#x27;')}</h1>" in text
    assert all(f'<a href="#{part.anchor}">{part.title}</a>' in text for part in help_page.guide(language).parts)


def test_a_page_leads_to_its_part_of_the_guide(client, alice):
    client.force_login(alice)
    licenses = client.get(reverse("admin:licenses_unlocklicense_changelist")).content.decode()
    assert '<a href="/admin/help/#unlock-licenses">Help</a>' in licenses
    assert 'href="/admin/help/#unlock-licenses" aria-label="Help: Unlock licenses"' in licenses
    journal = client.get(reverse("admin:mqtt_bridge_exchange_changelist")).content.decode()
    assert 'href="/admin/help/#messages" aria-label="Help: Journal"' in journal
