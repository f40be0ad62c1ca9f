"""What beat logs; tests/cloudapi/test_celery.py has the programs."""

import logging


def test_beat_logs_a_lost_redis_in_one_line(caplog):
    """As Celery logs it, with its stack in the message and the exception's beside it."""
    try:
        raise ConnectionError("Connection refused")
    except ConnectionError as error:
        logging.getLogger("celery.beat").exception("Message Error: %s\n%s", error, ["stack"] * 50)
    assert caplog.text.splitlines()[-1].endswith("Message Error: Connection refused")
    assert len(caplog.text.splitlines()) == 1
