"""The Chinese of what people read is complete, and says the same."""

import io
import re
from collections import defaultdict
from gettext import GNUTranslations
from itertools import product
from pathlib import Path

import pytest
from babel.messages import Catalog

from organizations.language import catalogues

EACH = [
    pytest.param(app, domain, id=f"{app}-{domain.name}")
    for app, domain in product(catalogues.APPS, (catalogues.PAGES, catalogues.SCRIPTS))
]
PLACEHOLDER = re.compile(r"{\w*(?::[^{}]*)?}|%\(\w+\)[sd]|%[sd%]")


def texts(one):
    return [one.string] if isinstance(one.string, str) else list(one.string)


@pytest.mark.parametrize(("app", "domain"), EACH)
def test_every_text_of_the_sources_is_there_in_chinese_and_compiled(app, domain):
    catalogue, path = catalogues.updated(app, domain), catalogues.path_of(app, domain)
    assert catalogues.untranslated(catalogue) == []
    if len(catalogue):
        assert path.read_bytes() == catalogues.as_po(catalogue), "run: manage.py messages"
        assert path.with_suffix(".mo").read_bytes() == catalogues.as_mo(catalogue), "run: manage.py messages"


@pytest.mark.parametrize(("app", "domain"), EACH)
def test_chinese_has_the_same_values_as_the_english(app, domain):
    for one in catalogues.read(catalogues.path_of(app, domain)):
        english = [one.id] if isinstance(one.id, str) else list(one.id)
        for chinese in filter(None, texts(one)) if one.id else ():
            assert set(PLACEHOLDER.findall(chinese)) == set(PLACEHOLDER.findall(english[-1])), english


@pytest.mark.parametrize("domain", [catalogues.PAGES, catalogues.SCRIPTS], ids=lambda domain: domain.name)
def test_a_text_reads_the_same_wherever_it_stands(domain):
    known = defaultdict(set)
    for app in catalogues.APPS:
        for one in catalogues.read(catalogues.path_of(app, domain)):
            known[one.context, str(one.id)].update(filter(None, texts(one)))
    assert {key: found for key, found in known.items() if len(found) > 1} == {}


# --- the words of GLOSSARY.tsv -------------------------------------------------------------------


def glossary():
    """English, Chinese, and the words that are never used for it."""
    path = Path(catalogues.__file__).with_name("GLOSSARY.tsv")
    lines = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return [(english, chinese, never.split()) for english, chinese, never in lines]


def wrong_words(english, chinese):
    """The terms of an English text that its Chinese does not have, and what it must not have."""
    wrong, english = [], PLACEHOLDER.sub(" ", english)
    for term, word, _ in sorted(glossary(), key=lambda line: -len(line[0])):
        english, found = re.subn(rf"\b{term}(e?s|'s)?\b", " ", english, flags=re.IGNORECASE)
        if found and word not in chinese:
            wrong.append(f"{term}: {word}")
    return wrong + [word for _, _, never in glossary() for word in never if word in chinese]


@pytest.mark.parametrize(("app", "domain"), EACH)
def test_dji_and_we_call_a_thing_by_one_word(app, domain):
    for one in catalogues.read(catalogues.path_of(app, domain)):
        english = one.id if isinstance(one.id, str) else one.id[-1]
        for chinese in filter(None, texts(one)) if english else ():
            assert wrong_words(english, chinese) == [], english


@pytest.mark.parametrize(
    ("english", "chinese", "wrong"),
    [
        ("{count} docks offline", "{count} 个机场离线", []),
        ("the aircraft", "无人机", ["aircraft: 飞行器", "无人机"]),
        ("from the command line", "用命令行", []),
        ("two batches", "两批", ["batch: 批次"]),
        ("DOCK_MQTT_URL", "DOCK_MQTT_URL", []),
        ("{dock} and %(dock)s", "{dock} 和 %(dock)s", []),
    ],
)
def test_a_wrong_word_is_found(english, chinese, wrong):
    assert wrong_words(english, chinese) == wrong


def test_what_is_not_translated_is_in_english():
    """A plural without Chinese would else be an empty text."""
    catalogue = Catalog(locale=catalogues.LOCALE)
    catalogue.add(("{n} dock", "{n} docks"), string=("",))
    catalogue.add("Dock")
    compiled = GNUTranslations(io.BytesIO(catalogues.as_mo(catalogue)))
    assert compiled.ngettext("{n} dock", "{n} docks", 2) == "{n} docks"
    assert compiled.gettext("Dock") == "Dock"
