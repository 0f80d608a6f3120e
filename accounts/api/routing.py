"""Declares the operations of the REST API: one decorator per function.

The decorator authenticates the user, checks the permission, decodes the body and encodes the
response, in this order, and derives the OpenAPI description from the function's annotations.
The response to a user without access therefore does not depend on the body.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from http import HTTPStatus
from typing import (
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    Required,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    get_type_hints,
    overload,
)

import msgspec
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from ninja import Router

from accounts.api.bodies import CONTENT_TYPE, Body, decode_body, json_response, refuse_body
from accounts.api.idempotency import KEY_PARAMETER, run_once
from accounts.api.openapi import describe, operation_id
from accounts.api.parameters import Parameter, parse_parameters
from accounts.errors import (
    Conflict,
    DiskFull,
    Forbidden,
    Invalid,
    MaruError,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from accounts.models import User
from accounts.permissions import require_user

P = ParamSpec("P")
Result = TypeVar("Result")
Resource = TypeVar("Resource")
_Function = Callable[Concatenate[User, P], Result]
_GatedFunction = Callable[Concatenate[User, Resource, P], Result]


class Gate(Generic[Resource]):
    """The permission check of an operation: `Gate(access_room, MANAGE)`.

    `check` gets the user, the parameters of the path and the query that its signature names (for
    example `room_id`) and `permission`, if given, as its last positional argument. It returns the
    resource, or raises NotFound or Forbidden.
    """

    def __init__(self, check: Callable[..., Resource], permission: str | None = None) -> None:
        _user, *rest = inspect.signature(check).parameters.values()
        fixed: dict[str, str] = {}
        if permission is not None:
            positional = [each for each in rest if each.kind is not each.KEYWORD_ONLY]
            fixed[positional[-1].name] = permission
        self.parameters: Final = [
            each for each in rest if each.name not in fixed and each.default is each.empty
        ]
        self._check = check
        self._fixed = fixed

    def access(self, user: User, values: Mapping[str, Any]) -> Resource:
        """Return the resource; raises NotFound or Forbidden."""
        named = {each.name: values[each.name] for each in self.parameters}
        return self._check(user, **named, **self._fixed)


class Options(TypedDict, total=False):
    """The options of an operation."""

    summary: Required[str]
    status: int
    """The status of a successful response: by default 200, or 204 for one without content."""
    check: Callable[[User], None]
    """A check of the user alone; it runs before the gate."""
    gate_if_invalid: Gate[Any]
    """The gate that the service checks. The endpoint checks it only if the request is invalid:
    the response then does not depend on the body, and a valid request needs no second query."""
    prepare: Callable[[User, Any, Mapping[str, Any]], Body]
    """Runs after the gate and the decoding of the body, and before the transaction of the
    Idempotency-Key begins; gets the parameters of the path; returns the body for the function."""
    optional_body: bool
    """True if a request without a body is a request with an empty object."""
    yaml_field: str
    """The field of the body that has the whole content of a request in YAML."""
    idempotency: Literal["replay", "repeat", "ignore"]
    """How a POST with a known Idempotency-Key is handled: "replay" returns the stored response (the
    default), "repeat" calls the function again, which must recognize the repetition, and "ignore"
    ignores the key."""
    errors: tuple[type[MaruError], ...]
    """The errors of the operation beside those that follow from its method, path and gate."""
    location: str
    """The path of the created thing, for status 201: a format string with the parameters of the
    path and the fields of the response."""
    response: Any
    """The type, or the OpenAPI description, of a response that the function itself encodes."""


class Routes:
    """The operations of one subject, for `NinjaAPI.add_router`."""

    def __init__(self, tag: str) -> None:
        self.router: Final = Router(tags=[tag])

    @overload
    def add(
        self, operation: str, /, **options: Unpack[Options]
    ) -> Callable[[_Function[P, Result]], _Function[P, Result]]: ...

    @overload
    def add(
        self, operation: str, gate: Gate[Resource], /, **options: Unpack[Options]
    ) -> Callable[[_GatedFunction[Resource, P, Result]], _GatedFunction[Resource, P, Result]]: ...

    def add(
        self, operation: str, gate: Gate[Any] | None = None, /, **options: Unpack[Options]
    ) -> Any:
        """Register the decorated function for an operation: `"PATCH /rooms/{uuid:room_id}"`.

        The function's first argument is the user; with a gate, its second is the resource. The
        other parameters are filled by name: the decoded body (annotated with a Body class), the
        HttpRequest, and the parameters of the path and the query. The function returns the body
        of the response, None for 204, or an HttpResponse.
        """
        method, path = operation.split(" ")

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            endpoint = _Endpoint(function, method, path, gate, options)
            self.router.add_api_operation(
                path,
                [method],
                endpoint.view(),
                summary=options["summary"],
                response={endpoint.status: None},
                operation_id=operation_id(method, re.sub(r"{\w+:", "{", path)),
                openapi_extra=endpoint.describe(),
            )
            return function

        return register


class _Endpoint:
    """A function, and the description of request and response derived from its signature."""

    def __init__(
        self,
        function: Callable[..., Any],
        method: str,
        path: str,
        gate: Gate[Any] | None,
        options: Options,
    ) -> None:
        self._function, self._gate, self._options = function, gate, options
        self._method = method
        self._idempotency = options.get("idempotency", "replay") if method == "POST" else "ignore"
        hints = get_type_hints(function, include_extras=True)
        returned = None if hints["return"] is type(None) else hints["return"]
        self.response: Final = options.get("response", returned)
        self.status: Final = options.get("status", 204 if self.response is None else 200)
        self.body: type[Body] | None = None
        self._body_name = ""
        self._request_name = ""
        self._in_path = frozenset(re.findall(r"{\w+:(\w+)}", path))
        self._from_path: dict[str, inspect.Parameter] = {}
        self._parameters: dict[str, Parameter] = {}
        injected = 1 if gate is None else 2
        for name, parameter in [*inspect.signature(function).parameters.items()][injected:]:
            if isinstance(hints[name], type) and issubclass(hints[name], Body):
                self.body, self._body_name = hints[name], name
            elif hints[name] is HttpRequest:
                self._request_name = name
            elif name in self._in_path:
                self._from_path[name] = parameter
            else:
                self._parameters[name] = Parameter(parameter, hints[name])

    def describe(self) -> dict[str, Any]:
        """Return the OpenAPI description, without the parameters of the path."""
        parameters = [each.describe() for each in self._parameters.values()]
        if self._idempotency != "ignore":
            parameters.append(KEY_PARAMETER)
        return describe(
            parameters=parameters,
            body=self.body,
            body_required=not self._options.get("optional_body", False),
            yaml_field=self._options.get("yaml_field", ""),
            response=self.response,
            status=self.status,
            errors=self._errors(),
        )

    def _errors(self) -> Iterator[type[MaruError]]:
        """Yield the errors that the operation can return."""
        yield from (Invalid, Unauthenticated, RateLimited, Unavailable)
        yield from self._options.get("errors", ())
        gates = {"check", "gate_if_invalid"} & self._options.keys()
        if self._method != "GET" or self._gate is not None or gates:
            yield Forbidden
        if self._in_path:
            yield NotFound
        if self._method != "GET":
            yield from (TooLarge, DiskFull)
        if self._idempotency != "ignore":
            yield Conflict

    def view(self) -> Callable[..., HttpResponseBase]:
        """Return the view for ninja, which parses the path by its signature."""

        @wraps(self._function)
        def view(request: HttpRequest, **values: Any) -> HttpResponseBase:
            return self._handle(request, values)

        gates = (self._gate, self._options.get("gate_if_invalid"))
        of_gates = {
            each.name: each
            for gate in gates
            if gate
            for each in gate.parameters
            if each.name in self._in_path
        }
        keyword, request = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY
        view.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # read by `signature`
            [
                inspect.Parameter("request", request),
                *(each.replace(kind=keyword) for each in {**of_gates, **self._from_path}.values()),
            ]
        )
        return view

    def _handle(self, request: HttpRequest, values: dict[str, Any]) -> HttpResponseBase:
        user = require_user(request)
        if check := self._options.get("check"):
            check(user)
        given = self._parse(request, user, values)
        injected: list[Any] = [user]
        if self._gate is not None:
            injected.append(self._gate.access(user, values | given))
        named = {name: values[name] for name in self._from_path} | given
        if self._request_name:
            named[self._request_name] = request
        body = self._decode(request, user, values)
        if body is not None:
            named[self._body_name] = body

        def act() -> HttpResponse:
            return self._respond(self._function(*injected, **named))

        if self._idempotency == "ignore":
            response = act()
        else:
            response = run_once(request, act, replay=self._idempotency == "replay")
        if self.status == HTTPStatus.CREATED:
            response["Location"] = self._location(response.content, values)
        return response

    def _parse(self, request: HttpRequest, user: User, values: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters of the query and of headers."""
        try:
            return parse_parameters(request, self._parameters)
        except Invalid:
            # The access is decided first; the defaults of the parameters are enough for that.
            defaults = {name: each.default for name, each in self._parameters.items()}
            for gate in (self._gate, self._options.get("gate_if_invalid")):
                if gate is not None:
                    gate.access(user, values | defaults)
            raise

    def _decode(self, request: HttpRequest, user: User, values: Mapping[str, Any]) -> Body | None:
        try:
            if self.body is None:
                refuse_body(request)
                return None
            optional = self._options.get("optional_body", False)
            field = self._options.get("yaml_field", "")
            body = decode_body(request, self.body, is_optional=optional, yaml_field=field)
        except MaruError:
            if gate := self._options.get("gate_if_invalid"):
                gate.access(user, values)
            raise
        prepare = self._options.get("prepare")
        return body if prepare is None else prepare(user, body, values)

    def _respond(self, result: object) -> HttpResponse:
        if isinstance(result, HttpResponseBase):
            return cast("HttpResponse", result)  # or a StreamingHttpResponse
        if result is None:
            return HttpResponse(status=self.status, content_type=CONTENT_TYPE)
        return json_response(result, self.status)

    def _location(self, content: bytes, values: Mapping[str, Any]) -> str:
        """Return the path of the created thing; the content may be a stored response."""
        body: dict[str, Any] = msgspec.json.decode(content)
        path = self._options["location"].format_map({**values, **body})
        return reverse("api:api-root").removesuffix("/") + path
