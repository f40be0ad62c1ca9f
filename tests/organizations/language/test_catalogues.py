"""The Chinese of what people read is complete, and says the same."""

import re
from collections import defaultdict
from itertools import product

import pytest

from organizations.language import catalogues

EACH = [
    pytest.param(app, domain, id=f"{app}-{domain.name}")
    for app, domain in product(catalogues.APPS, (catalogues.PAGES, catalogues.SCRIPTS))
]
PLACEHOLDER = re.compile(r"{\w*}|%\(\w+\)[sd]|%[sd%]")


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
        for chinese in texts(one) if one.id else ():
            assert set(PLACEHOLDER.findall(chinese)) == set(PLACEHOLDER.findall(english[-1])), english


@pytest.mark.parametrize("domain", [catalogues.PAGES, catalogues.SCRIPTS], ids=lambda domain: domain.name)
def test_a_text_reads_the_same_wherever_it_stands(domain):
    known = defaultdict(set)
    for app in catalogues.APPS:
        for one in catalogues.read(catalogues.path_of(app, domain)):
            known[one.context, str(one.id)].update(texts(one))
    assert {key: found for key, found in known.items() if len(found) > 1} == {}
