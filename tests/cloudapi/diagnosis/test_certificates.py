"""Certificates of real listeners: looked at, remembered, judged, and named on the start page and in the metrics."""

import ssl
import threading
from contextlib import contextmanager, suppress
from datetime import timedelta
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest
from django.utils import timezone

from cloudapi.admin import start_page
from cloudapi.attention import Level as Urgency
from cloudapi.diagnosis import certificates
from cloudapi.diagnosis.findings import Level
from cloudapi.tasks import look_at_certificates
from mqtt_bridge.line.tls import Certificates
from mqtt_bridge.models import Certificate
from tests.certificates import DAY, Authority

pytestmark = pytest.mark.django_db
HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


class Greeting(BaseRequestHandler):
    """Shakes hands, and hangs up."""

    def handle(self):
        with suppress(OSError):
            self.server.context.wrap_socket(self.request, server_side=True).close()


@contextmanager
def listener(certificate, key):
    """A server with this certificate; yields its port."""
    ThreadingTCPServer.daemon_threads = True
    with ThreadingTCPServer((HOST, 0), Greeting) as server:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(certificate, key)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def at(settings, authority):
    """at(name) lets the docks' address have a certificate of this authority that ends so soon."""

    @contextmanager
    def serving(ends=90 * DAY, hosts=(HOST,), signed_by=authority):
        settings.MQTT_URL, settings.PUBLIC_URL = "mqtt://broker", "http://docks.example.com"
        settings.MQTT_CERTIFICATES = Certificates(str(authority.ca_file))
        with listener(*signed_by.issue("docks", hosts=hosts, ends=ends)) as port:
            settings.DOCK_MQTT_URL = f"ssl://{HOST}:{port}"
            yield port

    return serving


def judged():
    return {one.name: (one.level, one.text) for one in certificates.check_certificates()}[
        "Certificate of DOCK_MQTT_URL"
    ]


CASES = [
    ({}, Level.OK, "Valid until", None),
    ({"ends": 20 * DAY}, Level.NOTE, "for 19 more days", (Urgency.WARNING, "certificate expires within 21 days")),
    (
        {"ends": 2 * DAY},
        Level.PROBLEM,
        "for 1 more day",
        (Urgency.CRITICAL, "certificate expires within 3 days or has expired"),
    ),
    (
        {"ends": -DAY},
        Level.PROBLEM,
        "Expired at",
        (Urgency.CRITICAL, "certificate expires within 3 days or has expired"),
    ),
    (
        {"hosts": ["other.example.com"]},
        Level.PROBLEM,
        "Clients refuse it: the certificate is not for the host name 127.0.0.1",
        (Urgency.CRITICAL, "certificate is refused"),
    ),
]


@pytest.mark.parametrize(("options", "level", "words", "line"), CASES)
def test_a_certificate_is_judged_and_shown_on_the_start_page(at, staff, alice, options, level, words, line):
    with at(**options):
        found_level, text = judged()
    assert found_level == level
    assert words in text
    Certificate.objects.exclude(name="DOCK_MQTT_URL").delete()
    found = start_page.overview(staff, bridge=start_page.bridge_status())
    shown = [(item.level, item.text) for item in found.problems if "certificate" in item.text]
    assert shown == ([(line[0], f"1 {line[1]}")] if line else [])
    assert "certificate" not in str(start_page.overview(alice, bridge=start_page.bridge_status()))


def test_an_unknown_authority_is_named(at, tmp_path):
    with at(signed_by=Authority(tmp_path, "Another")):
        assert "Clients refuse it: the certificate is signed by an unknown authority" in judged()[1]


def test_what_cannot_be_reached_is_a_note_and_what_we_knew_stays(at, settings):
    with at():
        judged()
    [before] = Certificate.objects.filter(name="DOCK_MQTT_URL")
    level, text = judged()
    assert (level, "Not seen at" in text) == (Level.NOTE, True)
    assert Certificate.objects.get(name="DOCK_MQTT_URL").seen_at == before.seen_at


def test_the_worker_looks_once_an_hour_and_forgets_what_is_no_more(at, settings, authority):
    certificate, key = authority.issue("bridge", ends=5 * DAY)
    with at() as port:
        settings.MQTT_URL = f"mqtts://{HOST}:{port}"
        settings.MQTT_CERTIFICATES = Certificates(str(authority.ca_file), str(certificate), str(key))
        look_at_certificates()
        rows = {row.name: row for row in Certificate.objects.all()}
        assert set(rows) == {"MQTT_URL", "DOCK_MQTT_URL", "MQTT_CA_FILE", "MQTT_CLIENT_CERT_FILE"}
        assert rows["MQTT_CLIENT_CERT_FILE"].expires_at < timezone.now() + timedelta(days=5)
        look_at_certificates()
        assert {row.name: row.seen_at for row in Certificate.objects.all()} == {n: r.seen_at for n, r in rows.items()}
        Certificate.objects.update(seen_at=timezone.now() - timedelta(minutes=61))
        settings.MQTT_URL = "mqtt://broker"
        look_at_certificates()
    names = set(
        Certificate.objects.filter(seen_at__gt=timezone.now() - timedelta(minutes=1)).values_list("name", flat=True)
    )
    assert names == {"DOCK_MQTT_URL", "MQTT_CA_FILE", "MQTT_CLIENT_CERT_FILE"}
    assert not Certificate.objects.filter(name="MQTT_URL").exists()


def test_the_page_of_this_server_is_looked_at_too(at, settings):
    with at() as port:
        settings.PUBLIC_URL = f"https://{HOST}:{port}"
        found = {one.name: one.level for one in certificates.check_certificates()}
    assert found["Certificate of PUBLIC_URL"] == Level.OK


def test_the_metrics_say_how_long_each_is_valid(at, client):
    with at(ends=2 * DAY):
        judged()
    text = client.get("/metrics").content.decode()
    line = next(
        line for line in text.splitlines() if line.startswith('certificate_expiry_seconds{name="DOCK_MQTT_URL"}')
    )
    assert 0 < float(line.split()[1]) <= 2 * 24 * 3600
