"""Whom a broker that asks over HTTP lets in, and what it lets them do. Mosquitto knows both itself."""

import hmac
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.utils import timezone

from devices.broker import accounts
from devices.models import BrokerAccount, Device
from devices.models.broker import Digest
from mqtt_bridge.protocol import access
from mqtt_bridge.protocol.access import Account, Action, Kind

NOTED_EVERY: Final = timedelta(minutes=1)  # how exactly `last_connected_at` is kept


class Listener(StrEnum):
    """Where a client came in: each kind of account has one, for what it may say depends on it."""

    DOCKS = "docks"
    ENROLMENT = "enrolment"  # mounted below enrol/, so that the bridge knows
    INTERNAL = "internal"  # our own processes


_LOOKED_AT: Final = (
    "username", "kind", "digest", "salt", "iterations", "expires_at", "revoked_at", "last_connected_at", "device__sn",
    "device__is_enabled", "device__claim", "organization__is_active",
)  # fmt: skip
_LISTENERS: Final = {Kind.DOCK: Listener.DOCKS, Kind.ENROLMENT: Listener.ENROLMENT, Kind.SERVER: Listener.INTERNAL}


class Client(NamedTuple):
    """What a client shows when it connects."""

    username: str
    password: str
    client_id: str
    address: str
    listener: Listener


class Admission(NamedTuple):
    """An account that was let in, and when it must prove itself again; None: never."""

    account: Account
    until: datetime | None = None


def authenticate(client: Client) -> Admission | None:
    """The account of a client, None if it is not let in.

    Takes the same work for an unknown user name as for a wrong secret. No dock may use a client id of the server or of
    another dock: it would throw the other one out.
    """
    known = _of_settings(client.username, client.password)
    if known is not None:
        return Admission(known) if _LISTENERS[known.kind] == client.listener else None
    row = _row(client.username)
    digest = Digest(row.digest, row.salt, row.iterations) if row is not None else _nobodys()
    is_right = digest.matches(client.password)
    now = timezone.now()
    if row is None or not is_right or row.why_unusable(now):
        return None
    [(_, account)] = accounts.with_access([row])
    if _LISTENERS[account.kind] != client.listener or not _may_be_called(account, client.client_id):
        return None
    if row.last_connected_at is None or now - row.last_connected_at >= NOTED_EVERY:
        accounts.note_connections([(row.username, now, client.address)])
    return Admission(account, row.expires_at)


def may(username: str, action: Action, topic: str) -> bool:
    """Whether the account of this name may do this now; one query, two for topics of an aircraft."""
    known = _of_settings(username)
    if known is not None:
        return access.may(known, action, topic)
    row = _row(username)
    if row is None or row.why_unusable(timezone.now()):
        return False
    if row.device is None:
        return access.may(Account(row.username, Kind.ENROLMENT), action, topic)
    if access.may(Account(row.username, Kind.DOCK, row.device.sn), action, topic):
        return True
    [(_, account)] = accounts.with_access([row])
    return bool(account.aircraft) and access.may(account, action, topic)


def _row(username: str) -> BrokerAccount | None:
    """An account with what is looked at here, and no order: that halves the time of the question."""
    rows = BrokerAccount.objects.select_related("device", "organization").only(*_LOOKED_AT).order_by()
    return next(iter(rows.filter(username=username)), None)


def _of_settings(username: str, password: str | None = None) -> Account | None:
    """The account of the server or the fixed one for enrolment, if it has this name, and this password if given."""
    server = urlsplit(settings.MQTT_URL)
    fixed = (
        (unquote(server.username or ""), unquote(server.password or ""), Kind.SERVER),
        (settings.DOCK_MQTT_USERNAME, settings.DOCK_MQTT_PASSWORD, Kind.ENROLMENT),
    )
    for name, secret, kind in fixed:
        if name and secret and name == username:
            shown = secret if password is None else password
            is_right = hmac.compare_digest(shown.encode(errors="replace"), secret.encode())
            return Account(name, kind) if is_right else None
    return None


def _may_be_called(account: Account, client_id: str) -> bool:
    """Whether an account may connect under this client id."""
    if client_id in (account.username, account.sn) and client_id:
        return True
    sn = client_id.partition(".")[0]  # what an account has as its user name has perhaps a number after the dot
    return not accounts.is_reserved(client_id) and not Device.objects.filter(sn=sn).exists()


@cache
def _nobodys() -> Digest:
    """What the secret of an unknown user is compared with."""
    return Digest.of("")
