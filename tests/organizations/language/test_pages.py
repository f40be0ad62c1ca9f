"""Every page of the admin, with each translation in brackets: what is outside of them and no data is not marked."""

import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.utils import translation
from django.utils.safestring import SafeData, mark_safe

from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.result_codes import known as known_code
from mqtt_bridge.protocol.topics import Channel
from organizations import time_zones
from organizations.language import stored
from tests.cloudapi import test_admin_doors as doors
from tests.organizations.language.test_catalogues import PLACEHOLDER
from tests.organizations.language.test_marking import WORD, Page
from tests.shared_world import *  # noqa: F403  (fixtures, in place of the cast's)

COUNTED = ("ngettext", "npgettext")
PEOPLE = ("preferences", "sessions", "second-factor", "second-factor/set-up", "admin/password_change")
ALLOWED = re.compile(  # what reads the same in each language
    r"\b(Dock Cloud|DJI( Pilot 2)?|REST|API|UTC|MQTT|JSON|CSV|SN|ID|English|MD5|md5|tid|bid|[A-Z]+_[A-Z_]+|\w+://\S+|[\w-]+\.(js|md))\b|\w+\*{6,}"
)


@pytest.fixture
def bracketed(monkeypatch):
    """Texts are shown in brackets; values that are put into them are outside. The texts themselves are in the set."""
    asked = set()

    def wrapped(name, translate):
        def wrap(*args):
            text = translate(*args)
            asked.add((name, tuple(map(str, args[:-1] if name in COUNTED else args))))
            parts = re.split(f"({PLACEHOLDER.pattern}|<[^>]+>)", str(text))
            shown = "".join(part if number % 2 else part and f"⟦{part}⟧" for number, part in enumerate(parts))
            return mark_safe(shown) if isinstance(text, SafeData) else shown  # noqa: S308

        return wrap

    for name in ("gettext", "ngettext", "pgettext", "npgettext"):
        monkeypatch.setattr(translation._trans, name, wrapped(name, getattr(translation._trans, name)))
    # English is kept and shown; `test_stored.py` has the other languages.
    monkeypatch.setattr(stored, "shown", lambda text: text and f"⟦{text}⟧")
    return asked


def untranslated(asked):
    """Those of the texts that a Chinese page would show in English, whoever should have translated them."""
    found = []
    with translation.override("zh-hans"):
        for name, texts in asked:
            chinese = getattr(translation, name)(*texts, *([2] if name in COUNTED else []))
            english = ALLOWED.sub("", PLACEHOLDER.sub("", texts[-1]))
            if chinese == texts[-1] and WORD.search(english):
                found.append(texts[-1])
    return found


def values(value):
    """Every text in a JSON value."""
    if isinstance(value, dict):
        return {text for inner in value.values() for text in values(inner)}
    if isinstance(value, list | tuple):
        return {text for inner in value for text in values(inner)}
    return {value} if isinstance(value, str) else set()


def data():
    """A pattern of the texts that rows have."""
    found = {*time_zones.names()}
    for model in apps.get_models():
        fields = [field.attname for field in model._meta.concrete_fields if not field.choices]
        for row in model._default_manager.all():
            found |= values([getattr(row, name) for name in fields])
    # Words such as "admin" and "change" are data of some row, but more often nobody's.
    found -= {text for text in found if re.fullmatch("[a-z ]+", text)} - {
        *User.objects.values_list("username", flat=True)
    }
    found |= {*model_keys.PRODUCTS.values(), *Channel, known_code(325_012)}
    longest = sorted((re.escape(text) for text in found if WORD.search(text)), key=len, reverse=True)
    return re.compile(rf"(?<!\w)({'|'.join(longest)})(?!\w)")


def unmarked(html, known):
    """The words of a page that are neither in brackets nor data."""
    page = Page()
    page.feed(html)
    for pattern in (r"⟦[^⟦⟧]*⟧", known, ALLOWED):
        page.found = [re.sub(pattern, " ", text) for text in page.found]
    return [text.strip() for text in page.found if WORD.search(text)]


def pages(organization):
    """Name and address of each page; every name once."""
    for model in admin.site._registry:
        start = f"{model._meta.app_label}/{model._meta.model_name}/"
        yield start, f"/admin/{start}"
        if row := doors.row_of(model, organization):
            yield f"{start}change/", f"/admin/{start}{row.pk}/change/"
    for address in sorted(doors.OURS - {"help/"}):  # which is a file in each language
        if row := doors.row_of(doors.MODEL_OF[address], organization):
            yield address, doors.filled(address, row.pk)
    yield from (("", "/admin/"), *((name, f"/{name}/") for name in PEOPLE))  # "System" asks other servers: too slow


def test_every_page_is_marked_and_has_its_chinese(world, organization, staff, bracketed, monkeypatch):
    client, known, found = Client(), data(), {}
    client.force_login(staff)
    for name, address in pages(organization):
        response = client.get(address)
        if response.status_code == 200 and response["Content-Type"].startswith("text/html"):
            header, start, content = response.content.decode().partition('<main id="content-start"')
            found[name] = unmarked(start + content, known)
            found["header"] = unmarked("<header" + header.partition("<header")[2], known)
            is_part = not start
            assert is_part or header.count('class="language"') == 1, f"{name} cannot be read in another language"
            assert "/img/icon-" not in re.sub("<a [^>]*>.*?</a>", "", content), f"{name} has a boolean without words"
    assert len(found) > 50
    assert {name: words[:10] for name, words in found.items() if words} == {}, "mark them: docs/translating.md"
    asked = set(bracketed)
    monkeypatch.undo()
    assert untranslated(asked) == [], "a library has no Chinese for them: organizations/language/libraries.py"


def test_words_without_brackets_are_found(bracketed):
    known = re.compile("Pier 7")
    assert unmarked(f"<p>{translation.gettext('Docks')} Pier 7</p>", known) == []
    assert unmarked(f"<p title='A dock'>{translation.gettext('{name} of it').format(name='two')}</p>", known) == [
        "A dock",
        "two",
    ]
