"""The broker: reachable, keeps what docks send, lets no stranger in."""

import secrets
from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.utils import timezone

from cloudapi.diagnosis.certificates import for_strangers
from cloudapi.diagnosis.findings import Finding, note, ok, problem
from devices.broker import comparison, wanted
from mqtt_bridge.line.client import PUBLISH_WINDOW, Address, parse_url
from mqtt_bridge.line.connection import BrokerUnavailableError
from mqtt_bridge.line.probe import Probe, ProbeRefusedError
from mqtt_bridge.line.session import SESSION_EXPIRY
from mqtt_bridge.protocol.envelope import MAX_SERVICES_REPLY

QUEUED: Final = 1_500  # messages; Mosquitto's default is to keep 1,000 for a client that is away
EXPIRY: Final = 30  # seconds after which the broker forgets what was left behind
SETTINGS_OF_MOSQUITTO: Final = "Set max_queued_messages 100000 and max_queued_bytes 0 (docs/configuration.md)."


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
            yield ok("Broker", f"Answers at {where}: {version or 'it does not tell its version'}.")
            yield from _granted(probe)
        with Probe(address, client_id=client_id):  # its session ends now
            pass
        yield _queue(address)
    except ProbeRefusedError as error:
        yield problem("Broker", f"Refuses our account at {where}: {error}.", "Compare MQTT_URL with its accounts.")
    except OSError as error:
        yield problem("Broker", f"No connection to {where}: {error}.", "Start it, or correct MQTT_URL.")


def check_access() -> Iterator[Finding]:
    """Whether strangers get in, and whether a dock may do what only the server may."""
    if parse_url(settings.MQTT_URL).username is None and not settings.MQTT_CERTIFICATES.client_cert_file:
        yield problem("Broker accounts", "MQTT_URL has no account.", "Give the server its own account at the broker.")
    for name, address in _addresses().items():
        yield _anonymous(name, address)
    if settings.DOCK_ENROLMENT_URL and settings.DOCK_MQTT_USERNAME:
        yield _as_dock(settings.DOCK_ENROLMENT_URL)
    elif not settings.MQTT_ADMIN_URL:
        advice = "Set DOCK_MQTT_USERNAME and DOCK_MQTT_PASSWORD, or MQTT_ADMIN_URL for Mosquitto."
        yield note("Access list", "Not tried: no account of a dock and no administrator is known.", advice)


def check_accounts() -> Iterator[Finding]:
    """Whether the brokers that `manage.py mqtt_acl` keeps have the accounts and access lists of the database."""
    advice = "See that manage.py mqtt_acl runs; with --check it shows all differences."
    for broker in wanted.brokers():
        name = f"Accounts of the {broker.name} broker"
        try:
            with broker.control() as control:
                should = wanted.wanted(broker, timezone.now())
                differences = comparison.compare(should, control.read(), admin=broker.admin)
        except BrokerUnavailableError as error:
            yield problem(name, f"Its administrator gets no answer: {error}.", advice)
            continue
        if differences:
            first = differences[0].text
            yield problem(name, f"{len(differences)} differ from the database, such as: {first}.", advice)
        else:
            yield ok(name, f"In step with the database: {len(should)}.")


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
        ("ReceiveMaximum", PUBLISH_WINDOW, "takes only {} messages at a time: set max_inflight_messages 1000"),
        ("MaximumPacketSize", MAX_SERVICES_REPLY, "takes messages up to {} bytes: set max_packet_size 4194304"),
        ("SessionExpiryInterval", SESSION_EXPIRY, "forgets an absent bridge after {} s: let sessions last a week"),
        ("MaximumQoS", 1, "takes QoS {} only: allow QoS 1"),
        ("WildcardSubscriptionAvailable", 1, "takes no wildcards: allow them"),
    ]
    granted = {name: getattr(said, name, wish) for name, wish, _ in wishes}
    wrong = [text.format(granted[name]) for name, wish, text in wishes if granted[name] < wish]
    if wrong:
        yield problem("Broker settings", f"It {'; it '.join(wrong)}.", "See docs/configuration.md.")
    else:
        yield ok("Broker settings", "Grants all that the bridge asks for.")


def _queue(address: Address) -> Finding:
    """Leave a session behind, send it more than Mosquitto keeps by default, and come back for it."""
    client_id = _client_id()
    topic = f"bridge/{client_id}/ping"
    with Probe(address, client_id=client_id, session_expiry=EXPIRY) as absent:
        if not absent.subscribe(topic):
            return problem("Broker queue", "Refuses our subscription.", "Let the server's account read bridge/+/ping.")
    with Probe(address, client_id=_client_id()) as sender:
        sender.publish(topic, [b"%d" % number for number in range(QUEUED)], expiry=EXPIRY)
    with Probe(address, client_id=client_id, clean_start=False) as back:
        kept = len(back.receive(count=QUEUED))
    if kept < QUEUED:
        return problem(
            "Broker queue", f"Kept {kept} of {QUEUED:,} messages for an absent bridge.", SETTINGS_OF_MOSQUITTO
        )
    return ok(
        "Broker queue",
        f"Kept all of {QUEUED:,} messages for an absent bridge. Whether it keeps them over its own restart "
        "(persistence true) cannot be seen from here.",
    )


def _anonymous(name: str, address: Address) -> Finding:
    line, where = f"Strangers at {name}", f"{address.host}:{address.port}"
    try:
        with Probe(address, client_id=_client_id()):
            return problem(line, f"{where} lets in clients without an account.", "Set allow_anonymous false there.")
    except ProbeRefusedError:
        return ok(line, f"{where} refuses clients without an account.")
    except OSError as error:
        if "client certificate" in str(error):
            return ok(line, f"{where} requires a client certificate.")
        return note(line, f"No connection to {where}: {error}.", f"Correct {name}, if docks cannot reach it either.")


def _as_dock(url: str) -> Finding:
    """Try to command a dock with the account that docks have."""
    line = "Access list"
    address = parse_url(url, for_strangers())
    address = address._replace(username=settings.DOCK_MQTT_USERNAME, password=settings.DOCK_MQTT_PASSWORD)
    advice = "Set up the access list (docs/running.md) before the broker can be reached from the internet."
    topic = "thing/product/DOCTOR/services"
    try:
        with Probe(address, client_id=_client_id()) as probe:
            if not probe.publish(topic, [b"{}"]).is_failure:
                return problem(line, "The account of DOCK_MQTT_USERNAME may send commands to docks.", advice)
            # Mosquitto's acl_file grants every subscription, and then delivers nothing.
            if probe.subscribe("thing/product/+/services"):
                with Probe(parse_url(settings.MQTT_URL, settings.MQTT_CERTIFICATES), client_id=_client_id()) as server:
                    server.publish(topic, [b"{}"])
                if probe.receive(silence=0.5):
                    return problem(line, "The account of DOCK_MQTT_USERNAME may read commands to other docks.", advice)
    except ProbeRefusedError as error:
        return problem(line, f"The account of DOCK_MQTT_USERNAME is refused: {error}.", "Docks cannot connect with it.")
    except OSError as error:
        return note(line, f"Not tried: {error}.", "Look at the line of DOCK_MQTT_URL.")
    return ok(line, "The account of DOCK_MQTT_USERNAME may neither send commands nor read those to others.")
