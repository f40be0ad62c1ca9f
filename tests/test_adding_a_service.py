"""The page about adding a service is right: what it says is done in a copy of the repository, and its test passes."""

import os
import re
import shutil
import subprocess
import sys
import textwrap

import psycopg
import pytest

from tests.stack import ROOT, run_server

PAGE = (ROOT / "docs/adding-a-service.md").read_text()
# `<!-- new file: PATH -->` and the block that follows
BLOCK = re.compile(r"<!-- (new file|row|import): (\S+) -->\n```python\n(.*?)```", re.DOTALL)


@pytest.mark.turns(4)
def test_what_the_page_says_adds_a_service(tmp_path, migrated):
    copy = tmp_path / "copy"
    files = [ROOT / name for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()]
    compiled = [path for folder in {file.parent for file in files} for path in folder.glob("__pycache__/*.pyc")]
    for file in (*files, *compiled):
        if file.is_file():
            place = copy / file.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place)  # with its time, by which Python knows that what is compiled is still right
    blocks = BLOCK.findall(PAGE)
    assert [kind for kind, _, _ in blocks] == ["new file", "row", "import", "new file"]
    for kind, path, text in blocks:
        file = copy / path
        match kind:
            case "new file":
                file.write_text(text)
            case "row":  # the last one of the table
                table, rest = file.read_text().split("\n    )\n}\n", 1)
                row = textwrap.indent(text.rstrip(), " " * 8)
                file.write_text(f"{table}\n{row},\n    )\n}}\n{rest}")
            case "import":
                before, after = file.read_text().split("from mqtt_bridge.protocol.redaction", 1)
                file.write_text(f"{before}{text}from mqtt_bridge.protocol.redaction{after}")
    (copy / ".cache").symlink_to(ROOT / ".cache")
    (copy / ".venv").symlink_to(ROOT / ".venv")
    # A database that has its tables already, under the name that pytest-django makes of the address.
    server, template = run_server().rsplit("/", 1)[0], migrated("postgresql").url.rsplit("/", 1)[1]
    with psycopg.connect(run_server(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "test_added_service" TEMPLATE "{template}"')
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "--reuse-db", "tests/devices/calls/test_device_reboot.py"]
    env = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    env["DATABASE_URL"] = f"{server}/added_service"
    run = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert "6 passed" in run.stdout
