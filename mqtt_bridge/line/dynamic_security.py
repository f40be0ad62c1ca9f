"""Mosquitto's dynamic-security plugin through its control topic: who may connect, and what each role may do.

The plugin writes its whole file anew for each command, and the broker serves nobody while it does: commands get slower
with the number of accounts (docs/security.md has the figures).
"""

import json
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, Final, NamedTuple, Self
from uuid import uuid4

from mqtt_bridge.line.client import MQTTMessage, ReasonCode, cut, parse_url, redact_url
from mqtt_bridge.line.connection import BrokerUnavailableError, Connection
from mqtt_bridge.line.tls import DEFAULT_CERTIFICATES, Certificates
from mqtt_bridge.protocol.access import Action, Rule

Command = dict[str, Any]  # as the plugin's documentation has them
Answer = dict[str, Any]
Connected = Callable[[str, str], None]  # user name and address

CONTROL: Final = "$CONTROL/dynamic-security/v1"
RESPONSE: Final = f"{CONTROL}/response"  # of everybody's commands
LOG: Final = "$SYS/broker/log/N"  # who connects, if the broker has `log_dest topic`
ANSWER_TIMEOUT = 30.0  # seconds
BLOCKED = 0.2  # seconds for which one message may keep the broker from serving docks
MOST = 500  # commands in a message; also clients or roles in an answer
ACL_TYPES: Final = {
    Action.PUBLISH: "publishClientSend",
    Action.RECEIVE: "publishClientReceive",
    Action.SUBSCRIBE: "subscribePattern",
}
# What no line of a role decides.
DEFAULTS: Final = {"publishClientSend": False, "publishClientReceive": False, "subscribe": False, "unsubscribe": True}

# A client id may have any text in it, but it cannot be before the address and after the user name.
_CONNECTED: Final = re.compile(
    r"\d+: New client connected from (\S+?)(?::\d+)? as .*\(p\d+, c\d+, k\d+, u'([^']*)'\)\.", re.DOTALL
)


class Acl(NamedTuple):
    """A line of a role; of those that fit, the one with the highest priority decides."""

    acltype: str
    topic: str
    priority: int = 0
    allow: bool = True


class User(NamedTuple):
    """A client of the plugin, without its password, which the plugin does not show."""

    roles: frozenset[str]
    client_id: str = ""  # the only one that it may have; any if empty
    description: str = ""
    groups: frozenset[str] = frozenset()
    is_disabled: bool = False


class Contents(NamedTuple):
    """What a broker has: clients by user name, the lines of roles by name, and `DEFAULTS`."""

    users: dict[str, User]
    roles: dict[str, frozenset[Acl]]
    defaults: dict[str, bool]


def acls(rules: Iterable[Rule]) -> frozenset[Acl]:
    """The rules of an account as the lines of a role."""
    lines = set()
    for rule in rules:
        lines.add(Acl(ACL_TYPES[rule.action], rule.filter))
        if rule.is_literal:  # the filters that the pattern covers are all topics, but itself
            lines.add(Acl("subscribeLiteral", rule.filter, priority=1, allow=False))
    return frozenset(lines)


def as_json(lines: Iterable[Acl]) -> list[dict[str, Any]]:
    """Lines of a role as commands and the plugin's file have them."""
    return [line._asdict() for line in sorted(lines)]


