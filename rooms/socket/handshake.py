"""The WebSocket handshake: authenticates the user, or refuses with an HTTP status."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import orjson
import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header

from accounts.audit.log import client_address
from accounts.errors import is_outage
from rooms.socket.authentication import Authenticator, Credentials

log = structlog.get_logger(__name__)

SUBPROTOCOL: Final = "maru.v1"
MAX_CONNECTIONS_PER_USER: Final = 200

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
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        scheme, _, token = headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else None
        if not _is_allowed_origin(headers, scope, bearer):
            await _refuse(receive, send, HTTPStatus.FORBIDDEN, "forbidden")
            return
        credentials = Credentials(bearer, _cookie(headers, settings.SESSION_COOKIE_NAME))
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
            "language": _language(headers),
        }
        with counted_connection(user.pk):
            await self._app({**scope, **added}, receive, send)


def _is_allowed_origin(headers: dict[str, str], scope: dict[str, Any], bearer: str | None) -> bool:
    """Compare Origin (RFC 6454) with the Host of the request and with the public address."""
    origin = headers.get("origin")
    if origin is None:
        return bearer is not None
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    host = headers.get("host", "")
    scheme = "https" if scope.get("scheme") in {"wss", "https"} else "http"
    try:
        if urlsplit(f"//{host}").hostname not in settings.ALLOWED_HOSTS:
            return False
    except ValueError:  # unbalanced brackets of an IPv6 address
        return False
    return origin == f"{scheme}://{host}"


def _language(headers: dict[str, str]) -> str:
    """Return the language of the user's cookie, else of Accept-Language, else the default."""
    accepted = [code for code, _ in parse_accept_lang_header(headers.get("accept-language", ""))]
    chosen = _cookie(headers, settings.LANGUAGE_COOKIE_NAME)
    for code in [chosen, *accepted] if chosen else accepted:
        try:
            return translation.get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


def _cookie(headers: dict[str, str], name: str) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return morsel.value if morsel else None


async def refuse_unknown_path(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Refuse a handshake at a path that has no socket (404)."""
    await _refuse(receive, send, HTTPStatus.NOT_FOUND, "not_found")


async def _refuse(receive: Any, send: Any, status: HTTPStatus, code: str) -> None:
    """Answer with the ASGI extension "websocket.http.response", which uvicorn supports."""
    await receive()
    body = orjson.dumps({"code": code, "detail": status.phrase})
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
    # uvicorn logs an error if the application returns before the handshake is over. It is over when
    # the connection is closed: uvicorn sends one message before the close and one after it.
    await receive()
    await receive()
