"""What production must be told."""

import os
import subprocess
import sys

import pytest

from tests.stack import ROOT

PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "a secret key for the tests only",
    "FIELD_ENCRYPTION_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "PUBLIC_URL": "https://docks.example.com",
    "ALLOWED_HOSTS": "docks.example.com",
    "DATABASE_URL": "postgres://docks@127.0.0.1/docks",
}


def check(**changes):
    """Run `manage.py check` in production's environment, changed; returns the finished process."""
    env = {name: value for name, value in (os.environ | PRODUCTION | changes).items() if value}
    return subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def test_production_starts_when_it_is_told_all_that_it_needs():
    done = check()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "PUBLIC_URL", "DATABASE_URL"])
def test_production_does_not_start_without(name):
    done = check(**{name: ""})
    assert f"{name} must be set when DEBUG is off" in done.stderr
    assert done.returncode != 0


@pytest.mark.parametrize("keys", ["abc", f"{PRODUCTION['FIELD_ENCRYPTION_KEYS']},abc", ","])
def test_keys_that_encrypt_nothing_are_found_at_the_start(keys):
    done = check(FIELD_ENCRYPTION_KEYS=keys)
    assert "FIELD_ENCRYPTION_KEYS holds something that is no Fernet key" in done.stderr
    assert done.returncode != 0
