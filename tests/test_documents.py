"""Every file and name that the repository's texts refer to exists."""

import re
import subprocess

import pytest

from tests.stack import ROOT
from tests.test_house import APPS

# `devices/mqtt.py`: `airport_organization_bind`
CODE = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.py)`(?:: `(\w+)`)?")
TEST = re.compile(r"`(?:[\w/]+\.py::)?(test_\w+)`")
DOCUMENT = re.compile(r"(?<![\w./:-])((?:\.{0,2}/)?(?:[\w.-]+/)*[\w-][\w.-]*\.md)\b")


def tracked_texts():
    """(path in the repository, text) of every tracked file that is text and no list of packages."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in content:
            yield name, content.decode()


def missing(name, text):
    """The documents that this text names and that are neither beside it nor under the root."""
    folders = ((ROOT / name).parent, ROOT)
    return {found for found in DOCUMENT.findall(text) if not any((folder / found).is_file() for folder in folders)}


def test_every_document_that_a_text_names_is_there():
    assert {name: found for name, text in tracked_texts() if (found := missing(name, text))} == {}


def test_every_module_and_name_that_a_document_sends_a_reader_to_is_there():
    found = 0
    for document, text in tracked_texts():
        for path, name in CODE.findall(text) if document.endswith(".md") else ():
            [source, *_] = [folder / path for folder in ((ROOT / document).parent, ROOT) if (folder / path).is_file()]
            assert not name or re.search(rf"^(def |class )?{name}\b", source.read_text(), re.MULTILINE), (path, name)
            found += 1
    assert found > 20


def test_every_test_that_a_document_names_is_there():
    texts = dict(tracked_texts())
    named = {name for document, text in texts.items() if document.endswith(".md") for name in TEST.findall(text)}
    assert len(named) > 50
    written = {
        name
        for path, text in texts.items()
        if path.startswith("tests/")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", text, re.MULTILINE)
    }
    assert named - written == set()


def test_the_architecture_names_every_package():
    """But those that every app may have: its doors, and what Django looks for there."""
    everywhere = {"admin", "api", "management", "migrations", "templatetags"}
    text = (ROOT / "docs/architecture.md").read_text()
    packages = [path.parent for app in APPS for path in (ROOT / app).glob("*/__init__.py")]
    names = [str(path.relative_to(ROOT)) for path in packages if path.name not in everywhere]
    assert len(names) > 15
    assert [name for name in names if f"`{name}/`" not in text] == []


def test_every_threat_has_a_test():
    """Each row of each table of threats names a test, or a document that does."""
    rows = list(tables_of_threats((ROOT / "docs/security.md").read_text()))
    assert len(rows) > 60
    assert [row for row in rows if not re.search(r"`tests/|`test_|the same", row.rsplit("|", 2)[1])] == []


def tables_of_threats(text):
    """The rows of the tables whose last column is "Test and figure"."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *rows = table.splitlines()
        if head.endswith("| Test and figure |"):
            yield from rows


def test_a_threat_without_a_test_is_noticed():
    table = "| Threat | Control | Test and figure |\n|---|---|---|\n| a | `tests/x` | none |\n| b | c | `test_d` |\n"
    assert list(tables_of_threats(table)) == ["| a | `tests/x` | none |", "| b | c | `test_d` |"]


# Without the ending, for this file is one of those that are read.
@pytest.mark.parametrize("name", ["see GONE", "(docs/gone", "`../gone", "[why](decisions/gone"])
def test_a_missing_document_is_noticed(name):
    assert len(missing("docs/configuration", f"{name}.md")) == 1


@pytest.mark.parametrize("name", ["docs/protocol", "[why](decisions/0002-waves", "*", "https://example.org/gone"])
def test_a_document_that_is_there_or_elsewhere_is_not(name):
    assert missing("docs/configuration", f"{name}.md") == set()