class ControlTopic(Connection):
    """A connection to one broker as its administrator. Its methods raise BrokerUnavailableError when it is gone."""

    def __init__(
        self, url: str, certificates: Certificates = DEFAULT_CERTIFICATES, *, connected: Connected | None = None
    ) -> None:
        """`connected` gets who connects to the broker, in paho's thread.

        Raises ValueError for a wrong address and BrokerUnavailableError if a file that TLS needs is no use.
        """
        super().__init__(parse_url(url, certificates), client_id=f"mqtt-acl-{uuid4().hex[:12]}")
        self._shown_url = redact_url(url)
        self._connected = connected
        self._changed = threading.Condition()
        self._answers: dict[str, Answer] = {}  # by correlation
        self._awaited: set[str] = set()
        self._batch = 1  # commands in the next message

    def __enter__(self) -> Self:
        """Connect and subscribe."""
        try:
            self.open()
        except BrokerUnavailableError as error:
            self.__exit__()
            raise BrokerUnavailableError(f"{self._shown_url}: {error}") from None
        return self

    def __exit__(self, *_exception: object) -> None:
        """Disconnect."""
        self._client.disconnect()
        cut(self._client)
        self._client.loop_stop()

    def check(self) -> None:
        """Raise BrokerUnavailableError if the connection is gone."""
        if self.lost:
            raise BrokerUnavailableError(f"{self._shown_url}: {self.lost}")

    def run(self, commands: Sequence[Command]) -> list[str]:
        """Run all in their order; returns for each why the broker refused it, "" if it did not.

        As many go in a message as keep the broker busy for a moment only.
        """
        errors: list[str] = []
        while len(errors) < len(commands):
            batch = commands[len(errors) : len(errors) + self._batch]
            began = monotonic()
            errors += [str(answer.get("error", "")) for answer in self._ask(batch)]
            took = max(monotonic() - began, 0.001) / len(batch)
            self._batch = max(1, min(MOST, 2 * self._batch, int(BLOCKED / took)))
        return errors

    def read(self) -> Contents:
        """All that the broker has. Passwords are not shown."""
        users = {
            one["username"]: User(
                roles=frozenset(role["rolename"] for role in one["roles"]),
                client_id=one.get("clientid", ""),
                description=one.get("textdescription", ""),
                groups=frozenset(group["groupname"] for group in one["groups"]),
                is_disabled=bool(one.get("disabled")),
            )
            for one in self._list("listClients", "clients")
        }
        roles = {
            one["rolename"]: frozenset(
                Acl(acl["acltype"], acl["topic"], acl.get("priority", 0), acl["allow"]) for acl in one["acls"]
            )
            for one in self._list("listRoles", "roles")
        }
        (answer,) = self._ask([{"command": "getDefaultACLAccess"}])
        return Contents(users, roles, {acl["acltype"]: acl["allow"] for acl in answer["data"]["acls"]})

    def _list(self, command: str, key: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            (answer,) = self._ask([{"command": command, "verbose": True, "count": MOST, "offset": len(found)}])
            page = answer.get("data", {}).get(key, [])
            found += page
            if len(page) < MOST:
                return found

    def _ask(self, commands: Sequence[Command]) -> list[Answer]:
        """Send one message and wait for the answers, which are among those to all administrators."""
        token = uuid4().hex
        names = [f"{token}.{place}" for place in range(len(commands))]
        marked = [{**command, "correlationData": name} for command, name in zip(commands, names, strict=True)]
        with self._changed:
            self._awaited = set(names)
        self._client.publish(CONTROL, json.dumps({"commands": marked}), qos=1)
        with self._changed:
            self._changed.wait_for(lambda: self.lost or self._awaited <= self._answers.keys(), ANSWER_TIMEOUT)
            self.check()
            answers, self._answers = self._answers, {}
        if not self._awaited <= answers.keys():
            raise BrokerUnavailableError(f"{self._shown_url}: no answer on its control topic")
        return [answers[name] for name in names]

    def begin(self) -> None:
        self._client.subscribe([(RESPONSE, 1), (LOG, 0)] if self._connected else [(RESPONSE, 1)])

    def on_subscribe(self, mid: int, reasons: Sequence[ReasonCode]) -> None:
        if any(reason.is_failure for reason in reasons):
            self.lost = "this account may not manage the others"
        self._ready.set()

    def on_disconnect(self, reason: ReasonCode | None) -> None:
        super().on_disconnect(reason)
        with self._changed:
            self._changed.notify_all()

    def on_message(self, message: MQTTMessage) -> None:
        if message.topic == RESPONSE:
            answers = json.loads(message.payload)["responses"]
            with self._changed:
                named = {answer.get("correlationData", ""): answer for answer in answers}
                self._answers |= {name: answer for name, answer in named.items() if name in self._awaited}
                self._changed.notify_all()
        elif self._connected and (found := _CONNECTED.fullmatch(message.payload.decode(errors="replace"))):
            self._connected(found[2], found[1])
