"""What keeps the code easy to read; `-s` prints the figures. The layers are contracts in pyproject.toml."""

import ast
import re
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter

import grimp
import pytest

from tests.stack import ROOT

APPS = ("cloudapi", "organizations", "devices", "licenses", "mqtt_bridge")
MODULES = [
    path
    for app in APPS
    for path in sorted((ROOT / app).rglob("*.py"))
    if path.name != "__init__.py" and "migrations" not in path.parts
]


@cache  # not at import: every worker imports this module
def trees():
    return [ast.parse(path.read_text()) for path in MODULES]


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def has_any(function):
    given = function.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    annotations = [*(argument.annotation for argument in arguments), function.returns]
    return any(re.search(r"\bAny\b", ast.unparse(annotation)) for annotation in annotations if annotation)


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph(*APPS, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, with the circle
    assert len(imports) > 150


def test_a_module_has_400_lines_at_most(report):
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES}
    report(f"longest module: {max(lengths.values())}")
    assert {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > 400} == {}


def test_a_folder_holds_15_modules_at_most(report):
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in MODULES)
    report(f"fullest folder: {max(counts.values())}")
    assert {folder: count for folder, count in counts.items() if count > 15} == {}


def test_few_private_functions_are_called_once(report):
    """A short one that is called once belongs into its caller."""
    private, once = 0, 0
    for tree in trees():
        names = {one.name for one in functions(tree) if one.name.startswith("_") and not one.name.startswith("__")}
        nodes = list(ast.walk(tree))
        called = [node.func for node in nodes if isinstance(node, ast.Call)]
        uses = Counter(getattr(node, "attr", getattr(node, "id", "")) for node in nodes)
        calls = Counter(getattr(node, "attr", getattr(node, "id", "")) for node in called)
        private += len(names)
        once += sum(uses[name] == calls[name] == 1 for name in names)
    report(f"private functions called once: {once} of {private}")
    assert once < 0.35 * private


def test_few_signatures_say_any(report):
    found = [one for tree in trees() for one in functions(tree)]
    vague = sum(map(has_any, found))
    report(f"signatures with Any: {vague} of {len(found)}")
    assert vague < 0.12 * len(found)


def test_the_protocol_is_explained_beside_its_code(report):
    lines = [
        line for path in MODULES if "protocol" in path.parts for line in path.read_text().splitlines() if line.strip()
    ]
    comments = sum(bool(re.search(r"(^|\s)# (?!noqa|type:)", line)) for line in lines)
    report(f"lines with a comment in protocol/: {comments} of {len(lines)}")
    assert comments > 0.1 * len(lines)


@pytest.mark.parametrize(("walk", "most"), [("A bind request", 12), ("A switch of a license", 20)])
def test_a_walk_stops_in_few_modules(walk, most, report):
    text = (ROOT / "docs/architecture.md").read_text().partition(f"## {walk}\n")[2].partition("\n## ")[0]
    stops = re.findall(r"^\| `([\w/]+\.py)`: `\w+` \|", text, flags=re.MULTILINE)
    report(f"{walk}: {len(stops)} stops in {len(set(stops))} modules")
    assert 10 <= len(set(stops)) <= most
