"""Modules are short, folders small, imports free of circles. The layers are contracts in pyproject.toml."""

from collections import Counter
from graphlib import TopologicalSorter

import grimp

from tests.stack import ROOT

APPS = ("cloudapi", "organizations", "devices", "licenses", "mqtt_bridge")
MODULES = [
    path
    for app in APPS
    for path in sorted((ROOT / app).rglob("*.py"))
    if path.name != "__init__.py" and "migrations" not in path.parts
]


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph(*APPS)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, with the circle
    assert len(imports) > 150


def test_a_module_has_400_lines_at_most():
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES}
    assert {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > 400} == {}


def test_a_folder_holds_15_modules_at_most():
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in MODULES)
    assert {folder: count for folder, count in counts.items() if count > 15} == {}
