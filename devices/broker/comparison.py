"""What a broker has beside what it should have, and the commands that make them equal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from devices.broker.wanted import Wanted, contents, role_prefix
from mqtt_bridge.line.dynamic_security import Acl, Command, Contents, ControlTopic, User, as_json

Value = User | frozenset[Acl] | bool | None


class Difference(NamedTuple):
    """One difference, in words, and the commands that end it; without commands, a person has to."""

    text: str
    commands: list[Command]
    section: str  # of `Contents`
    name: str
    value: Value  # what the broker has then; None: nothing


def compare(found: Mapping[str, Wanted], has: Contents, *, admin: str) -> list[Difference]:
    """All differences, in the order in which to end them: who may not connect any more goes first.

    Ours is what has a role of ours; users and roles of others are left alone, as is the administrator.
    """
    should = contents(found)
    return [
        *_unwanted_users(should, has, admin),
        *_defaults(should, has),
        *_wanted_roles(should, has),
        *_wanted_users(found, has),
        *_unwanted_roles(should, has, admin),
    ]


def foreign(found: Mapping[str, Wanted], has: Contents, *, admin: str) -> list[str]:
    """The user names that somebody else made at this broker."""
    return sorted(name for name, user in has.users.items() if name not in {*found, admin} and not _is_ours(user))


def apply(differences: Sequence[Difference], control: ControlTopic, has: Contents) -> dict[str, str]:
    """End the differences that commands can end, and note it in `has`; returns the texts of what failed, and why."""
    errors = iter(control.run([command for difference in differences for command in difference.commands]))
    failed = {}
    for difference in differences:
        reasons = [next(errors) for _ in difference.commands]
        if any(reasons):
            failed[difference.text] = ", ".join(filter(None, reasons))
        elif reasons:
            section: dict[str, object] = getattr(has, difference.section)
            section[difference.name] = difference.value
            if difference.value is None:
                del section[difference.name]
    return failed


def _is_ours(user: User) -> bool:
    return any(role.startswith(role_prefix()) for role in user.roles)


def _unwanted_users(should: Contents, has: Contents, admin: str) -> Iterator[Difference]:
    for name, user in has.users.items():
        if name not in should.users and name != admin and _is_ours(user):
            # Also throws out whoever is connected.
            command = {"command": "deleteClient", "username": name}
            yield Difference(f"user {name} should not be there", [command], "users", name, None)


def _defaults(should: Contents, has: Contents) -> Iterator[Difference]:
    for acltype, allow in should.defaults.items():
        if has.defaults.get(acltype) != allow:
            text = f"without a role, {acltype} is {'denied' if allow else 'allowed'}"
            lines = [{"acltype": acltype, "allow": allow}]
            yield Difference(text, [{"command": "setDefaultACLAccess", "acls": lines}], "defaults", acltype, allow)


def _wanted_roles(should: Contents, has: Contents) -> Iterator[Difference]:
    for name, lines in should.roles.items():
        if has.roles.get(name) == lines:
            continue
        # Unlike other commands, to modify a role throws nobody out.
        command = "modifyRole" if name in has.roles else "createRole"
        text = f"role {name}: {_changes(has.roles[name], lines)}" if name in has.roles else f"role {name} is missing"
        yield Difference(text, [{"command": command, "rolename": name, "acls": as_json(lines)}], "roles", name, lines)


def _changes(has: Iterable[Acl], should: Iterable[Acl]) -> str:
    def shown(lines: Iterable[Acl]) -> str:
        return ", ".join(f"{line.acltype} {line.topic}" for line in sorted(lines))

    parts = {"lacks": shown(set(should) - set(has)), "should not have": shown(set(has) - set(should))}
    return "; ".join(f"{words} {lines}" for words, lines in parts.items() if lines)


def _wanted_users(found: Mapping[str, Wanted], has: Contents) -> Iterator[Difference]:
    for name, one in found.items():
        user = has.users.get(name)
        if user == one.user:
            continue
        remove: list[Command] = [{"command": "deleteClient", "username": name}] if user else []
        if user is None:
            text = f"user {name} is missing"
        elif user.description != one.mark:
            text = f"user {name} has another secret"
        elif user.is_disabled != one.is_disabled:
            text = f"user {name} should {'' if one.is_disabled else 'not '}be disabled"
        else:
            text = f"user {name} has another role, client id or group"
        if one.secret:
            yield Difference(text, [*remove, *_creation(name, one)], "users", name, one.user)
        elif user is None or user.description != one.mark:
            yield Difference(f"{text}, and only its hash is known: rotate it", [], "users", name, None)
        else:
            yield Difference(text, _correction(name, one), "users", name, one.user)


def _creation(name: str, one: Wanted) -> list[Command]:
    facts = {"clientid": one.user.client_id, "textdescription": one.mark, "roles": [{"rolename": one.role}]}
    made = {"command": "createClient", "username": name, "password": one.secret, **facts}
    return [made, {"command": "disableClient", "username": name}] if one.is_disabled else [made]


def _correction(name: str, one: Wanted) -> list[Command]:
    facts = {"clientid": one.user.client_id, "roles": [{"rolename": one.role}], "groups": []}
    return [
        {"command": "modifyClient", "username": name, **facts},
        {"command": "disableClient" if one.is_disabled else "enableClient", "username": name},
    ]


def _unwanted_roles(should: Contents, has: Contents, admin: str) -> Iterator[Difference]:
    kept = {*should.roles, *(has.users[admin].roles if admin in has.users else ())}
    for name in has.roles:
        if name.startswith(role_prefix()) and name not in kept:
            command = {"command": "deleteRole", "rolename": name}
            yield Difference(f"role {name} should not be there", [command], "roles", name, None)
