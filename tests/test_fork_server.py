"""A forked program behaves like a started one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fork_server import KEPT, Program, run
from tests.stack import ROOT, wait_for

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


ASK = ["manage.py", "shell", "-v0", "-c"]


def test_from_the_second_on_django_is_set_up_in_the_environment_that_the_program_finds():
    """A server that has too many of them lets go of the oldest, which ends with its last program."""
    shown = (
        "import os; from django.conf import settings; print(os.getppid(), settings.JOURNAL_DAYS, os.environ['WORD'])"
    )

    def start(days, word="a"):
        env = os.environ | {"JOURNAL_DAYS": str(days), "WORD": word}
        parent, *others = run([*ASK, shown], env=env).stdout.split()
        assert others == [str(days), word]
        return int(parent)

    plain, first, *more = (start(3) for _ in range(4))
    assert {first, *more} == {more[0]} != {plain}
    assert start(4) == start(3, "b") == plain
    waiting = Program([*ASK, "import time; print(time.sleep(60))"], env=os.environ | {"JOURNAL_DAYS": "3", "WORD": "a"})
    for days in range(5, 5 + KEPT):
        assert start(days) == plain != start(days)
    assert start(3) == plain
    assert waiting.poll() is None
    waiting.kill()
    assert waiting.wait(timeout=60) == -signal.SIGKILL
    wait_for(lambda: not Path(f"/proc/{first}").exists())


def test_a_program_that_django_cannot_be_set_up_for_says_so_each_time():
    env = os.environ | {"JOURNAL_DAYS": "none"}
    said = {(done.returncode, done.stderr[-100:]) for done in (run(["manage.py", "check"], env=env) for _ in range(3))}
    assert len(said) == 1
    assert "JOURNAL_DAYS" in str(said)


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
