"""The REST API: all routers, one form of errors, and the OpenAPI schema."""

import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, cast

import structlog
from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import re_path
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import condition
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from accounts.api import audit, me, openapi, teams
from accounts.api.authentication import AUTH
from accounts.api.bodies import CONTENT_TYPE, error_response
from accounts.api.rate_limit_headers import with_rate_limits
from accounts.audit.log import set_refusal
from accounts.disk import unavailable
from accounts.errors import Invalid, MaruError, NotFound, Unauthenticated, is_outage
from accounts.fields import WRONG_VALUES
from agents.api import connections, grants, mcp, personas, tools
from maru import __version__
from maru.web.api_docs import Reference
from rooms.api import (
    approvals,
    invitations,
    marks,
    messages,
    prompts,
    questions,
    rooms,
    rounds,
    threads,
    votes,
)
from rooms.protocol.schemas import require_place, wire_schema

log = structlog.get_logger(__name__)

View = Callable[..., Any]

WIRE: Final = json.dumps(wire_schema(), ensure_ascii=False, separators=(",", ":")).encode()
"""The JSON Schema of the WebSocket protocol. Every client gets the same bytes."""
_WIRE_TAG: Final = f'"{hashlib.sha256(WIRE).hexdigest()[:32]}"'
_WIRE_EXTRA: Final[dict[str, Any]] = {
    "security": [],
    "responses": {
        200: {
            "description": "The JSON Schema of every frame, in both directions.",
            "content": {CONTENT_TYPE: {"schema": {"type": "object"}}},
        },
        503: {"$ref": "#/components/responses/Unavailable"},  # the session is in the database
    },
}


class MethodNotAllowed(Invalid):
    """The path exists and has no operation for this method."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    default_detail = _("This path does not support this method. See the API reference.")


class Api(NinjaAPI):
    """NinjaAPI with Maru's form of errors, on every path and in the OpenAPI schema."""

    @property
    def urls(self) -> tuple[list[Any], str, str]:
        """The URL patterns for `path`; one more pattern returns `not_found` for unknown paths."""
        patterns, app_name, namespace = super().urls
        for pattern in patterns:
            pattern.callback = _with_own_errors(cast("View", pattern.callback))
        *routes, root = patterns  # ninja needs the name of the root; its page stays unreachable
        return [*routes, re_path("", _unknown_path), root], app_name, namespace

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        """Return the schema with the structs, the errors and the headers added."""
        schema = super().get_openapi_schema(**kwargs)
        responses = openapi.error_responses(openapi.ERRORS)
        components = schema["components"]
        components["headers"], components["responses"] = openapi.HEADERS, responses
        components.setdefault("schemas", {}).update(deepcopy(openapi.COMPONENTS))
        require_place(components["schemas"])
        return schema


def _with_own_errors(view: View) -> View:
    """Exempt a view from the login redirect, and replace ninja's response for a wrong method."""

    @wraps(view)
    @with_rate_limits
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = view(request, *args, **kwargs)
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return response
        refused = _error_for(request, MethodNotAllowed())
        refused["Allow"] = response["Allow"]
        return refused

    return login_not_required(wrapped)


@csrf_exempt  # it changes nothing, and a program must get 404, not the page of the CSRF check
@login_not_required
@with_rate_limits
def _unknown_path(request: HttpRequest) -> HttpResponse:
    return _error_for(request, NotFound())


def _error_for(request: HttpRequest, error: MaruError) -> HttpResponse:
    """Return the response for `error`; without credentials, 401 with one body for all paths."""
    try:
        authenticated = any(auth(request) for auth in AUTH)
    except MaruError as refused:
        return error_response(refused)
    except DatabaseError as failure:
        return _on_database_error(request, failure)
    return error_response(error if authenticated else Unauthenticated())


api = Api(
    title="Maru",
    version=__version__,
    description="Teams, rooms, personas and messages. Live events are on the WebSocket at /ws/.",
    urls_namespace="api",
    auth=AUTH,
    docs=Reference(),
)
for module in (
    *(me, audit, teams, connections, mcp, personas, grants, tools, invitations),
    *(rooms, messages, rounds, threads, marks, votes, approvals, questions, prompts),
):
    api.add_router("", module.routes.router)


@api.get(
    "/wire.json",
    auth=None,
    tags=["rooms"],
    operation_id="get_wire",
    summary="Get the JSON Schema of the WebSocket protocol",
    response={200: None},
    openapi_extra=_WIRE_EXTRA,
)
@condition(etag_func=lambda _request: _WIRE_TAG)
@cache_control(public=True, max_age=3_600)
def get_wire(request: HttpRequest) -> HttpResponse:
    """Needs no credentials."""
    return HttpResponse(WIRE, content_type=CONTENT_TYPE)


@api.exception_handler(MaruError)
def _on_error(request: HttpRequest, error: MaruError) -> HttpResponse:
    set_refusal(request, error)
    return error_response(error)


@api.exception_handler(DatabaseError)
def _on_database_error(request: HttpRequest, error: DatabaseError) -> HttpResponse:
    trace = not is_outage(error)
    log.warning("api.database_away", error=type(error).__name__, exc_info=trace)
    return error_response(unavailable(error))


@api.exception_handler(AuthenticationError)
def _on_unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return error_response(Unauthenticated())


@api.exception_handler(Http404)
def _on_not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return error_response(NotFound())


@api.exception_handler(ValidationError)
def _on_invalid_parameters(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Return `not_found` for an invalid path parameter, `invalid` for other parameters."""
    if any(mistake["loc"][0] == "path" for mistake in error.errors):
        return error_response(NotFound())
    fields = {".".join(map(str, mistake["loc"][1:])): mistake["msg"] for mistake in error.errors}
    return error_response(Invalid(WRONG_VALUES, fields=fields))


@api.exception_handler(HttpError)
def _on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return error_response(Invalid())
