"""The WebSocket handshake: authenticates the user, or refuses with an HTTP status."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from accounts.api.bodies import error_body
from accounts.audit.log import client_address
from accounts.errors import (
    Forbidden,
    Invalid,
    MaruError,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
    is_outage,
)
from rooms import metrics
from rooms.protocol import compact
from rooms.socket.authentication import Authenticator, Credentials, Identity

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
    """ASGI middleware that adds user, credential, language and subprotocol to the scope.

    It refuses with an HTTP status, checked in this order: foreign Origin (403), invalid credentials
    (401), missing subprotocol (400), too many connections (429); 503 if the database is
    unavailable.
    `maru.v1` must be offered; a client that also offers `maru.v1.compact` gets that one.
    A request without Origin needs a bearer token, because only programs send none.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._authenticator = Authenticator()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        request = as_page_request(scope)
        language = translation.get_language_from_request(request)
        try:
            identity = await self._admit(request, scope)
        except MaruError as error:
            with translation.override(language):
                await _refuse(receive, send, error)
            return
        del request  # it would stay in memory for as long as the connection
        user, offers = identity.user, scope["subprotocols"]
        client_address.set((scope.get("client") or ("",))[0])
        added = {
            "user": user,
            "credential": identity.credential,
            "language": language,
            "subprotocol": compact.SUBPROTOCOL if compact.SUBPROTOCOL in offers else SUBPROTOCOL,
        }
        with counted_connection(user.pk):
            await self._app({**scope, **added}, receive, send)

    async def _admit(self, request: HttpRequest, scope: dict[str, Any]) -> Identity:
        """Return the identity of a client; raises MaruError for a refused handshake."""
        if not _is_allowed_origin(request):
            raise Forbidden(_("Connect from a page of this server, or with a bearer token."))
        try:
            identity = await self._authenticator.authenticate(credentials_of(request))
        except DatabaseError as error:
            trace = not is_outage(error)
            log.warning("handshake.database_away", error=type(error).__name__, exc_info=trace)
            raise Unavailable from None
        if identity is None:
            raise Unauthenticated
        if SUBPROTOCOL not in scope["subprotocols"]:
            detail = _("Offer the subprotocol maru.v1 in Sec-WebSocket-Protocol.")
            raise Invalid(detail, fields={"Sec-WebSocket-Protocol": detail})
        if is_at_connection_limit(identity.user.pk):
            raise RateLimited(_("You have too many connections. Close one and try again."))
        return identity


def credentials_of(request: HttpRequest) -> Credentials:
    """Return the bearer token (RFC 6750 §2.1) and the session cookie of a request."""
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
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
    await _refuse(receive, send, NotFound())


async def _refuse(receive: Any, send: Any, error: MaruError) -> None:
    """Answer with the ASGI extension "websocket.http.response", which uvicorn supports."""
    metrics.SOCKETS_REFUSED.labels(error.code).inc()
    await receive()
    body = error_body(error)
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    start = {"type": "websocket.http.response.start", "status": error.status, "headers": headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": body})
    # uvicorn logs an error if the application returns before the handshake is over. It is over when
    # the connection is closed: uvicorn sends one message before the close and one after it.
    await receive()
    await receive()
