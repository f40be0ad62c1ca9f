"""A forked program behaves like a started one."""

import os
import signal
import subprocess
import sys

import pytest

from tests.fork_server import Program, run
from tests.stack import ROOT

SHOWN = """
import atexit, os, sys
print(sys.argv[1:], os.environ["WORD"], "HOME" in os.environ, __name__)
atexit.register(print, "at exit")
print("to stderr", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.parametrize("code", [0, 3])
def test_arguments_environment_output_and_exit_code_are_its_own(code):
    env = {"WORD": "hello"}
    forked = run(["-c", SHOWN, str(code)], env=env)
    started = subprocess.run([sys.executable, "-c", SHOWN, str(code)], env=env, capture_output=True, text=True)
    assert (forked.returncode, forked.stdout, forked.stderr) == (code, started.stdout, started.stderr)


def test_an_error_ends_it_with_1_and_a_traceback():
    done = run(["-c", "import cloudapi; 1 / 0"], env=os.environ)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_a_module_and_a_script_run():
    assert run(["-m", "django", "--version"], env=os.environ).stdout[0].isdigit()
    assert "run_mqtt_bridge" in run([str(ROOT / "manage.py"), "help"], env=os.environ).stdout


def test_nothing_of_ours_is_imported_before_the_fork():
    imported = "import sys; print([name for name in sys.modules if name.split('.')[0] in {!r}])"
    ours = {"cloudapi", "devices", "licenses", "mqtt_bridge", "organizations", "prometheus_client"}
    assert run(["-c", imported.format(ours)], env=os.environ).stdout == "[]\n"
    assert (
        run(["-c", "from django.conf import settings; print(settings.configured)"], env=os.environ).stdout == "False\n"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it(number):
    program = Program(["-c", "import time; time.sleep(60)"], env=os.environ)
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(timeout=0.01)
    program.send_signal(number)
    assert program.wait(timeout=60) == program.poll() == -number
    program.kill()  # nobody: its number may be another's by now


def test_two_of_them_draw_different_random_numbers_and_run_side_by_side():
    draw = ["-c", "import random, uuid; print(random.random(), uuid.uuid4())"]
    assert run(draw, env=os.environ).stdout != run(draw, env=os.environ).stdout
    readers = [os.pipe() for _ in range(2)]
    programs = [Program(["-c", "input()"], env=os.environ, stdin=reading) for reading, _ in readers]
    for (reading, writing), program in reversed(list(zip(readers, programs, strict=True))):
        os.write(writing, b"end\n")
        assert program.wait(timeout=60) == 0
        os.close(reading), os.close(writing)


def test_a_session_of_its_own():
    leads = ["-c", "import os; print(os.getsid(0) == os.getpid())"]
    assert run(leads, env=os.environ).stdout == "False\n"
    reading, writing = os.pipe()
    Program(leads, env=os.environ, stdout=writing, start_new_session=True).wait()
    assert os.read(reading, 10) == b"True\n"
    os.close(reading), os.close(writing)
