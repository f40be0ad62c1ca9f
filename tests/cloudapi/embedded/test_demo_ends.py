"""SIGINT and SIGTERM end the demo with 0, at any moment."""

import json
import random
import signal
import subprocess
import sys

import pytest

from tests.cloudapi.embedded.demo_moments import MOMENTS
from tests.demo import demo_environment
from tests.stack import ROOT


@pytest.mark.turns(2)
def test_a_signal_ends_it_with_0_at_each_moment_and_it_leaves_no_process(tmp_path):
    moments = sorted(random.sample(range(len(MOMENTS)), 3))
    command = [sys.executable, "-W", "error::ResourceWarning", "-m", "tests.cloudapi.embedded.demo_moments", tmp_path]
    command += map(str, moments)
    ended = subprocess.run(command, cwd=ROOT, env=demo_environment(), capture_output=True, text=True, check=True)
    results = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[[")]
    assert results == [[list(MOMENTS[number]), 0, []] for number in moments]
    assert "Traceback" not in ended.stderr
    assert "Warning" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0_while_it_is_imported(tmp_path, number):
    """Python reports each import: the signal is sent after one of Django's first, one later by chance."""
    for imports in (0, random.randrange(300)):
        command = [
            sys.executable,
            "-X",
            "importtime",
            "manage.py",
            "demo",
            "--port=0",
            f"--data={tmp_path}",
        ]
        with subprocess.Popen(command, cwd=ROOT, env=demo_environment(), stderr=subprocess.PIPE, text=True) as process:
            while " django." not in process.stderr.readline():
                pass
            for _ in range(imports):
                process.stderr.readline()
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 0, f"after {imports} imports: {said}"
