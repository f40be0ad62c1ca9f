"""What production's settings follow from the environment."""

import os
import re
import subprocess
import sys

import pytest

from tests.stack import ROOT

PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "s" * 60,
    "FIELD_ENCRYPTION_KEYS": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "ALLOWED_HOSTS": "docks.example.com",
}


@pytest.mark.parametrize(("scheme", "is_exempt"), [("http", True), ("https", False)])
def test_docks_are_redirected_to_https_only_if_their_addresses_are_https(scheme, is_exempt):
    program = "from cloudapi import settings; print(*settings.SECURE_REDIRECT_EXEMPT, sep='\\n')"
    environment = {**os.environ, **PRODUCTION, "PUBLIC_URL": f"{scheme}://docks.example.com"}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, check=True, capture_output=True, text=True
    )
    paths = ["license-files/token/a.kmz", "admin/license-files/", "healthz"]
    exempt = [any(re.search(pattern, path) for pattern in answer.stdout.split()) for path in paths]
    assert exempt == [is_exempt, False, True]
