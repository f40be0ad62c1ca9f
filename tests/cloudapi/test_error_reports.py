"""What Django's error page shows; with DEBUG anybody can see it."""

import sys

from django.views.debug import ExceptionReporter
from django.views.decorators.debug import sensitive_post_parameters


@sensitive_post_parameters("password")
def fail(request):
    raise ValueError(request.POST["username"])


def page(request):
    try:
        fail(request)
    except ValueError:
        return ExceptionReporter(request, *sys.exc_info()).get_traceback_html()


def test_page_shows_no_posted_password_with_debug_either(rf, settings):
    settings.DEBUG = True
    posted = {"username": "pilot", "password": "-".join(("can", "ary"))}
    text = page(rf.post("/", posted))
    assert "pilot" in text
    assert "can-ary" not in text


def test_page_shows_no_password_that_is_part_of_an_address(rf, settings):
    address = "//user:{}@127.0.0.1".format("-".join(("can", "ary")))
    for name in ("DATABASE_URL", "REDIS_URL", "MQTT_URL", "CELERY_BROKER_URL", "DJI_APP_LICENSE"):
        setattr(settings, name, address)
    settings.CHANNEL_LAYERS = {"default": {"CONFIG": {"hosts": [{"address": address}]}}}
    text = page(rf.post("/", {"username": "pilot"}))
    assert "CHANNEL_LAYERS" in text
    assert "can-ary" not in text
