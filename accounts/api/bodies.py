"""Bodies of REST requests and responses: msgspec structs, decoded and encoded in one place."""

from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, structs

from accounts.errors import Invalid, MaruError, TooLarge

CONTENT_TYPE: Final = "application/json"
MAX_MISTAKES: Final = 100
"""The approximate maximum of wrong fields named for one object or array: bounds work and size."""

Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time in a response: RFC 3339 in UTC with milliseconds, made by `format_timestamp`."""
Time = Annotated[datetime, Meta(tz=True)]
"""A time in a request: RFC 3339 with an offset."""


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request. Unknown fields are an error. Arrays are tuples: `tuple[UUID, ...]`."""

    def changes(self) -> dict[str, Any]:
        """Return the fields that the client sent, for a body whose defaults are all UNSET."""
        fields = structs.asdict(self)
        return {name: value for name, value in fields.items() if value is not UNSET}


BodyType = TypeVar("BodyType", bound=Body)


def decode_body(request: HttpRequest, shape: type[BodyType]) -> BodyType:
    """Return the decoded body of a request.

    Raises Invalid, whose `fields` name every wrong field, or TooLarge.
    """
    mistakes: dict[str, str] = {}
    try:
        body: BodyType | None = _decode(request.body, shape, "", mistakes)
    except RequestDataTooBig:
        raise TooLarge from None
    # msgspec raises UnicodeDecodeError for invalid UTF-8, RecursionError for deeply nested JSON.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Invalid from None
    if body is None or mistakes:
        # The place "" stands for a body that is not an object, so that no field can be named.
        raise Invalid(fields={place.rstrip("."): text for place, text in mistakes.items() if place})
    return body


def _decode(raw: bytes | Raw, shape: Any, place: str, mistakes: dict[str, str]) -> Any:
    """Return the decoded value, or None after adding each error to `mistakes`, by place.

    msgspec stops at the first mistake. An object or array with a mistake is therefore decoded
    again, field by field or item by item. Raises msgspec.DecodeError for malformed JSON.
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
        return None
    mistakes.update(_unstorable(value, place))
    return value


def _decode_parts(raw: bytes | Raw, kind: Any, place: str, mistakes: dict[str, str]) -> None:
    """Decode each field of an object or item of an array, and add its errors to `mistakes`."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        content = msgspec.json.decode(raw, type=dict[str, Raw])
        fields = {field.encode_name: field for field in structs.fields(kind)}
        unknown = (name for name in content if name not in fields)
        mistakes.update({place + name: "Unknown field" for name in islice(unknown, MAX_MISTAKES)})
        for name, field in fields.items():
            if name in content:
                _decode(content[name], field.type, f"{place}{name}.", mistakes)
            elif field.required:
                mistakes[place + name] = "This field is required"
    elif get_origin(kind) is tuple:
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


def _plain(value: object) -> str:
    """Return the text of a subclass of str (SafeString): msgspec encodes only exact types."""
    if isinstance(value, str):
        return str.__str__(value)  # str() would call the __str__ of the subclass
    raise NotImplementedError(f"{type(value).__name__} cannot be encoded as JSON")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


def encode(body: object) -> bytes:
    """Return a body as JSON."""
    return _encoder.encode(body)


def json_response(body: object, status: int = 200) -> HttpResponse:
    """Return a response whose content is `body` as JSON."""
    return HttpResponse(encode(body), content_type=CONTENT_TYPE, status=status)


class ErrorBody(Struct, frozen=True):
    """An error: `code` for programs, `detail` for people, `fields` for each wrong field."""

    code: str
    detail: str
    fields: dict[str, str] | UnsetType = UNSET


def error_response(error: MaruError) -> HttpResponse:
    """Return the response for an error; every error of the REST API has this form."""
    fields = {name: str(text) for name, text in (error.fields or {}).items()}
    body = ErrorBody(error.code, str(error.detail), fields or UNSET)
    response = json_response(body, error.status)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    return response
