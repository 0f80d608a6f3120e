"""The REST API: every router under one roof, and one way to say no."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, cast

import orjson
import structlog
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseFailure
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import re_path
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.renderers import BaseRenderer

from accounts.api import idempotency
from accounts.api.audit import router as audit_router
from accounts.api.endpoints import AUTH, SHARED, Refusal, invalid, refusal
from accounts.api.me import router as accounts_router
from accounts.api.teams import router as teams_router
from accounts.audit.log import set_refusal
from accounts.errors import Invalid, MaruError, NotFound, Unauthenticated, Unavailable
from agents.api.grants import router as grants_router
from agents.api.personas import router as agents_router
from maru import __version__
from maru.web.api_docs import Reference
from rooms.api.invitations import router as invitations_router
from rooms.api.messages import router as messages_router
from rooms.api.rooms import router as rooms_router

log = structlog.get_logger(__name__)

View = Callable[..., Any]


_IDEMPOTENCY: Final = {
    "in": "header",
    "name": idempotency.HEADER,
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": idempotency.LONGEST},
}


class WrongMethod(Invalid):
    """The path is there, and not for this."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    default_detail = _("This path does not know this method.")


class Utf8(BaseRenderer):
    """JSON as people read it: UTF-8 without escapes."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data, default=str)


class Api(NinjaAPI):
    """Ninja's API, but all of its refusals are ours, and its schema tells of them."""

    @property
    def urls(self) -> tuple[list[Any], str, str]:
        """The routes, as `path` takes them; what no router has taken is not there."""
        patterns, app_name, namespace = super().urls
        for pattern in patterns:
            pattern.callback = _in_our_words(cast("View", pattern.callback))
        *routes, root = patterns  # ninja asks for the root by its name, and shows nothing there
        return [*routes, re_path("", _nothing_here), root], app_name, namespace

    def get_openapi_operation_id(self, operation: Any) -> str:
        """Name an operation as its function is named: a client's methods are called so."""
        name: str = operation.view_func.__name__
        return name

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        """Say at every operation how it refuses."""
        schema = super().get_openapi_schema(**kwargs)
        parts = schema["components"].setdefault("schemas", {})
        shared = {**SHARED, "Refusal": Refusal.model_json_schema()}
        if clashing := {name for name in parts.keys() & shared if parts[name] != shared[name]}:
            raise LookupError(f"Two shapes of the API have the same name: {sorted(clashing)}")
        parts.update(shared)
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"]["default"] = {"description": "No", "content": content}
            if "post" in operations:
                operations["post"].setdefault("parameters", []).append(_IDEMPOTENCY)
        return schema


def _in_our_words(view: View) -> View:
    """Let everybody in, for the API asks for credentials itself, and word ninja's own refusal."""

    def answer(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return response
        said = _refuse(request, WrongMethod())
        said["Allow"] = response["Allow"]
        return said

    if iscoroutinefunction(view):

        @wraps(view)
        async def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            response = await view(request, *args, **kwargs)
            return await sync_to_async(answer)(request, response)
    else:

        @wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return answer(request, view(request, *args, **kwargs))

    return login_not_required(wrapped)


@csrf_exempt
@login_not_required
def _nothing_here(request: HttpRequest) -> HttpResponse:
    return _refuse(request, NotFound())


def _refuse(request: HttpRequest, error: MaruError) -> HttpResponse:
    """Say `error` to somebody; to nobody always the same, whatever they ask for."""
    try:
        someone = any(auth(request) for auth in AUTH)
    except MaruError as refused:
        return refusal(refused)
    except DatabaseFailure as failure:
        return _away(request, failure)
    return refusal(error if someone else Unauthenticated())


api = Api(
    title="Maru",
    version=__version__,
    description="Teams, rooms, personas and what is said. The same comes live over /ws/.",
    urls_namespace="api",
    auth=AUTH,
    renderer=Utf8(),
    docs=Reference(),
)
api.add_router("", accounts_router)
api.add_router("", audit_router)
api.add_router("", teams_router)
api.add_router("", agents_router)
api.add_router("", grants_router)
api.add_router("", invitations_router)
api.add_router("", rooms_router)
api.add_router("", messages_router)


@api.exception_handler(MaruError)
def _named(request: HttpRequest, error: MaruError) -> HttpResponse:
    set_refusal(request, error)
    return refusal(error)


@api.exception_handler(DatabaseFailure)
def _away(request: HttpRequest, error: DatabaseFailure) -> HttpResponse:
    # One that is away is known by its name; of anything else we want to see where it comes from.
    trace = not isinstance(error, OperationalError)
    log.warning("api.database_away", error=type(error).__name__, exc_info=trace)
    return refusal(Unavailable())


@api.exception_handler(AuthenticationError)
def _nobody(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return refusal(Unauthenticated())


@api.exception_handler(Http404)
def _absent(request: HttpRequest, error: Http404) -> HttpResponse:
    return refusal(NotFound())


@api.exception_handler(ValidationError)
def _unreadable(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """A path that cannot be read leads nowhere; the rest of a request can be mended."""
    if any(mistake["loc"][0] == "path" for mistake in error.errors):
        return refusal(NotFound())
    return refusal(invalid(error.errors, skip=1))


@api.exception_handler(HttpError)
def _other(request: HttpRequest, error: HttpError) -> HttpResponse:
    return refusal(Invalid())
