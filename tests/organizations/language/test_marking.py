"""No text that a person reads is without a mark for translation, in templates and in Python."""

import ast
import re
from html.parser import HTMLParser

from django.template.base import Lexer, TokenType

from organizations.language.catalogues import APPS
from tests.stack import ROOT

WORD = re.compile(r"[A-Za-z]{2}")
NAMES = re.compile(r"\b(?:CSV|XLSX)\b")  # the same in each language
SHOWN = {"title", "aria-label", "alt", "placeholder"}  # attributes
RAW = {"code", "pre", "script", "style"}
NAMED = {"label", "help_text", "title", "verbose_name", "verbose_name_plural", "short_description", "empty_label",
         "empty_value_display", "message"}  # fmt: skip
SAID = {"message_user", "format_html", "error", "success", "warning"}
ERRORS = {"ValidationError", "Refused", "RefusedError", "BadRequest", "Problem", "ParseError", "NotFound",
          "AuthenticationFailed", "NotAuthenticated", "PermissionDenied", "permission_denied", "Throttled",
          "problem", "note", "ok"}  # fmt: skip  # the last three are of the page "System"
OF_ERRORS = {"detail", "default_detail", "message", "error_messages"}
CODE = re.compile("[a-z_]+")  # what tells programs which error it is
API = {"api", "rest", "api.py", "serializers.py"}  # whose documents are English, whoever reads them
CLASSES = re.compile(r"{% block (?:bodyclass|coltype) %}.*?{% endblock %}", re.DOTALL)  # of the page's body
SILENT = {"logger", "log", "self.stdout", "parser"}  # whose words go to a log or a terminal
MARKS = {"gettext", "gettext_lazy", "ngettext", "ngettext_lazy", "pgettext", "pgettext_lazy", "npgettext", "_",
         "gettext_noop"}  # fmt: skip


class Page(HTMLParser):
    """The words of a template that stand in its HTML as they are."""

    def __init__(self):
        super().__init__()
        self.found, self.raw = [], 0

    def handle_starttag(self, tag, attrs):
        self.raw += tag in RAW
        button = tag == "input" and dict(attrs).get("type") in ("submit", "button", "reset")
        shown = SHOWN | {"value"} if button else SHOWN
        self.found += [value for name, value in attrs if value and name in shown and WORD.search(value)]

    def handle_endtag(self, tag):
        self.raw -= tag in RAW

    def handle_data(self, data):
        if not self.raw and WORD.search(data):
            self.found.append(data.strip())


def words_of_html(html):
    page = Page()
    page.feed(html)
    return page.found


def words_of_template(text):
    html, translated = [], False
    for token in Lexer(CLASSES.sub("", text)).tokenize():
        name = token.contents.split(None, 1)[0] if token.contents.strip() else ""
        if token.token_type == TokenType.BLOCK and name in ("blocktranslate", "endblocktranslate"):
            translated = name == "blocktranslate"
        elif token.token_type == TokenType.BLOCK and name in ("comment", "endcomment"):
            translated = name == "comment"
        elif not translated:
            html.append(token.contents if token.token_type == TokenType.TEXT else " ")
    return words_of_html("".join(html)) + re.findall(r"\|pluralize", text)  # which knows English only


def name_of(call):
    func = call.func
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")


def is_text(node):
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.Constant) and WORD.search(str(part.value)) for part in node.values)
    return (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(WORD.search(NAMES.sub("", node.value)))
    )


def is_html(node):
    """Whether it is a pattern of HTML without words, as `format_html` takes it: elements, or attributes of one."""
    if not isinstance(node, ast.Constant) or not ("<" in node.value or '="' in node.value):
        return False
    return not words_of_html(node.value if "<" in node.value else f"<i{node.value}>")


def words_of_error(node):
    """What an error says: texts, also in lists and as values of dictionaries; not its code, nor names of fields."""
    if isinstance(node, ast.Dict):
        return [one for value in node.values for one in words_of_error(value)]
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [one for value in node.elts for one in words_of_error(value)]
    if isinstance(node, ast.DictComp | ast.ListComp):
        return words_of_error(node.value if isinstance(node, ast.DictComp) else node.elt)
    return [node] if is_text(node) and not CODE.fullmatch(getattr(node, "value", "")) else []


