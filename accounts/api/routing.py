"""Declares the operations of the REST API: one decorator per function.

The decorator authenticates the user, checks the permission, decodes the body and encodes the
response, in this order, and derives the OpenAPI description from the function's annotations.
The response to a user without access therefore does not depend on the body.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
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

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import Router

from accounts.api.bodies import CONTENT_TYPE, Body, decode_body, json_response
from accounts.api.idempotency import run_once
from accounts.api.openapi import describe
from accounts.errors import MaruError
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
    """The gate that the service checks. The endpoint checks it only if the body is invalid: the
    response then does not depend on the body, and a valid request needs no second query."""
    prepare: Callable[[User, Any], Body]
    """Runs after the body is decoded and before the transaction of the Idempotency-Key begins;
    returns the body for the function."""
    idempotency: Literal["replay", "repeat", "ignore"]
    """How a POST with a known Idempotency-Key is handled: "replay" returns the stored response (the
    default), "repeat" calls the function again, which must recognize the repetition, and "ignore"
    ignores the key."""
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
            endpoint = _Endpoint(function, method, gate, options)
            self.router.add_api_operation(
                path,
                [method],
                endpoint.view(),
                summary=options["summary"],
                response={endpoint.status: None},
                openapi_extra=describe(endpoint.body, endpoint.response, endpoint.status),
            )
            return function

        return register


class _Endpoint:
    """A function, and the description of request and response derived from its signature."""

    def __init__(
        self, function: Callable[..., Any], method: str, gate: Gate[Any] | None, options: Options
    ) -> None:
        self._function, self._gate, self._options = function, gate, options
        self._idempotency = options.get("idempotency", "replay") if method == "POST" else "ignore"
        hints = get_type_hints(function, include_extras=True)
        returned = None if hints["return"] is type(None) else hints["return"]
        self.response: Final = options.get("response", returned)
        self.status: Final = options.get("status", 204 if self.response is None else 200)
        self.body: type[Body] | None = None
        self._body_name = ""
        self._request_name = ""
        self._own: dict[str, inspect.Parameter] = {}
        injected = 1 if gate is None else 2
        for name, parameter in [*inspect.signature(function).parameters.items()][injected:]:
            if isinstance(hints[name], type) and issubclass(hints[name], Body):
                self.body, self._body_name = hints[name], name
            elif hints[name] is HttpRequest:
                self._request_name = name
            else:
                self._own[name] = parameter

    def view(self) -> Callable[..., HttpResponseBase]:
        """Return the view for ninja, which parses the path and the query by its signature."""

        @wraps(self._function)
        def view(request: HttpRequest, **values: Any) -> HttpResponseBase:
            return self._handle(request, values)

        gates = (self._gate, self._options.get("gate_if_invalid"))
        of_gates = {each.name: each for gate in gates if gate for each in gate.parameters}
        keyword, request = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY
        view.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # read by `signature`
            [
                inspect.Parameter("request", request),
                *(each.replace(kind=keyword) for each in {**of_gates, **self._own}.values()),
            ]
        )
        return view

    def _handle(self, request: HttpRequest, values: Mapping[str, Any]) -> HttpResponseBase:
        user = require_user(request)
        if check := self._options.get("check"):
            check(user)
        injected = [user] if self._gate is None else [user, self._gate.access(user, values)]
        named = {name: values[name] for name in self._own}
        if self._request_name:
            named[self._request_name] = request
        if self.body is not None:
            named[self._body_name] = self._decode(request, self.body, user, values)

        def act() -> HttpResponse:
            return self._respond(self._function(*injected, **named))

        if self._idempotency == "ignore":
            return act()
        return run_once(request, act, replay=self._idempotency == "replay")

    def _decode(
        self, request: HttpRequest, shape: type[Body], user: User, values: Mapping[str, Any]
    ) -> Body:
        try:
            body = decode_body(request, shape)
        except MaruError:
            if gate := self._options.get("gate_if_invalid"):
                gate.access(user, values)
            raise
        prepare = self._options.get("prepare")
        return body if prepare is None else prepare(user, body)

    def _respond(self, result: object) -> HttpResponse:
        if isinstance(result, HttpResponseBase):
            return cast("HttpResponse", result)  # or a StreamingHttpResponse
        if result is None:
            return HttpResponse(status=self.status, content_type=CONTENT_TYPE)
        return json_response(result, self.status)
