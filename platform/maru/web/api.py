"""The REST API: all routers, one form of errors, and the OpenAPI schema."""

from collections.abc import Callable
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
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from accounts.api import audit, idempotency, me, teams
from accounts.api.authentication import AUTH
from accounts.api.bodies import CONTENT_TYPE, ErrorBody, error_response
from accounts.api.openapi import COMPONENTS, schema_of
from accounts.audit.log import set_refusal
from accounts.disk import unavailable
from accounts.errors import Invalid, MaruError, NotFound, Unauthenticated, is_outage
from agents.api import connections, grants, personas
from maru import __version__
from maru.web.api_docs import Reference
from rooms.api import invitations, messages, rooms

log = structlog.get_logger(__name__)

View = Callable[..., Any]

_IDEMPOTENCY_KEY: Final = {
    "in": "header",
    "name": idempotency.HEADER,
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": idempotency.MAX_LENGTH},
}
_ERROR: Final = {
    "description": "Error",
    "content": {CONTENT_TYPE: {"schema": schema_of(ErrorBody)}},
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

    def get_openapi_operation_id(self, operation: Any) -> str:
        """Return the name of the function: generated clients use it as the method name."""
        name: str = operation.view_func.__name__
        return name

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        """Return the schema with the structs, the errors and `Idempotency-Key` added."""
        schema = super().get_openapi_schema(**kwargs)
        schema["components"].setdefault("schemas", {}).update(COMPONENTS)
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"]["default"] = _ERROR
            if "post" in operations:
                operations["post"].setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
        return schema


def _with_own_errors(view: View) -> View:
    """Exempt a view from the login redirect, and replace ninja's response for a wrong method."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = view(request, *args, **kwargs)
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return response
        refused = _error_for(request, MethodNotAllowed())
        refused["Allow"] = response["Allow"]
        return refused

    return login_not_required(wrapped)


@csrf_exempt
@login_not_required
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
for module in (me, audit, teams, connections, personas, grants, invitations, rooms, messages):
    api.add_router("", module.routes.router)


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
    return error_response(Invalid(fields=fields))


@api.exception_handler(HttpError)
def _on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return error_response(Invalid())
