"""Authenticates a request before its body is read, if the body is large.

Django reads the whole body first, and then decides whether the request is allowed.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import structlog
from django.db import DatabaseError, InterfaceError
from django.urls import Resolver404, resolve

from maru.server.refusals import Refusal
from rooms.socket.authentication import Authenticator
from rooms.socket.handshake import as_page_request, credentials_of

log = structlog.get_logger(__name__)

ANONYMOUS_BODY_BYTES: Final = 65_536
"""Largest body of a request without valid credentials, and of every public form."""

_TOO_LARGE: Final = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", "body_size")
_NO_BODY: Final = {"type": "http.request", "body": b"", "more_body": False}


class BodyGate:
    """ASGI middleware. A body above ANONYMOUS_BODY_BYTES needs a valid token or session.

    Without one, the application gets the request without its body if it refuses such a request
    anyway (401, 404, or 403 of the CSRF check). On a public page the answer is 413. The bound of
    an authenticated body is DATA_UPLOAD_MAX_MEMORY_SIZE, which the server checks.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._authenticator = Authenticator()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if not _may_be_large(scope["headers"]):
            await self._app(scope, receive, send)
            return
        needs_credentials = _needs_credentials(scope["path"])
        if needs_credentials and await self._is_authenticated(scope):
            await self._app(scope, receive, send)
            return
        messages = await _read_small(scope["headers"], receive)
        if messages is not None:
            await self._app(scope, _replay(messages, receive), send)
        elif needs_credentials:
            await self._app(scope, _replay([_NO_BODY], _never), send)
        else:
            headers, body = _TOO_LARGE.response(scope["path"], scope["headers"])
            status = _TOO_LARGE.status
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def _is_authenticated(self, scope: dict[str, Any]) -> bool:
        credentials = credentials_of(as_page_request(scope))
        try:
            return await self._authenticator.authenticate(credentials) is not None
        except (DatabaseError, InterfaceError) as error:  # the application reports this, too
            log.info("body_gate.database_away", error=type(error).__name__)
            return False


def _may_be_large(headers: Any) -> bool:
    """Return True for a large Content-Length, and for a chunked body, whose size is unknown."""
    for name, value in headers:
        if name == b"content-length":
            return int(value) > ANONYMOUS_BODY_BYTES
        if name == b"transfer-encoding":
            return True
    return False


def _needs_credentials(path: str) -> bool:
    """Return True for the API, for unknown paths, and for pages that need a sign-in."""
    if path.startswith("/api/"):
        return True
    try:
        view = resolve(path).func
    except Resolver404:
        return True
    return getattr(view, "login_required", True)


async def _read_small(headers: Any, receive: Any) -> list[Any] | None:
    """Return the messages of a chunked body, or None if it is above ANONYMOUS_BODY_BYTES."""
    if any(name == b"content-length" for name, _value in headers):
        return None
    messages: list[Any] = []
    size = 0
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())
        size += len(messages[-1].get("body", b""))
        if size > ANONYMOUS_BODY_BYTES:
            return None
    return messages


def _replay(messages: list[Any], receive: Any) -> Any:
    """Return a `receive` that returns `messages` first."""
    left = iter(messages)

    async def replay() -> Any:
        for message in left:
            return message
        return await receive()

    return replay


async def _never() -> Any:
    """Wait until the request is over: uvicorn's `receive` would ask the client for the body."""
    await asyncio.Event().wait()
