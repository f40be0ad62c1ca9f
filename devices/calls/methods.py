"""The services that a dock can be asked for: what each is given, answers with, and how long it may be silent.

Fields and answers are those of DJI's pages "remote unlock" (flysafe) and "DJI account"; what a call of ours is
given equals the `data` of the message, but for files, which are named by our own row.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from mqtt_bridge.protocol.journal import MASK, Confidential
from mqtt_bridge.protocol.messages import (
    AccountEvent,
    AccountReply,
    LicenseListReply,
    LicenseSwitchReply,
    LicenseUpdateReply,
)

# No database takes NUL, and no encoder a lone surrogate.
_STORABLE: Final = "^[^\\x00\ud800-\udfff]*$"
_Name = Annotated[str, Meta(min_length=1, max_length=128)]
_Secret = Annotated[str, Meta(min_length=1, max_length=256)]
_Code = Annotated[str, Meta(max_length=64)]
_Key = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_LicenseId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class ListInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which inventory: 0 what is imported in the aircraft, 3 what FlySafe approved for the dock."""

    device_model_domain: Literal[0, 3]


class SwitchInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One license, and whether it shall be in force."""

    license_id: _LicenseId
    enable: bool


class UpdateInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From which of our files (its primary key); none means the newest from FlySafe."""

    license_file: _Key | None = None


class LoginInput(Confidential, frozen=True, forbid_unknown_fields=True):
    """A DJI account; the code is what DJI sent the person after a first attempt."""

    username: _Name
    password: _Secret
    verification_code: _Code = ""


class LogoutInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing."""


class Method(NamedTuple):
    """One service: its name on the wire, its words for people, and the types of what is said."""

    name: str
    label: str
    input: type[msgspec.Struct]
    reply: type[msgspec.Struct]
    subject: Callable[[Any], str]  # of what only one call may be open per dock
    output: Callable[[Any], dict[str, Any]]  # what is worth keeping of an answer beside its result
    event: type[msgspec.Struct] | None = None  # with events the reply is not the end
    secrets: tuple[str, ...] = ()  # fields that only the dock may read
    qos: int = 1
    supersedes: tuple[str, ...] = ()  # methods of the same subject that do not stand in its way: it ends their calls
    example: Mapping[str, Any] = {}  # data as in DJI's sample, as far as ours is the same

    def read(self, data: Any) -> dict[str, Any]:
        """The data of a call, checked; ValueError says what is wrong, and repeats no text that was given."""
        names = self.input.__struct_fields__
        if not isinstance(data, Mapping):
            raise ValueError("data must be an object of names with their values")
        if not set(data) <= set(names):
            raise ValueError(f"data may name {', '.join(names) or 'nothing'}, and nothing else")
        # In JSON 5.0 is a whole number.
        data = {
            name: int(value) if isinstance(value, float) and value % 1 == 0 else value for name, value in data.items()
        }
        for name, value in data.items():
            if isinstance(value, str) and not is_storable(value):
                raise ValueError(f"{name} has characters that cannot be stored")
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError(f"{name} is a number of more than 64 bits")
        try:
            given = msgspec.convert(data, self.input)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        checked: dict[str, Any] = msgspec.to_builtins(given)
        return checked

    def masked(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The same without what only the dock may read."""
        return {key: MASK if key in self.secrets and value else value for key, value in data.items()}


def _list_output(reply: LicenseListReply) -> dict[str, Any]:
    """The list itself becomes rows of its own; a reply without one says nothing about what is there."""
    complete = reply.licenses is not None and not reply.dropped
    output: dict[str, Any] = {"consistence": reply.consistence, "complete": complete}
    if reply.device_model_domain is not None:
        output["device_model_domain"] = reply.device_model_domain
    if reply.licenses is not None:
        output["licenses"] = len(reply.licenses)
    return output


def _switch_output(reply: LicenseSwitchReply) -> dict[str, Any]:
    return {} if reply.license_id is None else {"license_id": reply.license_id}


def is_link(url: str) -> bool:
    """Whether people may be asked to click on it: https, a host, and nothing that makes it look like another's."""
    if not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>'):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc


def _account_output(said: AccountReply | AccountEvent) -> dict[str, Any]:
    output: dict[str, Any] = {}
    if isinstance(said, AccountEvent):
        if is_link(said.verification_code_url):
            output["verification_code_url"] = said.verification_code_url
        if said.sub_device_sn:
            output["sub_device_sn"] = said.sub_device_sn
    return output


LIST: Final = "unlock_license_list"
SWITCH: Final = "unlock_license_switch"
UPDATE: Final = "unlock_license_update"
LOGIN: Final = "login_dji_account"
LOGOUT: Final = "logout_dji_account"
ACCOUNT: Final = "account"  # the subject that login and logout share

METHODS: Final[dict[str, Method]] = {
    method.name: method
    for method in (
        Method(
            LIST,
            "Read licenses",
            ListInput,
            LicenseListReply,
            subject=lambda data: f"{LIST}:{data['device_model_domain']}",
            output=_list_output,
            example={"device_model_domain": 0},
        ),
        Method(
            SWITCH,
            "Switch a license",
            SwitchInput,
            LicenseSwitchReply,
            subject=lambda data: f"{SWITCH}:{data['license_id']}",
            output=_switch_output,
            example={"license_id": 240330, "enable": True},
        ),
        Method(
            UPDATE,
            "Update licenses",
            UpdateInput,
            LicenseUpdateReply,
            subject=lambda _data: UPDATE,
            output=lambda _reply: {},
        ),
        Method(
            LOGIN,
            "Log in to DJI",
            LoginInput,
            AccountReply,
            subject=lambda _data: ACCOUNT,
            output=_account_output,
            event=AccountEvent,
            secrets=("password", "verification_code"),
            qos=0,  # a broker stores what it queues, and QoS 0 it never queues
            example={"username": "username", "password": "password", "verification_code": ""},
        ),
        Method(
            LOGOUT,
            "Log out of DJI",
            LogoutInput,
            AccountReply,
            subject=lambda _data: ACCOUNT,
            output=_account_output,
            event=AccountEvent,
            supersedes=(LOGIN,),
        ),
    )
}


def schema(method: str) -> dict[str, Any]:
    """The data of a service as JSON Schema, complete in itself."""
    spec = METHODS[method]
    _, components = msgspec.json.schema_components([spec.input])
    found: dict[str, Any] = components[spec.input.__name__]
    for name, field in found["properties"].items():
        if field.get("type") == "string":
            field["pattern"] = "^[^\\u0000]*$"  # no database takes NUL
        if name in spec.secrets:
            field |= {"format": "password", "writeOnly": True}
    return found


def is_storable(text: str) -> bool:
    """Whether a database takes this text, and an encoder."""
    return re.search(_STORABLE, text) is not None


def label(method: str) -> str:
    """A service in words; the bare name of one we do not know."""
    return METHODS[method].label if method in METHODS else method
