"""The page "System": the doctor's lines for the platform's staff, and nobody else."""

import pytest

from cloudapi.diagnosis import checks
from cloudapi.diagnosis.findings import note, ok, problem

pytestmark = pytest.mark.django_db
LINES = [
    ok("Redis", "Version 7 answers."),
    note("Clock", "Not compared.", "Set NTP_SERVER_HOST."),
    problem("Broker", "<b>No</b> connection.", "Start it."),
]


@pytest.fixture(autouse=True)
def _checks(monkeypatch):
    monkeypatch.setattr(checks, "run", lambda: iter(LINES))


def test_staff_see_each_line_with_what_to_do(client, staff):
    client.force_login(staff)
    page = client.get("/admin/system/").content.decode()
    assert "1 problem and 1 to look at, as seen by this web process" in page
    for word, css in (("OK", "good"), ("Look at it", "warning"), ("Problem", "critical")):
        assert f'<tr class="{css}">\n      <td><span class="state">{word}</span></td>' in page
    assert page.index("Start it.") < page.index("Set NTP_SERVER_HOST.") < page.index("Version 7 answers.")
    assert "&lt;b&gt;No&lt;/b&gt; connection." in page
    assert "Set NTP_SERVER_HOST." in page
    assert 'href="/admin/system/"' in client.get("/admin/").content.decode()


def test_members_and_strangers_do_not(client, alice):
    assert client.get("/admin/system/").status_code == 302
    client.force_login(alice)
    assert client.get("/admin/system/").status_code == 403
    assert "/admin/system/" not in client.get("/admin/").content.decode()
