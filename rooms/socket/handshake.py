"""The WebSocket handshake: authenticates the user, or refuses with an HTTP status."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from io import BytesIO
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import translation

from accounts.audit.log import client_address
from accounts.errors import is_outage
from rooms import metrics
from rooms.socket.authentication import Authenticator, Credentials

log = structlog.get_logger(__name__)

SUBPROTOCOL: Final = "maru.v1"
MAX_CONNECTIONS_PER_USER: Final = 200

REASONS: Final = (
    "forbidden",
    "unauthenticated",
    "invalid",
    "rate_limited",
    "unavailable",
    "not_found",
)
metrics.start_at_zero(metrics.SOCKETS_REFUSED, REASONS)

_open = Counter[UUID]()


def is_at_connection_limit(user_id: UUID) -> bool:
    """Return True if the user has the maximum of sockets and event streams in this process."""
    return settings.RATE_LIMITS and _open[user_id] >= MAX_CONNECTIONS_PER_USER


@contextmanager
def counted_connection(user_id: UUID) -> Iterator[None]:
    """Count a connection of the user while the context is open. Runs on the event loop."""
    _open[user_id] += 1
    try:
        yield
    finally:
        _open[user_id] -= 1
        if not _open[user_id]:
            del _open[user_id]


class Handshake:
    """ASGI middleware that adds user, credential and language to the scope of a WebSocket.

    It refuses with an HTTP status, checked in this order: foreign Origin (403), invalid credentials
    (401), missing subprotocol (400), too many connections (429); 503 if the database is
    unavailable.
    A request without Origin needs a bearer token, because only programs send none.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._authenticator = Authenticator()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        request = as_page_request(scope)
        if not _is_allowed_origin(request):
            await _refuse(receive, send, HTTPStatus.FORBIDDEN, "forbidden")
            return
        credentials = credentials_of(request)
        try:
            identity = await self._authenticator.authenticate(credentials)
        except DatabaseError as error:
            trace = not is_outage(error)
            log.warning("handshake.database_away", error=type(error).__name__, exc_info=trace)
            await _refuse(receive, send, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
            return
        if identity is None:
            await _refuse(receive, send, HTTPStatus.UNAUTHORIZED, "unauthenticated")
            return
        if SUBPROTOCOL not in scope["subprotocols"]:
            await _refuse(receive, send, HTTPStatus.BAD_REQUEST, "invalid")
            return
        user = identity.user
        if is_at_connection_limit(user.pk):
            await _refuse(receive, send, HTTPStatus.TOO_MANY_REQUESTS, "rate_limited")
            return
        client_address.set((scope.get("client") or ("",))[0])
        added = {
            "user": user,
            "credential": identity.credential,
            "language": translation.get_language_from_request(request),
        }
        with counted_connection(user.pk):
            await self._app({**scope, **added}, receive, send)


def credentials_of(request: HttpRequest) -> Credentials:
    """Return the bearer token (RFC 6750 §2.1) and the session cookie of a request."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else None
    return Credentials(bearer, request.COOKIES.get(settings.SESSION_COOKIE_NAME))


def as_page_request(scope: dict[str, Any]) -> ASGIRequest:
    """Return the head of a request as Django would see it, so that Django's rules apply."""
    scheme = "https" if scope.get("scheme") in {"wss", "https"} else "http"
    page = {**scope, "method": "GET", "scheme": scheme, "query_string": b""}
    return ASGIRequest(page, BytesIO())


def _is_allowed_origin(request: HttpRequest) -> bool:
    """Return True if a page with this Host is served, and may submit a form with this Origin.

    Both answers are Django's, so that sockets and pages accept the same hosts.
    """
    try:
        request.get_host()
    except DisallowedHost:
        return False
    if "Origin" not in request.headers:
        return credentials_of(request).token is not None
    csrf: Any = CsrfViewMiddleware(lambda _request: HttpResponse())
    return bool(csrf._origin_verified(request))  # noqa: SLF001 # the only way to ask Django


async def refuse_unknown_path(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Refuse a handshake at a path that has no socket (404)."""
    await _refuse(receive, send, HTTPStatus.NOT_FOUND, "not_found")


async def _refuse(receive: Any, send: Any, status: HTTPStatus, code: str) -> None:
    """Answer with the ASGI extension "websocket.http.response", which uvicorn supports."""
    metrics.SOCKETS_REFUSED.labels(code).inc()
    await receive()
    body = orjson.dumps({"code": code, "detail": status.phrase})
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
    # uvicorn logs an error if the application returns before the handshake is over. It is over when
    # the connection is closed: uvicorn sends one message before the close and one after it.
    await receive()
    await receive()
