"""The broker: reachable, keeps what docks send, lets no stranger in."""

import secrets
from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from cloudapi.diagnosis.certificates import for_strangers
from cloudapi.diagnosis.errors import in_words
from cloudapi.diagnosis.findings import Finding, note, ok, problem
from devices.broker import comparison, wanted
from mqtt_bridge.line.client import PUBLISH_WINDOW, Address, parse_url
from mqtt_bridge.line.connection import BrokerUnavailableError
from mqtt_bridge.line.probe import Probe, ProbeRefusedError
from mqtt_bridge.line.session import SESSION_EXPIRY
from mqtt_bridge.protocol.envelope import MAX_SERVICES_REPLY

QUEUED: Final = 1_500  # messages; Mosquitto's default is to keep 1,000 for a client that is away
EXPIRY: Final = 30  # seconds after which the broker forgets what was left behind


def check_broker() -> Iterator[Finding]:
    """At MQTT_URL, as bridge and workers: version, settings, and how much it keeps for a bridge that is away."""
    address = parse_url(settings.MQTT_URL, settings.MQTT_CERTIFICATES)
    where = f"{address.host}:{address.port}"
    client_id = _client_id()
    try:
        with Probe(address, client_id=client_id, session_expiry=SESSION_EXPIRY) as probe:
            version = ""
            if probe.subscribe("$SYS/broker/version", retained=True):
                version = "".join(payload.decode(errors="replace")[:60] for _, payload in probe.receive())
            yield ok(
                _("Broker"),
                _("Answers at {where}: {version}.").format(where=where, version=version or _("version not reported")),
            )
            yield from _granted(probe)
        with Probe(address, client_id=client_id):  # its session ends now
            pass
        yield _queue(address)
    except ProbeRefusedError as error:
        yield problem(
            _("Broker"),
            _("Refuses our account at {where}: {error}.").format(where=where, error=in_words(error)),
            _("Compare MQTT_URL with its accounts."),
        )
    except OSError as error:
        yield problem(
            _("Broker"),
            _("No connection to {where}: {error}.").format(where=where, error=in_words(error)),
            _("Start it, or correct MQTT_URL."),
        )


def check_access() -> Iterator[Finding]:
    """Whether strangers get in, and whether a dock may do what only the server may."""
    if parse_url(settings.MQTT_URL).username is None and not settings.MQTT_CERTIFICATES.client_cert_file:
        yield problem(
            _("Broker accounts"), _("MQTT_URL has no account."), _("Give the server its own account at the broker.")
        )
    for name, address in _addresses().items():
        yield _anonymous(name, address)
    if settings.DOCK_ENROLMENT_URL and settings.DOCK_MQTT_USERNAME:
        yield _as_dock(settings.DOCK_ENROLMENT_URL)
    elif not settings.MQTT_ADMIN_URL:
        advice = _("Set DOCK_MQTT_USERNAME and DOCK_MQTT_PASSWORD, or MQTT_ADMIN_URL for Mosquitto.")
        yield note(_("Access list"), _("Not tried: no account of a dock and no administrator is known."), advice)


def check_accounts() -> Iterator[Finding]:
    """Whether the brokers that `manage.py mqtt_acl` keeps have the accounts and access lists of the database."""
    advice = _("See that manage.py mqtt_acl runs; with --check it shows all differences.")
    for broker in wanted.brokers():
        name = _("Accounts of the {name} broker").format(name=broker.name)
        try:
            with broker.control() as control:
                should = wanted.wanted(broker, timezone.now())
                differences = comparison.compare(should, control.read(), admin=broker.admin)
        except BrokerUnavailableError as error:
            yield problem(name, _("Its administrator gets no answer: {error}.").format(error=in_words(error)), advice)
            continue
        if differences:
            first = differences[0].text
            yield problem(
                name,
                _("{count} differ from the database, such as: {first}.").format(count=len(differences), first=first),
                advice,
            )
        else:
            yield ok(name, _("In step with the database: {count}.").format(count=len(should)))


def _client_id() -> str:
    return f"{settings.MQTT_CLIENT_ID}-doctor-{secrets.token_hex(4)}"


def _addresses() -> dict[str, Address]:
    """Where the broker can be reached, without an account."""
    urls = {
        settings.DOCK_ENROLMENT_URL: "DOCK_ENROLMENT_URL",  # often the same as that of docks
        settings.DOCK_MQTT_URL: "DOCK_MQTT_URL",
        settings.MQTT_URL: "MQTT_URL",
    }
    found = {name: parse_url(url, for_strangers()) for url, name in urls.items() if url}
    return {name: address._replace(username=None, password=None) for name, address in found.items()}


