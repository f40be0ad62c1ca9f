"""The catalogues of what people read: from the sources into `.po` files, and from those into the `.mo` that is read.

Each app has its own, so that several people can translate at once. Templates and scripts belong to the app of their
folder. A message that Django translates itself is not repeated.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from datetime import UTC, datetime
from gettext import GNUTranslations
from pathlib import Path
from typing import Any, NamedTuple

import django
from babel.messages import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract, extract_javascript, extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.apps import apps
from django.conf import settings
from django.utils.translation.template import templatize

APPS = ("cloudapi", "organizations", "devices", "licenses", "mqtt_bridge")
LOCALE = "zh_Hans"
TEMPLATES_OF = {"people": "organizations"}  # folders of templates/admin that are not named after their app
KEYWORDS = DEFAULT_KEYWORDS | {
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": DEFAULT_KEYWORDS["ngettext"],
    "pgettext_lazy": DEFAULT_KEYWORDS["pgettext"],
    "npgettext_lazy": DEFAULT_KEYWORDS["npgettext"],
}
HEADER = """\
# What people read in Chinese. `manage.py messages` writes this file and the .mo beside it: edit the msgstr lines only.
msgid ""
msgstr ""
"Language: zh_Hans\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""

Message = tuple[str, str | tuple[str, ...], str | None]  # the file, the text or its singular and plural, the context


class Domain(NamedTuple):
    """Which sources a catalogue of this name is made of."""

    name: str
    root: str
    suffixes: tuple[str, ...]


PAGES = Domain("django", "templates", (".py", ".html", ".txt"))
SCRIPTS = Domain("djangojs", "static", (".js",))


def path_of(app: str, domain: Domain) -> Path:
    """Of the catalogue's `.po`; its `.mo` lies beside it."""
    return settings.BASE_DIR / app / "locale" / LOCALE / "LC_MESSAGES" / f"{domain.name}.po"


def read(path: Path) -> Catalog:
    """A catalogue as it is on the disk; empty if there is none."""
    return read_po(io.BytesIO(path.read_bytes() if path.exists() else HEADER.encode()), locale=LOCALE, domain=path.stem)


def updated(app: str, domain: Domain) -> Catalog:
    """The catalogue with exactly the messages of the sources; new ones are empty."""
    theirs, found = _of_django(domain), Catalog(locale=LOCALE)
    for file, text, context in _messages(app, domain):
        if (context, text if isinstance(text, str) else text[0]) not in theirs:
            found.add(text, locations=[(file, 0)], context=context)
    catalogue = read(path_of(app, domain))
    catalogue.update(found, no_fuzzy_matching=True)
    return catalogue


def as_po(catalogue: Catalog) -> bytes:
    """The text of the `.po` file."""
    file = io.BytesIO()
    write_po(file, catalogue, width=120, omit_header=True, sort_output=True, ignore_obsolete=True, include_lineno=False)
    return HEADER.encode() + file.getvalue()


def as_mo(catalogue: Catalog) -> bytes:
    """The bytes of the `.mo` file: the same for the same messages."""
    catalogue = deepcopy(catalogue)
    for one in catalogue:
        if not isinstance(one.string, str) and not all(one.string or ()):
            one.string = ""  # a plural that is not translated is English, not empty
    catalogue.creation_date = catalogue.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def untranslated(catalogue: Catalog) -> list[str]:
    """The English of the messages without a translation, or with one that nobody has looked at."""
    return [
        str(one.id)
        for one in catalogue
        if one.id and (one.fuzzy or not all(one.string if isinstance(one.string, tuple | list) else [one.string]))
    ]


def _messages(app: str, domain: Domain) -> Iterator[Message]:
    for path in sorted(_sources(app, domain)):
        method: Callable[..., Any] = extract_javascript if path.suffix == ".js" else extract_python
        text = path.read_text()
        if path.suffix in (".html", ".txt"):
            # Django's own reader makes calls of Python of it; what is around them stays as X.
            text = "\n".join(line.lstrip() for line in templatize(text, origin=str(path)).splitlines())
        name = path.relative_to(settings.BASE_DIR).as_posix()
        for _, message, _, context in extract(
            method, io.BytesIO(text.encode()), keywords=KEYWORDS, options={"encoding": "utf-8"}
        ):
            yield name, message, context


def _sources(app: str, domain: Domain) -> Iterable[Path]:
    base = settings.BASE_DIR
    if domain is PAGES:
        yield from (path for path in (base / app).rglob("*.py") if "migrations" not in path.parts)
    for path in (base / domain.root).rglob("*"):
        folders = path.relative_to(base / domain.root).parent.parts
        owner = next(
            (TEMPLATES_OF.get(name, name) for name in folders if TEMPLATES_OF.get(name, name) in APPS), "cloudapi"
        )
        if path.suffix in domain.suffixes and owner == app and "leaflet" not in folders:
            yield path


def _of_django(domain: Domain) -> set[tuple[str | None, str]]:
    """Context and English of what Django translates itself."""
    known = set()
    installed = [Path(app.path) for app in apps.get_app_configs() if app.name.startswith("django.")]
    for folder in (Path(django.__file__).parent / "conf", *installed):
        path = folder / "locale" / LOCALE / "LC_MESSAGES" / f"{domain.name}.mo"
        if not path.exists():
            continue
        with path.open("rb") as file:
            keys = GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for key in keys:
            text = key[0] if isinstance(key, tuple) else key  # with the number of a plural form
            context, _, english = text.rpartition("\x04")
            known.add((context or None, english))
    return known
