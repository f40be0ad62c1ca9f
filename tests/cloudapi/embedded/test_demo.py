"""Where the demo does not run."""

import socket

import pytest
from django.core.management import CommandError, call_command


@pytest.fixture
def taken_port():
    """The demo starts nothing on it, whatever else it forgets to check."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_demo_does_not_write_into_a_database_that_somebody_named(settings, monkeypatch, taken_port):
    settings.DEBUG = True
    monkeypatch.setenv("DATABASE_URL", "postgres://127.0.0.1/production")
    with pytest.raises(CommandError, match="DATABASE_URL"):
        call_command("demo", port=taken_port)


def test_without_one_it_goes_on(settings, monkeypatch, taken_port):
    settings.DEBUG = True
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(CommandError, match="is not free"):
        call_command("demo", port=taken_port)