def _granted(probe: Probe) -> Iterator[Finding]:
    """What the broker's answer to CONNECT says that it will not do."""
    said = probe.properties
    wishes = [
        (
            "ReceiveMaximum",
            PUBLISH_WINDOW,
            _("It takes only {value} messages at a time: set max_inflight_messages 1000."),
        ),
        (
            "MaximumPacketSize",
            MAX_SERVICES_REPLY,
            _("It takes messages up to {value} bytes: set max_packet_size 4194304."),
        ),
        (
            "SessionExpiryInterval",
            SESSION_EXPIRY,
            _("It forgets an absent bridge after {value} s: let sessions last a week."),
        ),
        ("MaximumQoS", 1, _("It takes QoS {value} only: allow QoS 1.")),
        ("WildcardSubscriptionAvailable", 1, _("It takes no wildcards: allow them.")),
    ]
    granted = {name: getattr(said, name, wish) for name, wish, _ in wishes}
    wrong = [text.format(value=granted[name]) for name, wish, text in wishes if granted[name] < wish]
    if wrong:
        yield problem(_("Broker settings"), " ".join(wrong), _("See docs/configuration.md."))
    else:
        yield ok(_("Broker settings"), _("Grants all that the bridge asks for."))


def _queue(address: Address) -> Finding:
    """Leave a session behind, send it more than Mosquitto keeps by default, and come back for it."""
    client_id = _client_id()
    topic = f"bridge/{client_id}/ping"
    with Probe(address, client_id=client_id, session_expiry=EXPIRY) as absent:
        if not absent.subscribe(topic):
            return problem(
                _("Broker queue"),
                _("Refuses our subscription."),
                _("Let the server's account read {topic}.").format(topic="bridge/+/ping"),
            )
    with Probe(address, client_id=_client_id()) as sender:
        sender.publish(topic, [b"%d" % number for number in range(QUEUED)], expiry=EXPIRY)
    with Probe(address, client_id=client_id, clean_start=False) as back:
        kept = len(back.receive(count=QUEUED))
    if kept < QUEUED:
        return problem(
            _("Broker queue"),
            _("Kept {kept} of {queued:,} messages for an absent bridge.").format(kept=kept, queued=QUEUED),
            _("Set max_queued_messages 100000 and max_queued_bytes 0 (docs/configuration.md)."),
        )
    return ok(
        _("Broker queue"),
        _(
            "Kept all of {queued:,} messages for an absent bridge. Whether it keeps them over its own restart "
            "(persistence true) cannot be seen from here."
        ).format(queued=QUEUED),
    )


def _anonymous(name: str, address: Address) -> Finding:
    line, where = _("Strangers at {name}").format(name=name), f"{address.host}:{address.port}"
    try:
        with Probe(address, client_id=_client_id()):
            return problem(
                line,
                _("{where} lets in clients without an account.").format(where=where),
                _("Set allow_anonymous false there."),
            )
    except ProbeRefusedError:
        return ok(line, _("{where} refuses clients without an account.").format(where=where))
    except OSError as error:
        if "client certificate" in str(error):
            return ok(line, _("{where} requires a client certificate.").format(where=where))
        return note(
            line,
            _("No connection to {where}: {error}.").format(where=where, error=in_words(error)),
            _("Correct {name}, if docks cannot reach it either.").format(name=name),
        )


def _as_dock(url: str) -> Finding:
    """Try to command a dock with the account that docks have."""
    line = _("Access list")
    address = parse_url(url, for_strangers())
    address = address._replace(username=settings.DOCK_MQTT_USERNAME, password=settings.DOCK_MQTT_PASSWORD)
    advice = _("Set up the access list (docs/running.md) before the broker can be reached from the internet.")
    topic = "thing/product/DOCTOR/services"
    try:
        with Probe(address, client_id=_client_id()) as probe:
            if not probe.publish(topic, [b"{}"]).is_failure:
                return problem(line, _("The account of DOCK_MQTT_USERNAME may send commands to docks."), advice)
            # Mosquitto's acl_file grants every subscription, and then delivers nothing.
            if probe.subscribe("thing/product/+/services"):
                with Probe(parse_url(settings.MQTT_URL, settings.MQTT_CERTIFICATES), client_id=_client_id()) as server:
                    server.publish(topic, [b"{}"])
                if probe.receive(silence=0.5):
                    return problem(
                        line, _("The account of DOCK_MQTT_USERNAME may read commands to other docks."), advice
                    )
    except ProbeRefusedError as error:
        return problem(
            line,
            _("The account of DOCK_MQTT_USERNAME is refused: {error}.").format(error=in_words(error)),
            _("Docks cannot connect with it."),
        )
    except OSError as error:
        return note(
            line, _("Not tried: {error}.").format(error=in_words(error)), _("Look at the line of DOCK_MQTT_URL.")
        )
    return ok(line, _("The account of DOCK_MQTT_USERNAME may neither send commands nor read those to others."))
