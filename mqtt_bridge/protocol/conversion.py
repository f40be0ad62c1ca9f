"""From plain JSON to typed messages, as leniently as devices need it."""

from collections.abc import Callable
from functools import cache, partial
from typing import Annotated, Final, Self, TypeVar

import msgspec
from msgspec import Meta
from msgspec.inspect import ListType, Metadata, NoneType, StrType, StructType, UnionType, type_info

from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.topics import SN_PATTERN

T = TypeVar("T", bound=msgspec.Struct)

MAX_DEVICES: Final = 50  # DJI documents two in a request and one below a dock (decision 11)

# DJI's types are "int" and "text" without bounds. These fit a database column: 64 and 32 bits with sign.
Int = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
SmallInt = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Text = Annotated[str, Meta(max_length=256)]
# Names for people: cut when too long, since a shorter name does no harm, and a refused one does.
Label = Annotated[str, Meta(max_length=256, extra={"cut": True})]
Callsign = Annotated[str, Meta(max_length=128, extra={"cut": True})]
Sn = Annotated[str, Meta(pattern=SN_PATTERN)]
ModelKey = Annotated[str, Meta(max_length=32)]  # "3-1-0"; DJI: product support
Url = Annotated[str, Meta(max_length=2048)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]  # degrees, north is positive
Longitude = Annotated[float, Meta(ge=-180, le=180)]  # degrees, east is positive

# ValueError: text with lone surrogates, numbers with more digits than Python converts.
_UNUSABLE: Final = (msgspec.ValidationError, RemoteProtocolError, ValueError)


class Entry(msgspec.Struct, frozen=True):
    """A part that may be unusable without spoiling the rest: what cannot be read takes its default.

    Fields without a default must be readable all the same.
    """


class Shaped(msgspec.Struct, frozen=True):
    """A message whose JSON has another shape than its fields."""

    @classmethod
    def read(cls, data: dict[str, object]) -> Self:
        """Build from `data` as received, flat or nested under `output`; RemoteProtocolError "data_invalid"."""
        return fill(cls, flatten(data))

    def wire(self) -> dict[str, object]:
        """Return `data` as DJI documents it."""
        data: dict[str, object] = msgspec.to_builtins(self)
        return data


def decode_data(type_: type[T], data: object) -> T:
    """Convert the `data` of an envelope; RemoteProtocolError "data_invalid" if that cannot be done.

    Whole numbers may come as text, booleans as 0, 1 or text, text as a number, null means the default.
    An int has 64 bits at most. Text beyond its cap is an error, in an Entry it takes the default; names
    (callsigns, license names) are cut instead.
    """
    if not isinstance(data, dict):
        raise RemoteProtocolError("data_invalid", f"data is of type {type(data).__name__}")
    if issubclass(type_, Shaped):
        return type_.read(data)
    return fill(type_, data)


def decode_part(type_: type[T], value: object) -> T:
    """Convert an object inside `data`; an Entry that is not an object is an empty one."""
    return decode_data(type_, {} if issubclass(type_, Entry) and not isinstance(value, dict) else value)


def fill(type_: type[T], data: dict[str, object]) -> T:
    """Convert an object: in one quick step if every value has its documented type, else field by field."""
    try:
        # Not strict: numbers as text ("domain" beside a numeric "type" in DJI: device management), and booleans
        # as 0 and 1, which DJI: organization and the Dock 3 page of flysafe have in their tables.
        return msgspec.convert(data, type_, strict=False)
    except _UNUSABLE:
        pass
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(type_):
        value = data.get(field.encode_name)
        if value is None:
            if field.required:
                raise RemoteProtocolError("data_invalid", f"{field.encode_name} is missing")
            continue
        try:
            values[field.name] = _converter(field.type)(value)
        except _UNUSABLE:
            if field.required or not issubclass(type_, Entry):
                raise RemoteProtocolError("data_invalid", f"{field.encode_name} is unusable") from None
    return type_(**values)


def flatten(data: dict[str, object]) -> dict[str, object]:
    """Merge `output` into its parent; the flat value wins."""
    # DJI: flysafe replies flat, {result, licenses}; many services nest, {result, output: {status}}.
    output = data.get("output")
    if not isinstance(output, dict):  # an error text, where DJI's demo server answers airport_organization_get
        return data
    return output | {key: value for key, value in data.items() if value is not None}


@cache
def _converter(annotation: object) -> Callable[[object], object]:
    """Return the lenient conversion to a field's type."""
    info = type_info(annotation)
    options = info.types if isinstance(info, UnionType) else (info,)
    option = next(option for option in options if not isinstance(option, NoneType))
    kind = option.type if isinstance(option, Metadata) else option

    if isinstance(kind, StructType):
        return partial(decode_part, kind.cls)
    if isinstance(kind, ListType) and isinstance(kind.item_type, StructType):
        item = kind.item_type.cls
        sizes = range(kind.min_length or 0, 2**63 if kind.max_length is None else kind.max_length + 1)

        def to_list(value: object) -> object:
            if not isinstance(value, list):
                raise msgspec.ValidationError("not a list")
            if len(value) not in sizes:
                raise RemoteProtocolError("data_invalid", f"a list of {len(value)} entries")
            return [decode_part(item, entry) for entry in value]

        return to_list
    # A number is never taken for a serial number, which has a pattern; other text has none.
    if isinstance(kind, StrType) and kind.pattern is None:
        is_cut = isinstance(option, Metadata) and (option.extra or {}).get("cut")
        cut_at = kind.max_length if is_cut else None  # characters

        def to_text(value: object) -> object:
            text = str(value) if type(value) in (int, float) else value  # the version of a thing model before V1.4
            return msgspec.convert(text[:cut_at] if isinstance(text, str) else text, annotation, strict=False)

        return to_text
    return partial(msgspec.convert, type=annotation, strict=False)
