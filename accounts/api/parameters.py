"""Parameters of the query and of headers: parsed as strictly as the fields of a body.

A parameter is annotated as a field is: `before: Annotated[int, Meta(ge=0)] | None = None`.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin
from uuid import UUID

import msgspec
from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest
from msgspec import Struct

from accounts.api.bodies import Time
from accounts.api.openapi import schema_of
from accounts.errors import Invalid
from accounts.fields import WRONG_FIELDS, WRONG_VALUES

_UUID: Final = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Header(Struct, frozen=True):
    """Marks a parameter that is read from this header: `Annotated[str, Header("If-Match")]`."""

    name: str


class Parameter:
    """A parameter of an operation, described by a parameter of its function."""

    def __init__(self, parameter: inspect.Parameter, hint: Any) -> None:
        kind = _without_none(hint)
        metadata = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
        header = next((each.name for each in metadata if isinstance(each, Header)), None)
        self.name: Final = header or parameter.name
        self.place: Final = "query" if header is None else "header"
        self.default: Final = parameter.default
        self._kind = kind
        self._parse = _PARSERS[get_args(kind)[0] if metadata else kind]

    def parse(self, text: str) -> Any:
        """Return the value of a text; raises msgspec.ValidationError."""
        return self._parse(text, self._kind)

    def describe(self) -> dict[str, Any]:
        """Return the OpenAPI description."""
        schema = dict(schema_of(self._kind))
        if self.default not in (None, ""):
            schema["default"] = self.default
        described = {"name": self.name, "in": self.place, "required": False, "schema": schema}
        if description := schema.pop("description", ""):
            described["description"] = description
        return described


def parse_parameters(request: HttpRequest, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return the values, by the names in the function. Raises Invalid, which names each mistake.

    A parameter of the query that the operation does not have is a mistake, because a misspelled
    filter would return another list than the client asked for.
    """
    query = _query(request)
    known = {each.name for each in parameters.values() if each.place == "query"}
    unknown = {name: "Unknown parameter" for name in query if name not in known}
    wrong: dict[str, str] = {}
    values = {}
    for name, parameter in parameters.items():
        texts = query.get(parameter.name, [])
        if parameter.place == "header" and (text := request.headers.get(parameter.name)):
            texts = [text]
        values[name] = parameter.default
        try:
            if len(texts) > 1:
                wrong[parameter.name] = "Expected one value"
            elif texts:
                values[name] = parameter.parse(texts[0])
        except msgspec.ValidationError as error:
            wrong[parameter.name] = str(error)
    if unknown or wrong:
        raise Invalid(WRONG_FIELDS if unknown else WRONG_VALUES, fields=unknown | wrong)
    return values


def _query(request: HttpRequest) -> dict[str, list[str]]:
    try:
        return dict(request.GET.lists())
    except TooManyFieldsSent:
        raise Invalid(WRONG_FIELDS) from None


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (each for each in get_args(hint) if each is not type(None))
    return hint


def _parse_text(text: str, kind: Any) -> Any:
    if "\0" in text:  # PostgreSQL cannot store it, nor compare with it
        raise msgspec.ValidationError("Text cannot hold the NUL character")
    return msgspec.convert(text, kind)


def _parse_integer(text: str, kind: Any) -> Any:
    if not re.fullmatch("-?[0-9]{1,18}", text):
        raise msgspec.ValidationError("Expected `int`")
    return msgspec.convert(int(text), kind)


def _parse_boolean(text: str, kind: Any) -> bool:
    if text not in ("true", "false"):
        raise msgspec.ValidationError("Expected `true` or `false`")
    return text == "true"


def _parse_uuid(text: str, kind: Any) -> UUID:
    if not _UUID.fullmatch(text):
        raise msgspec.ValidationError("Invalid UUID")
    return UUID(text)


def _parse_time(text: str, kind: Any) -> datetime:
    try:
        time: datetime = msgspec.convert(text, Time)
        return time.astimezone(UTC)
    except OverflowError:  # the UTC time would be before year 1 or after year 9999
        raise msgspec.ValidationError("Choose a time nearer to now") from None


_PARSERS: Final[Mapping[Any, Callable[[str, Any], Any]]] = {
    str: _parse_text,
    int: _parse_integer,
    bool: _parse_boolean,
    UUID: _parse_uuid,
    datetime: _parse_time,
}
