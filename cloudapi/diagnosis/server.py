"""This server's own address, clock, host names and license."""

import json
import socket
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.core import signing
from django.db import connection
from django.http.request import validate_host
from django.utils.translation import gettext as _

from cloudapi.diagnosis.certificates import for_strangers
from cloudapi.diagnosis.errors import in_words
from cloudapi.diagnosis.findings import Finding, note, ok, problem
from mqtt_bridge.line.tls import build_context, explain
from organizations.models import Organization

TIMEOUT: Final = 3.0  # seconds
NTP_TIMEOUT: Final = 1.0  # seconds
SKEW: Final = 5.0  # seconds
SINCE_1900: Final = 2_208_988_800  # seconds until 1970: NTP counts from 1900
SALT: Final = "doctor"


def check_public_url() -> Iterator[Finding]:
    """Fetch a page there with a token that only this server can open."""
    token = signing.dumps("doctor", salt=SALT)
    url = f"{settings.PUBLIC_URL}/healthz?{urlencode({'token': token})}"
    host = urlsplit(settings.PUBLIC_URL).hostname or ""
    https = urllib.request.HTTPSHandler(context=build_context(for_strangers()))
    advice = _("Start the web process and its proxy, or correct PUBLIC_URL.")
    try:
        # No proxy of the environment and no redirect to elsewhere decides what is fetched.
        with urllib.request.build_opener(urllib.request.ProxyHandler({}), https).open(url, timeout=TIMEOUT) as answer:
            said = json.loads(answer.read(1_000))
    except urllib.error.HTTPError as error:
        yield problem(
            _("Public address"),
            _("{address} answers {code} {reason}.").format(
                address=settings.PUBLIC_URL, code=error.code, reason=error.reason
            ),
            advice,
        )
    except (OSError, ValueError) as error:
        cause = explain(str(getattr(error, "reason", error)), host)
        yield problem(
            _("Public address"),
            _("{address} does not answer: {cause}.").format(address=settings.PUBLIC_URL, cause=in_words(cause)),
            advice,
        )
    else:
        if isinstance(said, dict) and said.get("is_mine"):
            yield ok(_("Public address"), _("{address} answers as this server.").format(address=settings.PUBLIC_URL))
        else:
            yield problem(
                _("Public address"),
                _("Another server answers at {address}.").format(address=settings.PUBLIC_URL),
                _("Correct PUBLIC_URL."),
            )


def is_own_token(token: str) -> bool:
    """Whether this server made it less than a minute ago."""
    try:
        signing.loads(token[:200], salt=SALT, max_age=60)
    except signing.BadSignature:
        return False
    return True


def check_hosts() -> Iterator[Finding]:
    """ALLOWED_HOSTS has the host of PUBLIC_URL, and not all the world."""
    host = urlsplit(settings.PUBLIC_URL).hostname or ""
    if "*" in settings.ALLOWED_HOSTS:
        yield problem(
            _("Host names"), _("ALLOWED_HOSTS allows every name."), _("Write the names that this server has.")
        )
    elif not validate_host(host, settings.ALLOWED_HOSTS):
        yield problem(
            _("Host names"), _("ALLOWED_HOSTS lacks {host}, the host of PUBLIC_URL.").format(host=host), _("Add it.")
        )
    elif settings.DEBUG:
        yield note(_("Host names"), _("DEBUG is on: errors show the code."), _("Turn it off in production."))
    else:
        yield ok(_("Host names"), _("ALLOWED_HOSTS has the host of PUBLIC_URL."))


def check_license() -> Iterator[Finding]:
    """Every dock needs DJI's license of the server or of its organization."""
    if all((settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE)):
        yield ok(_("DJI license"), _("The server has one."))
        return
    organizations = Organization.objects.filter(is_active=True)
    without = [one.name for one in organizations if not all((one.app_id, one.app_key, one.app_license))]
    advice = _("Set DJI_APP_ID, DJI_APP_KEY and DJI_APP_LICENSE.")
    if without or not organizations:
        text = _("The server has none: docks are refused.")
        if without:
            text = _("The server and {organizations} have none: docks are refused.")
            text = text.format(organizations=", ".join(without[:3]))
        yield problem(_("DJI license"), text, advice)
    else:
        yield ok(_("DJI license"), _("Each organization has its own."))


def check_clock() -> Iterator[Finding]:
    """Docks refuse commands when clocks differ; compare ours with the database's and a time server's."""
    yield _compare(_("the database"), _database_skew(), _("Let both machines synchronize their clocks."))
    server = f"{settings.NTP_SERVER_HOST}:{settings.NTP_SERVER_PORT}"
    try:
        skew = _ntp_skew(settings.NTP_SERVER_HOST, settings.NTP_SERVER_PORT)
    except OSError as error:
        advice = _("If docks cannot reach it either, set NTP_SERVER_HOST.")
        yield note(
            _("Clock"),
            _("Not compared with {server}: {error}.").format(server=server, error=in_words(error)),
            advice,
        )
    else:
        yield _compare(server, skew, _("Let this machine synchronize its clock."))


def _compare(other: str, skew: float, advice: str) -> Finding:
    if abs(skew) > SKEW:
        text = _("This machine's clock differs from that of {other} by {skew:+.1f} s.")
        return problem(_("Clock"), text.format(other=other, skew=skew), advice)
    text = _("This machine's clock agrees with that of {other}: they differ by {skew:.2f} s.")
    return ok(_("Clock"), text.format(other=other, skew=abs(skew)))


def _database_skew() -> float:
    if connection.vendor != "postgresql":
        return 0.0
    began = time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        [(theirs,)] = cursor.fetchall()
    skew: float = (began + time.time()) / 2 - theirs
    return skew


def _ntp_skew(host: str, port: int) -> float:
    """Ours minus theirs in seconds, as SNTP (RFC 4330) has it; raises OSError if nobody answers."""
    [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    with socket.socket(family, kind, protocol) as line:
        line.settimeout(NTP_TIMEOUT)
        line.connect(address)
        began = time.time()
        line.send(b"\x23" + bytes(47))  # version 4, client
        answer = line.recv(48)
        ended = time.time()
    if len(answer) < 48 or not answer[1]:  # stratum 0: "do not ask me"
        raise OSError("it refused to tell the time")
    received, sent = (seconds / 2**32 - SINCE_1900 for seconds in struct.unpack(">QQ", answer[32:]))
    skew: float = ((began - received) + (ended - sent)) / 2
    return skew
