"""Bodies of REST requests and responses: msgspec structs, decoded and encoded in one place."""

import re
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from accounts import fields
from accounts.errors import Invalid, MaruError, TooLarge
from accounts.fields import one_of

CONTENT_TYPE: Final = "application/json"
YAML_TYPES: Final = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
"""The media type of YAML, and its deprecated aliases (RFC 9512 §2.1)."""
CODES: Final = sorted({error.code for error in MaruError.__subclasses__()})
"""The codes of all errors."""
Time = Annotated[datetime, Meta(tz=True)]
"""A time in a request: RFC 3339 with an offset."""


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request. Unknown fields are an error. Arrays are tuples: `tuple[UUID, ...]`."""

    def changes(self) -> dict[str, Any]:
        """Return the fields that the client sent, for a body whose defaults are all UNSET."""
        fields = structs.asdict(self)
        return {name: value for name, value in fields.items() if value is not UNSET}


_EMPTY_FORM: Final = re.compile(rb"--[!-~]{1,70}--")
"""The multipart body of a form without fields: its closing delimiter (RFC 2046, section 5.1.1)."""


class NoFields(Body, frozen=True):
    """The body of an operation without a body: clients may send an empty object."""


BodyType = TypeVar("BodyType", bound=Body)


def decode_body(
    request: HttpRequest, shape: type[BodyType], *, is_optional: bool = False, yaml_field: str = ""
) -> BodyType:
    """Return the decoded body. Raises Invalid (see `accounts.fields`) or TooLarge.

    A request without a body that `is_optional` is decoded like an empty object. A body in YAML is
    the text of `yaml_field`, if given; the YAML itself is not decoded here.
    """
    content = _content(request)
    if yaml_field and request.content_type in YAML_TYPES:
        content = encode({yaml_field: _text(content, yaml_field)})
    return fields.decode(b"{}" if is_optional and _is_empty(content) else content, shape)


def refuse_body(request: HttpRequest) -> None:
    """Raise Invalid for a request with a body, TooLarge for a very large one."""
    content = _content(request)
    if not _is_empty(content):
        fields.decode(content, NoFields)


def _is_empty(content: bytes) -> bool:
    content = content.strip()
    return not content or _EMPTY_FORM.fullmatch(content) is not None


def _content(request: HttpRequest) -> bytes:
    try:
        return request.body
    except RequestDataTooBig:
        raise TooLarge from None


def _text(content: bytes, field: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Invalid(fields={field: _("The file is not a text in UTF-8.")}) from None


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

    code: Annotated[str, one_of(CODES)]
    detail: str
    fields: dict[str, str] | UnsetType = UNSET


def error_body(error: MaruError) -> bytes:
    """Return an error as JSON, in the current language."""
    fields = {name: str(text) for name, text in (error.fields or {}).items()}
    return encode(ErrorBody(error.code, str(error.detail), fields or UNSET))


def error_response(error: MaruError) -> HttpResponse:
    """Return the response for an error; every error of the REST API has this form."""
    response = HttpResponse(error_body(error), content_type=CONTENT_TYPE, status=error.status)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    return response
