"""All checks, in the order in which they are shown."""

from collections.abc import Iterator
from typing import Final

from django.utils.translation import gettext_noop

from cloudapi.diagnosis import broker, certificates, database, findings, processes, server

CHECKS: Final[dict[str, findings.Check]] = {
    gettext_noop("Database"): database.check_database,
    gettext_noop("Encryption keys"): database.check_keys,
    gettext_noop("Space"): database.check_space,
    gettext_noop("Redis"): processes.check_redis,
    gettext_noop("Workers"): processes.check_workers,
    gettext_noop("Files"): processes.check_files,
    gettext_noop("Broker"): broker.check_broker,
    gettext_noop("Access"): broker.check_access,
    gettext_noop("Broker accounts"): broker.check_accounts,
    gettext_noop("Bridge"): processes.check_bridge,
    gettext_noop("Public address"): server.check_public_url,
    gettext_noop("Host names"): server.check_hosts,
    gettext_noop("Certificates"): certificates.check_certificates,
    gettext_noop("Clock"): server.check_clock,
    gettext_noop("DJI license"): server.check_license,
}


def run() -> Iterator[findings.Finding]:
    """Look at everything; takes as long as the slowest check, ten seconds at most."""
    return findings.run(CHECKS)
