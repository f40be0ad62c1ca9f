"""What Django's error page shows; with DEBUG anybody can see it."""

import json
import re
import sys

import pytest
from django.views.debug import ExceptionReporter
from django.views.decorators.debug import sensitive_post_parameters

from organizations import audit, invitations
from organizations.models import AuditEvent, Role


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


CANARY = "".join(("can", "ary-2345"))
CODE = {"organization": "12345678", "code": CANARY}
FORM = {"name": "Harbour", "is_active": "on", "app_id": "1", "app_key": CANARY, "app_license": CANARY}


@pytest.fixture
def failing_audit(monkeypatch, settings):
    def fail(_events):
        raise RuntimeError("the audit fails")

    monkeypatch.setattr(audit, "record", fail)
    settings.DEBUG = True


@pytest.mark.usefixtures("failing_audit")
def test_report_shows_no_secret_of_the_admin_when_the_audit_fails(client, staff, organization):
    client.force_login(staff)
    client.raise_request_exception = False
    add = "/admin/organizations/bindingcode/add/"
    form_id = re.search(r'name="form_id" value="([^"]+)"', client.get(add).content.decode())
    own = {"organization": organization.pk, "code": CANARY, "form_id": form_id[1] if form_id else ""}
    change = f"/admin/organizations/organization/{organization.pk}/change/"
    for page, form in ((add, own), (change, FORM)):
        found = client.post(page, form)
        assert (found.status_code, "the audit fails" in found.content.decode()) == (500, True), found.content
        assert CANARY not in found.content.decode()


@pytest.mark.usefixtures("failing_audit")
def test_report_shows_no_secret_of_rest_when_the_audit_fails(client, staff, organization):
    client.force_login(staff)
    client.raise_request_exception = False
    for path, body in (("binding-codes", CODE), ("organizations", FORM | {"organization_id": "1", "is_active": True})):
        found = client.post(f"/api/v1/{path}/", json.dumps(body), content_type="application/json")
        assert (found.status_code, "the audit fails" in found.content.decode()) == (500, True), found.content
        assert CANARY not in found.content.decode()


def test_report_shows_no_first_password_when_the_audit_fails(client, organization, monkeypatch, settings):
    _, token = invitations.issue(
        actor=audit.Actor(AuditEvent.Through.COMMAND), organization=organization, username="dora", role=Role.VIEWER
    )
    monkeypatch.setattr(audit, "record", lambda _events: 1 / 0)
    settings.DEBUG = True
    client.raise_request_exception = False
    found = client.post(f"/welcome/{token}/", {"new_password1": CANARY, "new_password2": CANARY})
    assert (found.status_code, "ZeroDivisionError" in found.content.decode()) == (500, True)
    assert CANARY not in found.content.decode()
