"""The certificates that docks, browsers and the broker see: who would refuse them, and how long they are valid."""

import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from socket import create_connection
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from cloudapi.diagnosis.errors import in_words
from cloudapi.diagnosis.findings import Finding, note, ok, problem
from devices.templatetags.moments import exact
from mqtt_bridge.line.client import parse_url
from mqtt_bridge.line.tls import Certificates, build_context, explain
from mqtt_bridge.models import Certificate

TIMEOUT: Final = 3.0  # seconds
INTERVAL: Final = timedelta(hours=1)


class Place(NamedTuple):
    """An address with TLS, and the certificates that its clients have."""

    host: str
    port: int
    certificates: Certificates

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def for_strangers() -> Certificates:
    """What docks and browsers trust, as far as we know: public authorities, and our own."""
    return Certificates(settings.MQTT_CERTIFICATES.ca_file, is_system_trusted=True)


def check_certificates() -> Iterator[Finding]:
    """Look at each certificate, and remember it for the start page and the metrics."""
    now = timezone.now()
    for name, place in places().items():
        try:
            yield _judge(look_at(name, place), now)
        except (OSError, ValueError) as error:
            yield note(
                _("Certificate of {name}").format(name=name),
                _("Not seen at {place}: {error}.").format(place=place, error=in_words(error)),
                _("Correct {name}, or start its server.").format(name=name),
            )
    if not places():
        yield note(
            _("Certificates"), _("No address has TLS."), _("Use mqtts://, ssl:// and https:// addresses in production.")
        )


def refresh() -> None:
    """Look at all certificates that were not looked at for an hour; those that cannot be reached stay as they were."""
    found = places()
    Certificate.objects.exclude(name__in=found).delete()
    fresh = set(Certificate.objects.filter(seen_at__gt=timezone.now() - INTERVAL).values_list("name", "place"))
    for name, place in found.items():
        if (name, str(place)) not in fresh:
            try:
                look_at(name, place)
            except (OSError, ValueError):
                continue  # the doctor says why


def places() -> dict[str, Place | Path]:
    """Where certificates are, by the names of the settings."""
    found: dict[str, Place | Path] = {}
    for name, url, certificates in (
        ("MQTT_URL", settings.MQTT_URL, settings.MQTT_CERTIFICATES),
        ("DOCK_MQTT_URL", settings.DOCK_MQTT_URL, for_strangers()),
        ("DOCK_ENROLMENT_URL", settings.DOCK_ENROLMENT_URL, for_strangers()),
    ):
        if url and (address := parse_url(url)).tls:
            found[name] = Place(address.host, address.port, certificates)
    public = urlsplit(settings.PUBLIC_URL)
    if public.scheme == "https" and public.hostname:
        found["PUBLIC_URL"] = Place(public.hostname, public.port or 443, for_strangers())
    own: Certificates = settings.MQTT_CERTIFICATES
    for name, file in (("MQTT_CA_FILE", own.ca_file), ("MQTT_CLIENT_CERT_FILE", own.client_cert_file)):
        if file:
            found[name] = Path(file)
    return found


def look_at(name: str, place: Place | Path) -> Certificate:
    """Store what is there now; raises OSError or ValueError if there is no certificate."""
    refused_why = ""
    if isinstance(place, Path):
        # Of several authorities the last to expire: until then one of them can sign.
        expires_at = max(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(place.read_bytes()))
    else:
        try:
            encoded = _fetch(place, build_context(place.certificates))
        except ssl.SSLCertVerificationError as error:
            refused_why = explain(str(error), place.host).replace("the broker's", "the")
            unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            unverified.check_hostname = False
            unverified.verify_mode = ssl.CERT_NONE  # to see what it is; nothing is sent
            encoded = _fetch(place, unverified)
        expires_at = x509.load_der_x509_certificate(encoded).not_valid_after_utc
    values = {
        "place": str(place)[:300],
        "expires_at": expires_at,
        "refused_why": refused_why[:200],
        "seen_at": timezone.now(),
    }
    return Certificate.objects.update_or_create(name=name, defaults=values)[0]


def _fetch(place: Place, context: ssl.SSLContext) -> bytes:
    with (
        create_connection((place.host, place.port), timeout=TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=place.host) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def _judge(certificate: Certificate, now: datetime) -> Finding:
    name = _("Certificate of {name}").format(name=certificate.name)
    left = certificate.expires_at - now
    if left <= timedelta(0):
        return problem(name, _("Expired at {moment}.").format(moment=exact(certificate.expires_at)), _("Renew it now."))
    if certificate.refused_why:
        return problem(
            name,
            _("Clients refuse it: {reason}.").format(reason=in_words(certificate.refused_why)),
            _("Correct it at {place}.").format(place=certificate.place),
        )
    text = ngettext("Valid until {date}, for {days} more day.", "Valid until {date}, for {days} more days.", left.days)
    text = text.format(date=f"{certificate.expires_at:%Y-%m-%d}", days=left.days)
    if left <= Certificate.ENDS:
        return problem(name, text, _("Renew it now."))
    if left <= Certificate.ENDS_SOON:
        return note(name, text, _("Renew it, and see why it was not renewed by itself."))
    return ok(name, text)
