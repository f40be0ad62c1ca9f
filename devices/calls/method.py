"""What a service is: the fields of one row of METHODS (`devices/calls/methods.py`), and how its data are checked."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from msgspec.inspect import BoolType, IntType, LiteralType, Metadata, NoneType, StrType, Type, UnionType, type_info

from mqtt_bridge.protocol.redaction import MASK

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

Data = Mapping[str, object]  # of a call, by name of its field


class Button(NamedTuple):
    """One way to ask for a service from the admin: on a dock's page, and for many docks from the list."""

    name: str  # in addresses and element ids
    title: "StrOrPromise"
    given: Data = {}  # data that nobody has to fill in
    fields: tuple[str, ...] = ()  # names of the input's fields, as a form
    help: "StrOrPromise" = ""
    submit: "StrOrPromise" = _("Send")  # on the form's button
    action: "StrOrPromise" = ""  # in the list of docks; "" for one dock at a time
    page: str = ""  # name of the address that the action leads to, with `?devices=`; "" for the page of a batch


@dataclass(frozen=True, kw_only=True)
class Method:
    """One service: its name on the wire, its types, its words for people, and what its end means."""

    name: str
    label: "StrOrPromise"
    input: type[msgspec.Struct]  # a field's `Meta(extra=...)` holds its label, help and error in a form
    reply: type[msgspec.Struct]
    event: type[msgspec.Struct] | None = None  # with events the reply is not the end
    panel: "StrOrPromise"  # where a dock's page shows the buttons
    buttons: tuple[Button, ...]

    subject: Callable[[Data], str]  # at most one call of a subject may be open per dock; KeyError: the data decide
    title: Callable[[Data], str] | None = None  # what was asked, as a call's title; None: the label
    output: Callable[[Any], dict[str, object]] = lambda _answer: {}  # what is kept of an answer beside its result
    done: Callable[[Data], str] = lambda _output: gettext("Done.")  # the output of a call that succeeded, in words
    secrets: tuple[str, ...] = ()  # fields that only the dock may read
    qos: int = 1
    silence: float | None = None  # seconds the dock may say nothing, if not settings.SERVICE_SILENCE
    supersedes: tuple[str, ...] = ()  # methods of the same subject whose open calls this one ends
    # Names of functions, since the app of licenses stands above this one: ends of calls (`transition.End`) -> what to
    # ask the docks next, run in the transaction that closes the calls; and call -> `data` of its message.
    outcome: str = ""
    payload: str = ""
    example: Data = field(default_factory=dict)  # data as in DJI's sample
    steps: tuple[str, ...] = ()  # step keys of its progress, from DJI's page; simulated docks report them

    def read(self, data: object) -> dict[str, Any]:
        """The data of a call, checked; ValueError says what is wrong, without repeating any text that was given."""
        names = self.input.__struct_fields__
        if not isinstance(data, Mapping):
            raise ValueError(gettext("data must be an object of names with their values"))
        if not set(data) <= set(names):
            if not names:
                raise ValueError(gettext("data may name nothing"))
            raise ValueError(gettext("data may name {names}, and nothing else").format(names=", ".join(names)))
        # In JSON 5.0 is a whole number.
        data = {
            name: int(value) if isinstance(value, float) and value % 1 == 0 else value for name, value in data.items()
        }
        for name, value in data.items():
            if isinstance(value, str) and not is_storable(value):
                raise ValueError(gettext("{name} has characters that cannot be stored").format(name=name))
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError(gettext("{name} is a number of more than 64 bits").format(name=name))
        try:
            given = msgspec.convert(data, self.input)
        except msgspec.ValidationError:
            raise ValueError(wrong(self.input, data)) from None
        checked: dict[str, Any] = msgspec.to_builtins(given)
        return checked

    def masked(self, data: Data) -> dict[str, object]:
        """The data without what only the dock may read."""
        return {key: MASK if key in self.secrets and value else value for key, value in data.items()}

    def schema(self) -> dict[str, Any]:
        """The data as JSON Schema, complete in itself."""
        _, components = msgspec.json.schema_components([self.input])
        found: dict[str, Any] = components[self.input.__name__]
        for name, field_ in found["properties"].items():
            if field_.get("type") == "string":
                field_["pattern"] = "^[^\\u0000]*$"  # no database takes NUL
            if name in self.secrets:
                field_ |= {"format": "password", "writeOnly": True}
        return found


def wrong(input_: type[msgspec.Struct], data: Data) -> str:
    """Which field is missing or no value of its type, and what it must be: "username must be text of 1 to 128 ..."."""
    for one in msgspec.structs.fields(input_):
        if one.encode_name not in data:
            if one.required:
                return gettext("{field} is missing").format(field=one.encode_name)
            continue
        try:
            msgspec.convert(data[one.encode_name], one.type)
        except msgspec.ValidationError as error:
            if inner := re.search(r"at `\$(.+)`", str(error)):
                return gettext("{field} is not valid").format(field=f"{one.encode_name}{inner[1]}")
            kind = type_info(one.type)
            if isinstance(kind, UnionType):  # with None
                kind = next(option for option in kind.types if not isinstance(option, NoneType))
            kind = kind.type if isinstance(kind, Metadata) else kind
            return gettext("{field} must be {kind}").format(field=one.encode_name, kind=_words(kind))
    return gettext("{field} is not valid").format(field="data")


def _words(kind: Type) -> str:
    """The values that a field takes, in words."""
    match kind:
        case BoolType():
            return gettext("true or false")
        case IntType(ge=int() as least, le=int() as most) if most < 2**63 - 1:
            return gettext("a whole number from {least} to {most}").format(least=least, most=most)
        case IntType(ge=int() as least) if least > -(2**63):
            return gettext("a whole number from {least} on").format(least=least)
        case IntType():
            return gettext("a whole number")
        case StrType(max_length=int() as most):
            text = gettext("text of {least} to {most} characters")
            return text.format(least=kind.min_length or 0, most=most)
        case LiteralType(values=values):
            return gettext("one of these: {values}").format(values=", ".join(map(str, values)))
    return gettext("of its type")


def is_storable(text: str) -> bool:
    """Whether a database and an encoder take this text: no NUL, no lone surrogate."""
    return re.search("[\x00\ud800-\udfff]", text) is None
