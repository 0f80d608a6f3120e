"""Fields of JSON objects: types for their schemas, and strict decoding that names wrong fields."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from django.utils.translation import gettext_lazy as _
from msgspec import Meta, Raw, Struct, structs

from accounts.errors import Invalid

MAX_MISTAKES: Final = 100
"""The approximate maximum of wrong fields named for one object or array: bounds work and size."""

NOT_JSON: Final = _("The request is not valid JSON in UTF-8. Correct its syntax.")
NOT_AN_OBJECT: Final = _("The request must be a JSON object with named fields.")
WRONG_FIELDS: Final = _("The request has unknown or missing fields. Correct the named fields.")
WRONG_VALUES: Final = _(
    "The request has values of a wrong type or range. Correct the named fields."
)

UNKNOWN: Final = "Unknown field"
REQUIRED: Final = "This field is required"

Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time: RFC 3339 in UTC with milliseconds, made by `format_timestamp`."""

StructType = TypeVar("StructType", bound=Struct)


def format_timestamp(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def one_of(words: Iterable[str]) -> Meta:
    """Return the annotation of a text that is one of these words.

    Only the schema names them. Decoding does not check them, because a stored event may hold a word
    that a later version has removed.
    """
    return Meta(extra_json_schema={"enum": list(words)})


def decode(raw: bytes, shape: type[StructType]) -> StructType:
    """Return the decoded struct. Raises Invalid: see `refusal`."""
    try:
        value = msgspec.json.decode(raw, type=shape)
    # msgspec raises UnicodeDecodeError for invalid UTF-8, RecursionError for deeply nested JSON.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise refusal(raw, shape) from None
    if mistakes := dict(_unstorable(value, "")):
        raise _invalid(mistakes)
    return value


def refusal(raw: bytes, shape: type[Struct]) -> Invalid:
    """Return the error for JSON that cannot be decoded as `shape`.

    Malformed JSON, unknown or missing fields, and wrong values each have their own sentence;
    `fields` names every wrong field.
    """
    try:
        msgspec.json.decode(raw)
    except msgspec.ValidationError:
        pass  # a number out of range: `_decode` names its field
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Invalid(NOT_JSON)
    mistakes: dict[str, str] = {}
    _decode(raw, shape, "", mistakes)
    return _invalid(mistakes)


def _invalid(mistakes: dict[str, str]) -> Invalid:
    if "" in mistakes:
        return Invalid(NOT_AN_OBJECT)
    names_differ = not {UNKNOWN, REQUIRED}.isdisjoint(mistakes.values())
    fields = {place.rstrip("."): text for place, text in mistakes.items()}
    return Invalid(WRONG_FIELDS if names_differ else WRONG_VALUES, fields=fields)


def _decode(raw: bytes | Raw, shape: Any, place: str, mistakes: dict[str, str]) -> None:
    """Decode a value, and add each error to `mistakes`, by place.

    msgspec stops at the first mistake. An object or array with a mistake is therefore decoded
    again, field by field or item by item.
    """
    try:
        value = msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as error:
        inner: dict[str, str] = {}
        for kind in _alternatives(shape):
            try:
                _decode_parts(raw, kind, place, inner)
            except msgspec.ValidationError:
                continue  # not an object or array: keep the error of the whole value
        mistakes.update(inner or {place: _sentence(error, shape)})
    else:
        mistakes.update(_unstorable(value, place))


def _decode_parts(raw: bytes | Raw, kind: Any, place: str, mistakes: dict[str, str]) -> None:
    """Decode each field of an object or item of an array, and add its errors to `mistakes`."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        content = msgspec.json.decode(raw, type=dict[str, Raw])
        fields = {field.encode_name: field for field in structs.fields(kind)}
        known = {*fields, kind.__struct_config__.tag_field}
        unknown = (name for name in content if name not in known)
        mistakes.update({place + name: UNKNOWN for name in islice(unknown, MAX_MISTAKES)})
        for name, field in fields.items():
            if name in content:
                _decode(content[name], field.type, f"{place}{name}.", mistakes)
            elif field.required:
                mistakes[place + name] = REQUIRED
    elif get_origin(kind) in (tuple, list):
        for number, item in enumerate(msgspec.json.decode(raw, type=list[Raw])):
            if len(mistakes) >= MAX_MISTAKES:
                return
            _decode(item, get_args(kind)[0], f"{place}{number}.", mistakes)


def _unstorable(value: object, place: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the error of each value that the database cannot store."""
    if isinstance(value, str) and "\0" in value:
        yield place, "Text cannot hold the NUL character"
    elif isinstance(value, datetime):
        try:
            value.astimezone(UTC)
        except OverflowError:  # the UTC time would be before year 1 or after year 9999
            yield place, "Choose a time nearer to now"
    elif isinstance(value, Struct):
        for field in structs.fields(value):
            yield from _unstorable(getattr(value, field.name), f"{place}{field.encode_name}.")
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _unstorable(item, f"{place}{number}.")


def _alternatives(shape: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself, without their constraints."""
    if get_origin(shape) is Annotated:
        return _alternatives(get_args(shape)[0])
    if get_origin(shape) in (Union, UnionType):
        return tuple(kind for choice in get_args(shape) for kind in _alternatives(choice))
    return (shape,)


def _sentence(error: msgspec.ValidationError, shape: Any) -> str:
    """Return the message of an error without its path, and with the values of an enumeration."""
    message = str(error).partition(" - at `")[0]
    for kind in _alternatives(shape):
        if message.startswith("Invalid enum value") and get_origin(kind) is Literal:
            return f"Expected one of {', '.join(map(repr, get_args(kind)))}"
    return message
