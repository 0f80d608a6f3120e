"""The door of the socket: who is refused before it opens, and as whom the others come in."""

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
from django.db import DatabaseError, InterfaceError
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header

from accounts.audit.log import client_address
from rooms.socket.authentication import Lookup, Shown

log = structlog.get_logger(__name__)

SUBPROTOCOL: Final = "maru.v1"
SOCKETS_OF_A_USER: Final = 200

_open = Counter[UUID]()


def is_full(user_id: UUID) -> bool:
    """Whether somebody has as many sockets and streams of events here as a user may have."""
    return settings.RATE_LIMITS and _open[user_id] >= SOCKETS_OF_A_USER


@contextmanager
def place(user_id: UUID) -> Iterator[None]:
    """Count one more of them for as long as the context lasts; on the loop only."""
    _open[user_id] += 1
    try:
        yield
    finally:
        _open[user_id] -= 1
        if not _open[user_id]:
            del _open[user_id]


class Admission:
    """Lets a handshake through to `app`, with user, credential and language in its scope.

    Or refuses it with an HTTP status, in this order: a foreign Origin (403), no credentials that
    live (401), a subprotocol that is not ours (400), more than a user may have open here (429);
    503 while nobody can be known, because the database is away.
    No Origin at all is for programs with a token.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lookup = Lookup()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = _headers(scope)
        bearer = _bearer(headers)
        if not _origin_is_ours(headers, scope, bearer):
            await _refuse(receive, send, HTTPStatus.FORBIDDEN, "forbidden")
            return
        cookie = _cookie(headers, settings.SESSION_COOKIE_NAME)
        try:
            known = await self._lookup(Shown(bearer, cookie))
        except (DatabaseError, InterfaceError) as error:
            log.warning("socket.nobody_known", error=type(error).__name__)
            await _refuse(receive, send, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
            return
        if known is None:
            await _refuse(receive, send, HTTPStatus.UNAUTHORIZED, "unauthenticated")
            return
        if SUBPROTOCOL not in scope["subprotocols"]:
            await _refuse(receive, send, HTTPStatus.BAD_REQUEST, "invalid")
            return
        user = known.user
        if is_full(user.pk):
            await _refuse(receive, send, HTTPStatus.TOO_MANY_REQUESTS, "rate_limited")
            return
        client_address.set((scope.get("client") or ("",))[0])
        known_scope = {"user": user, "credential": known.credential, "language": _language(headers)}
        with place(user.pk):
            await self._app({**scope, **known_scope}, receive, send)


def _headers(scope: dict[str, Any]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _bearer(headers: dict[str, str]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _origin_is_ours(headers: dict[str, str], scope: dict[str, Any], bearer: str | None) -> bool:
    """Compare scheme, host and port with where the request came to, and with the public address."""
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
    except ValueError:  # brackets that do not fit
        return False
    return origin == f"{scheme}://{host}"


def _language(headers: dict[str, str]) -> str:
    wanted = [code for code, _ in parse_accept_lang_header(headers.get("accept-language", ""))]
    chosen = _cookie(headers, settings.LANGUAGE_COOKIE_NAME)
    for code in [chosen, *wanted] if chosen else wanted:
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


async def nowhere(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer a handshake at an address where there is no socket."""
    await _refuse(receive, send, HTTPStatus.NOT_FOUND, "not_found")


async def _refuse(receive: Any, send: Any, status: HTTPStatus, code: str) -> None:
    await receive()
    body = orjson.dumps({"code": code, "detail": status.phrase})
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
    # uvicorn logs an error for a handshake that is not over when we return: it is over when the
    # connection is gone, which is told twice, at our closing it and at its end.
    await receive()
    await receive()
