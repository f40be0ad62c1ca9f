"""What the brokers should have: accounts of our processes, by the settings, and those of docks and for enrolment."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from devices.broker.accounts import with_access
from devices.models import BrokerAccount, Pairing
from devices.models.broker import Digest
from mqtt_bridge.line.client import parse_url
from mqtt_bridge.line.dynamic_security import DEFAULTS, Acl, Connected, Contents, ControlTopic, User, acls, as_json
from mqtt_bridge.protocol.access import Account, Kind, rules

MAIN: Final = "main"
ENROLMENT: Final = "enrolment"


class Broker(NamedTuple):
    """A Mosquitto that we keep: how to reach it as its administrator, and which rows belong to it."""

    name: str
    url: str
    kind: BrokerAccount.Kind

    @property
    def admin(self) -> str:
        """The administrator's user name."""
        return _login(f"{'' if self.name == MAIN else 'ENROLMENT_'}MQTT_ADMIN_URL", self.url)[0]

    def control(self, connected: Connected | None = None) -> ControlTopic:
        """A connection to it, not yet open; `connected` gets who connects."""
        return ControlTopic(self.url, settings.MQTT_CERTIFICATES, connected=connected)


class Wanted(NamedTuple):
    """An account that a broker should have."""

    account: Account
    digest: Digest
    secret: str  # plain, as long as we know it
    mark: str  # tells one secret from the next, for the broker shows no password
    key: int | None = None  # of its row; None for those of the settings
    is_disabled: bool = False  # kept at the broker, which could not be given its secret again

    @property
    def role(self) -> str:
        """One for each dock, for the plugin knows no placeholder; else one for each kind."""
        name = f"dock/{self.account.sn}" if self.account.kind == Kind.DOCK else self.account.kind
        return f"{role_prefix()}{name}"

    @property
    def user(self) -> User:
        """As the broker should have it. A dock has no other client id than its user name, on whichever listener."""
        client_id = self.account.username if self.account.kind == Kind.DOCK else ""
        return User(frozenset({self.role}), client_id, self.mark, is_disabled=self.is_disabled)


def role_prefix() -> str:
    """How the roles begin that we made; a user with such a role is ours as well. Two servers have two client ids."""
    return f"{settings.MQTT_CLIENT_ID}/"


def brokers() -> list[Broker]:
    """The brokers that the settings name."""
    both = [
        Broker(MAIN, settings.MQTT_ADMIN_URL, BrokerAccount.Kind.DOCK),
        Broker(ENROLMENT, settings.ENROLMENT_MQTT_ADMIN_URL, BrokerAccount.Kind.ENROLMENT),
    ]
    found = [broker for broker in both if broker.url]
    if len({parse_url(broker.url)[:2] for broker in found}) < len(found):
        raise ImproperlyConfigured("MQTT_ADMIN_URL and ENROLMENT_MQTT_ADMIN_URL name the same broker.")
    return found


def wanted(broker: Broker, now: datetime) -> dict[str, Wanted]:
    """All that this broker should have but its administrator, by user name. Two queries."""
    rows = BrokerAccount.objects.alive(now).filter(kind=broker.kind).select_related("device", "organization")
    found = [
        Wanted(
            account,
            Digest(row.digest, row.salt, row.iterations),
            row.pending,
            f"secret {hashlib.sha256(row.digest.encode()).hexdigest()[:16]}",
            row.pk,
            is_disabled=bool(row.why_unusable(now)),
        )
        for row, account in with_access(rows)
    ]
    return {one.account.username: one for one in [*found, *ours(broker)]}


def ours(broker: Broker) -> list[Wanted]:
    """The accounts that the settings have: of our own processes, at the enrolment broker the fixed one for docks.

    Raises ImproperlyConfigured.
    """
    if broker.name != MAIN:
        name, password = settings.DOCK_MQTT_USERNAME, settings.DOCK_MQTT_PASSWORD
        return [_chosen(Account(name, Kind.ENROLMENT), password)] if name and password else []
    kinds = {"MQTT_URL": Kind.SERVER, "ENROLMENT_BRIDGE_URL": Kind.ENROLMENT_BROKER}
    logins = [(*_login(name, address), kind) for name, kind in kinds.items() if (address := getattr(settings, name))]
    found = [_chosen(Account(username, kind), password) for username, password, kind in logins]
    names = [broker.admin, *(one.account.username for one in found)]
    if len(set(names)) < len(names):
        raise ImproperlyConfigured("MQTT_URL, MQTT_ADMIN_URL and ENROLMENT_BRIDGE_URL need different user names.")
    return found


def snapshot(broker: Broker, now: datetime) -> tuple[list[Any], ...]:
    """What `wanted` is made from, by keys and moments of change: cheap to read, and another one after each change."""
    rows = BrokerAccount.objects.alive(now).filter(kind=broker.kind).order_by("pk")
    accounts = list(rows.values_list("pk", "digest", "device__updated", "organization__is_active"))
    if broker.kind != BrokerAccount.Kind.DOCK:
        return (accounts,)
    pairings = Pairing.objects.filter(until=None, dock__broker_accounts__isnull=False).order_by("pk")
    return accounts, list(pairings.values_list("pk", "aircraft__updated"))


def contents(found: Mapping[str, Wanted]) -> Contents:
    """The same as a broker shows it."""
    roles: dict[str, frozenset[Acl]] = {}
    for one in found.values():
        roles.setdefault(one.role, _lines(one.account))
    return Contents({name: one.user for name, one in found.items()}, roles, dict(DEFAULTS))


@lru_cache(maxsize=20_000)  # a change concerns one of many docks
def _lines(account: Account) -> frozenset[Acl]:
    return acls(rules(account))


def complete_file(broker: Broker, found: Mapping[str, Wanted]) -> dict[str, Any]:
    """What the plugin of a fresh broker starts from: its administrator, and each account with its secret's hash."""
    name, password = _login("MQTT_ADMIN_URL", broker.url)
    admin = Wanted(Account(name, Kind.ADMIN), Digest.of(password), "", "")
    everybody = {**found, name: admin}
    made = contents(everybody)
    users = [
        {
            "username": username,
            "textdescription": one.mark,
            **({"clientid": one.user.client_id} if one.user.client_id else {}),
            **({"disabled": True} if one.is_disabled else {}),
            "roles": [{"rolename": one.role}],
            "password": one.digest.digest,
            "salt": one.digest.salt,
            "iterations": one.digest.iterations,
        }
        for username, one in everybody.items()
    ]
    roles = [{"rolename": role, "acls": as_json(lines)} for role, lines in made.roles.items()]
    return {"defaultACLAccess": made.defaults, "clients": users, "groups": [], "roles": roles}


def _chosen(account: Account, password: str) -> Wanted:
    # Somebody may have chosen the password, and a digest of it alone could be guessed from.
    mark = f"password {salted_hmac('mqtt_acl', password).hexdigest()[:16]}"
    return Wanted(account, Digest.of(password), password, mark)


def _login(name: str, url: str) -> tuple[str, str]:
    address = parse_url(url)
    if not address.username or not address.password:
        raise ImproperlyConfigured(f"{name} needs a user name and a password.")
    return address.username, address.password
