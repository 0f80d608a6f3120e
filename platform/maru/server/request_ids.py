"""Gives each request an id, in `X-Request-Id` of the response and in each log line about it."""

import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final
from uuid import uuid4

from structlog.contextvars import bound_contextvars

HEADER: Final = b"x-request-id"
_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,128}")
_STARTS: Final = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"}
)
ANY_PEER: Final = "*"


def new_id() -> bytes:
    """Return an id for a request."""
    return uuid4().hex.encode()


class RequestIds:
    """ASGI middleware. Only a trusted proxy may choose the id; all other ids are new.

    Wrap it around uvicorn's ProxyHeadersMiddleware: `scope["client"]` must be the peer. `"*"` in
    `trusted_proxies` trusts every peer, for a Unix socket that only the proxy can open.
    """

    def __init__(self, app: Any, trusted_proxies: Sequence[str]) -> None:
        self._app = app
        self._any = ANY_PEER in trusted_proxies
        self._networks = [ip_network(one) for one in trusted_proxies if one != ANY_PEER]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = self._chosen_id(scope) or new_id()

        async def send_with_id(message: Any) -> None:
            if message["type"] in _STARTS:
                headers = [*message.get("headers", ()), (HEADER, request_id)]
                message = {**message, "headers": headers}
            await send(message)

        # Sockets and event streams write to the server's protocol, which they find here; without
        # it each frame of a socket would pass through ASGI.
        send_with_id.__self__ = getattr(send, "__self__", None)  # type: ignore[attr-defined]

        name = "request" if scope["type"] == "http" else "connection"
        with bound_contextvars(**{name: request_id.decode()}):
            await self._app(scope, receive, send_with_id)

    def _chosen_id(self, scope: Any) -> bytes | None:
        """Return the id that a trusted proxy has sent, if it is one valid id."""
        ids = [value for name, value in scope["headers"] if name == HEADER]
        if len(ids) != 1 or not _ID.fullmatch(ids[0]) or not self._is_trusted(scope):
            return None
        chosen: bytes = ids[0]
        return chosen

    def _is_trusted(self, scope: Any) -> bool:
        if self._any:
            return True
        try:
            peer = ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        return any(peer in network for network in self._networks)
