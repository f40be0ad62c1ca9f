"""From plain JSON to typed messages, as leniently as devices need it."""

from functools import cache
from typing import Annotated, Any, Final, NamedTuple, Self, TypeVar

import msgspec
from msgspec import Meta
from msgspec.inspect import ListType, Metadata, StrType, StructType, UnionType, type_info

from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.topics import SN_PATTERN

T = TypeVar("T", bound=msgspec.Struct)

MAX_DEVICES: Final = 50
MAX_TEXT: Final = 256
MAX_CALLSIGN: Final = 128
MAX_MODEL_KEY: Final = 32
MAX_URL: Final = 2048

# What fits a database column: 64 and 32 bits with sign.
Int = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
SmallInt = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
# Names for people: cut when too long, since a shorter name does no harm, and a refused one does.
Label = Annotated[str, Meta(max_length=MAX_TEXT, extra={"cut": True})]
Callsign = Annotated[str, Meta(max_length=MAX_CALLSIGN, extra={"cut": True})]
Sn = Annotated[str, Meta(pattern=SN_PATTERN)]
ModelKey = Annotated[str, Meta(max_length=MAX_MODEL_KEY)]
Url = Annotated[str, Meta(max_length=MAX_URL)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]


# ValueError: text with lone surrogates, numbers with more digits than Python converts.
_UNUSABLE: Final = (msgspec.ValidationError, RemoteProtocolError, ValueError)


class Entry(msgspec.Struct, frozen=True):
    """A part that may be unusable without spoiling the rest: what cannot be read takes its default.

    Fields without a default must be readable all the same.
    """


class Shaped(msgspec.Struct, frozen=True):
    """A message whose JSON has another shape than its fields."""

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """Build from `data` as it came; RemoteProtocolError "data_invalid"."""
        return fill(cls, data)

    def wire(self) -> dict[str, Any]:
        """Return `data` as DJI documents it."""
        return {name: msgspec.to_builtins(getattr(self, name)) for name in self.__struct_fields__}


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
    """Convert an object inside `data`: where an Entry should be and no object is, there is an empty one."""
    return decode_data(type_, {} if issubclass(type_, Entry) and not isinstance(value, dict) else value)


def fill(type_: type[T], data: dict[str, Any]) -> T:
    """Convert an object field by field, in one quick step if every value has its documented type."""
    try:
        return msgspec.convert(data, type_, strict=False)
    except _UNUSABLE:
        return _fill_leniently(type_, data)


def flatten(data: dict[str, Any]) -> dict[str, Any]:
    """Merge `output` into its parent: some replies are flat, some nested, and the flat value wins."""
    output = data.get("output")
    if not isinstance(output, dict):
        return data
    return output | {key: value for key, value in data.items() if value is not None}


class _Shape(NamedTuple):
    """What the lenient way needs to know of a field's type."""

    text: bool = False
    cut_at: int | None = None
    item: type[msgspec.Struct] | None = None
    is_list: bool = False
    sizes: range = range(0)


@cache
def _shape(annotation: Any) -> _Shape:
    info = type_info(annotation)
    options = info.types if isinstance(info, UnionType) else (info,)
    for option in options:
        extra = (option.extra or {}) if isinstance(option, Metadata) else {}
        kind = option.type if isinstance(option, Metadata) else option
        # A serial number that came as a number is none: it has a pattern, other text has not.
        if isinstance(kind, StrType) and kind.pattern is None:
            return _Shape(text=True, cut_at=kind.max_length if extra.get("cut") else None)
        if isinstance(kind, StructType):
            return _Shape(item=kind.cls)
        if isinstance(kind, ListType) and isinstance(kind.item_type, StructType):
            sizes = range(kind.min_length or 0, 2**63 if kind.max_length is None else kind.max_length + 1)
            return _Shape(item=kind.item_type.cls, is_list=True, sizes=sizes)
    return _Shape()


def _fill_leniently(type_: type[T], data: dict[str, Any]) -> T:
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(type_):
        value = data.get(field.encode_name)
        if value is None:
            if field.required:
                raise RemoteProtocolError("data_invalid", f"{field.encode_name} is missing")
            continue
        try:
            values[field.name] = _convert(field.type, value)
        except _UNUSABLE:
            if field.required or not issubclass(type_, Entry):
                raise RemoteProtocolError("data_invalid", f"{field.encode_name} is unusable") from None
    return type_(**values)


def _convert(annotation: Any, value: object) -> Any:
    shape = _shape(annotation)
    if shape.item is not None:
        return _convert_list(shape, value) if shape.is_list else decode_part(shape.item, value)
    if shape.text and type(value) in (int, float):
        value = str(value)
    if shape.cut_at is not None and isinstance(value, str):
        value = value[: shape.cut_at]
    return msgspec.convert(value, annotation, strict=False)


def _convert_list(shape: _Shape, value: object) -> list[msgspec.Struct]:
    if not isinstance(value, list):
        raise msgspec.ValidationError("not a list")
    if len(value) not in shape.sizes:
        raise RemoteProtocolError("data_invalid", f"a list of {len(value)} entries")
    return [decode_part(shape.item, entry) for entry in value if shape.item is not None]