def words_of_call(node, named, said):
    if name_of(node) in MARKS:  # no catalogue has what is known at run time only
        return [one for one in node.args if isinstance(one, ast.JoinedStr)]
    if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in SILENT:
        return []
    found = []
    for one in node.keywords:
        if one.arg in OF_ERRORS:
            found += words_of_error(one.value)
        elif one.arg in named or (one.arg == "description" and name_of(node) in ("display", "action")):  # of the admin
            found += [one.value] if is_text(one.value) else []
    if name_of(node) in ERRORS:
        found += [one for argument in node.args for one in words_of_error(argument)]
    if name_of(node) in said:
        found += [one for one in node.args if is_text(one) and not is_html(one)]
    return found


def words_of_class(node, named):
    lines = [line for line in node.body if isinstance(line, ast.Assign)]
    found = [line.value for line in lines if is_text(line.value) and ast.unparse(line.targets[0]) in named]
    if any("Choices" in ast.unparse(base) for base in node.bases):
        values = [line.value.elts[-1] for line in lines if isinstance(line.value, ast.Tuple)]
        found += [value for value in values if is_text(value)]
    return found


def words_of_python(text, *, named=NAMED | OF_ERRORS, said=SAID):
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            found += words_of_call(node, named, said)
        elif isinstance(node, ast.ClassDef):
            found += words_of_class(node, named)
        elif isinstance(node, ast.JoinedStr):  # marks inside an f-string, which Babel does not read
            found += [one for one in ast.walk(node) if isinstance(one, ast.Call) and name_of(one) in MARKS]
    return found


def unmarked():
    """By file, the first texts of each."""
    found = {}
    for path in sorted((ROOT / "templates").rglob("*")):
        if path.suffix in (".html", ".txt"):
            found[path.relative_to(ROOT).as_posix()] = words_of_template(path.read_text())
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            if {"migrations", "management", "protocol", "simulator"} & {*path.parts}:
                continue
            of_api = {"named": OF_ERRORS, "said": set()} if API & {*path.parts} else {}
            words = words_of_python(path.read_text(), **of_api)
            found[path.relative_to(ROOT).as_posix()] = [f"{one.lineno}: {ast.unparse(one)}" for one in words]
    return {name: texts[:5] for name, texts in found.items() if texts}


def test_no_file_has_an_unmarked_text():
    assert unmarked() == {}, "mark them: docs/translating.md"


def test_unmarked_texts_are_found():
    assert words_of_template("<p title='A dock'>Two docks</p>{% blocktranslate %}no{% endblocktranslate %}") == [
        "A dock",
        "Two docks",
    ]
    assert words_of_template("{% translate 'Docks' %} <code>sn</code> {{ count }}") == []
    assert len(words_of_python('class A(TextChoices):\n    ON = "on", "switched on"')) == 1
    assert words_of_template("<input type='submit' value='Save'><input value='Pier 7'>{{ n|pluralize }}") == [
        "Save",
        "|pluralize",
    ]
    assert words_of_template("{% block bodyclass %}map-page{% endblock %}<button type='submit' value='on'>") == []
    assert words_of_python('format_html(\'<b class="on" title="{}">{}</b>\')') == []
    assert words_of_python("format_html(' disabled title=\"{}\"')") == []
    assert len(words_of_python("format_html('<b title=\"on\">{}</b>')\nformat_html('<b>on</b>')")) == 2
    assert len(words_of_python('_(f"no {x}")')) == 1
    assert len(words_of_python("f\"<b>{escape(gettext('no'))}</b>\"")) == 1
    assert len(words_of_python('ValidationError({"sn": ["No dock."]}, "required")')) == 1
    assert len(words_of_python('class A(B):\n    default_detail = "No dock."', named=OF_ERRORS)) == 1
    assert words_of_python('A(help_text="No dock.")', named=OF_ERRORS) == []
    assert len(words_of_python('F(label="Name", help_text=_("Yes"))\nraise Refused(f"no {x}")')) == 2
