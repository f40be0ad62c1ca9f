"""All checks, in the order in which they are shown."""

from collections.abc import Iterator
from typing import Final

from cloudapi.diagnosis import broker, certificates, database, findings, processes, server

CHECKS: Final[dict[str, findings.Check]] = {
    "Database": database.check_database,
    "Encryption keys": database.check_keys,
    "Space": database.check_space,
    "Redis": processes.check_redis,
    "Workers": processes.check_workers,
    "Broker": broker.check_broker,
    "Access": broker.check_access,
    "Broker accounts": broker.check_accounts,
    "Bridge": processes.check_bridge,
    "Public address": server.check_public_url,
    "Host names": server.check_hosts,
    "Certificates": certificates.check_certificates,
    "Clock": server.check_clock,
    "DJI license": server.check_license,
}


def run() -> Iterator[findings.Finding]:
    """Look at everything; takes as long as the slowest check, ten seconds at most."""
    return findings.run(CHECKS)
