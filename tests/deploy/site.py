"""A client of the site as the proxy serves it, and what a test wants there."""

import json
import subprocess
import sys
import uuid

import urllib3

from tests.deploy.engine import copy_of_deploy

HOST = "docks.example.com"
# What an operator does in the admin after the first sign-in.
PREPARE = """
import json
from devices.broker import accounts
from organizations import api_keys
from organizations.audit import Actor
from organizations.models import AuditEvent, BindingCode, Organization, Role
actor = Actor(AuditEvent.Through.COMMAND)
LICENSE = {"app_id": "1002", "app_key": "an app key", "app_license": "an app license"}
organization = Organization.objects.create(organization_id="12345678", name="Harbour", **LICENSE)
_, code = BindingCode.objects.issue(organization=organization, max_uses=5)
_, key = api_keys.issue(actor=actor, organization=organization, name="test", role=Role.MANAGER)
account, secret = accounts.issue(actor=actor)
print(json.dumps({"code": code, "key": key, "enrolling": [account.username, secret]}))
"""
ISSUE = """
import sys
from devices.broker import accounts
from devices.models import Device
from organizations.audit import Actor
from organizations.models import AuditEvent
account, secret = accounts.issue(actor=Actor(AuditEvent.Through.COMMAND), device=Device.objects.get(sn="{sn}"))
print(account.username, secret)
"""


def first_start(folder, *options):
    """A copy of deploy/ with secrets, a certificate of our own for the site, and DJI's license."""
    copy = copy_of_deploy(folder)
    command = [sys.executable, copy / "first_start.py", "--host", HOST, "--own-site-certificate", *options]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    env = copy / ".env"
    env.write_text(env.read_text().replace("DJI_APP_ID=\n", "DJI_APP_ID=1001\n"))
    for name in ("dji_app_key", "dji_app_license"):
        (copy / "secrets" / name).write_text(f"a {name}\n")
    return copy


def shell(engine, script):
    """What a script prints that the web service runs."""
    code, said = engine.run("web", ["python", "manage.py", "shell", "-v0", "-c", script])
    assert code == 0, said
    return said.strip()


class Site:
    """Requests to the proxy, which must show a certificate of the site's name."""

    def __init__(self, engine, key=""):
        authority = str(engine.folder / "secrets/ca.crt")
        names = {"server_hostname": HOST, "assert_hostname": HOST, "ca_certs": authority}
        self.pool = urllib3.HTTPSConnectionPool("127.0.0.1", engine.ports["proxy"][443], retries=False, **names)
        self.headers = {"Host": HOST} | ({"Authorization": f"Api-Key {key}"} if key else {})

    def get(self, path, **headers):
        return self.pool.request("GET", path, headers=self.headers | headers, redirect=False)

    def read(self, path):
        answer = self.get(f"/api/v1/{path}")
        assert answer.status == 200, answer.data
        return json.loads(answer.data)

    def post(self, path, **body):
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
        answer = self.pool.request("POST", f"/api/v1/{path}", body=json.dumps(body), headers=self.headers | headers)
        assert answer.status < 300, answer.data
        return json.loads(answer.data)
