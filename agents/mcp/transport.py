"""The HTTP boundary to an MCP server: guarded, pinned, and bounded in bytes.

The SDK waits for the end of the time limit when a response breaks, and ends the session when a
request fails. So each failure of a request becomes the JSON-RPC error of that request here: a call
ends as soon as its failure is known, and the session continues.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Final, Literal
from uuid import UUID

import httpx
import msgspec

from agents.egress import guard
from agents.egress.dns import HostUnknown

MAX_RESPONSE_BYTES: Final = 2 * 1024 * 1024
MAX_EVENT_LINES: Final = 4_000
"""The lines of one event stream: each event costs more time than its bytes."""
END_SECONDS: Final = 0.05
"""How long the end of an event stream is awaited after the answer."""
MAX_STREAMS: Final = 8
"""The GET requests of one session: a server can end its stream again and again."""
TIMEOUTS: Final = httpx.Timeout(None, connect=10.0, write=30.0).as_dict()
SESSION_HEADER: Final = "mcp-session-id"
ERROR_CODE: Final = -32050
"""The code of the JSON-RPC errors that this module makes; their message is a FailureCode."""

FailureCode = Literal[
    "not_allowed",  # the egress guard refused the address
    "removed",  # the server is off, or not as the run has copied it
    "unreachable",  # nothing was sent
    "lost",  # the connection ended before the response
    "unauthorized",
    "forbidden",
    "expired",  # the server does not know the session any more
    "not_found",
    "redirected",
    "busy",
    "failed",  # an error status
    "too_large",
    "not_mcp",
    "timeout",
    "sign_in",  # no person has signed in, or the sign-in has ended
    "guest",  # the asker may not use the own account
]

STATUS_CODES: Final[dict[int, FailureCode]] = {
    403: "forbidden",
    404: "not_found",
    405: "not_found",
    413: "too_large",
    429: "busy",
}
KIND_CODES: Final[dict[int, FailureCode]] = {2: "not_mcp", 3: "redirected"}


class McpFailed(Exception):
    """A request to an MCP server failed. `detail` is the server's own text, bounded, or empty.

    `challenge` is the WWW-Authenticate header of a 401 (RFC 9110 §11.6.1).
    """

    def __init__(self, code: FailureCode, detail: str = "", *, challenge: str = "") -> None:
        super().__init__(code)
        self.code: FailureCode = code
        self.detail = detail
        self.challenge = challenge


class _Error(msgspec.Struct):
    code: int
    message: str


class _Envelope(msgspec.Struct):
    """A JSON-RPC message (https://www.jsonrpc.org/specification §4, §5)."""

    id: int | str | None = None
    method: str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: _Error | msgspec.UnsetType = msgspec.UNSET


_decoder: Final = msgspec.json.Decoder(_Envelope)


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends the requests of one session to one origin, at an IP that is resolved once.

    `challenge` is the WWW-Authenticate header of the last 401.
    """

    def __init__(
        self, inner: httpx.AsyncBaseTransport, *, url: str, team: UUID, headers: Mapping[str, str]
    ) -> None:
        self._inner = inner
        self._origin = _origin(guard.parse_url(url))
        self._team = team
        self._address: str | None = None
        self._streams = 0
        self.headers = dict(headers)
        self.challenge = ""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = _call_id(request)
        try:
            response = await self._send(request, is_call=call is not None)
            if call is None:
                return self._bounded(response, None)
            if _content_type(response) == "application/json":
                return _json_response(await _read_answer(response, call), response.headers)
            if _content_type(response) == "text/event-stream":
                return self._bounded(response, call)
            await response.aclose()
            raise McpFailed("not_mcp")
        except McpFailed as failure:
            if failure.challenge:
                self.challenge = failure.challenge
            if call is not None:
                return _json_response(error_message(call, failure.code))
            if request.method == "POST":
                # A lost notification, or a lost answer to the server, ends no session.
                return httpx.Response(202)
            raise httpx.ConnectError(failure.code) from None

    async def _send(self, request: httpx.Request, *, is_call: bool) -> httpx.Response:
        """Return a successful response; raise McpFailed for all others."""
        pinned = guard.pin(request, await self._resolve(request))
        pinned.headers.update(self.headers)
        pinned.headers["Accept-Encoding"] = "identity"  # a compressed answer has no bound
        # The time limit of the call bounds reading; the stream of a session is silent for long.
        pinned.extensions["timeout"] = TIMEOUTS
        try:
            response = await self._inner.handle_async_request(pinned)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError):
            raise McpFailed("unreachable") from None
        except httpx.TransportError:
            raise McpFailed("lost") from None
        failure = _failure_of(response, request, is_call=is_call)
        if failure is not None:
            await response.aclose()
            raise failure
        return response

    async def _resolve(self, request: httpx.Request) -> str:
        """Return the IP of the server, resolved for the first request of the session."""
        if _origin(request.url) != self._origin:
            raise McpFailed("not_allowed")
        if request.method == "GET":
            self._streams += 1
            if self._streams > MAX_STREAMS:
                raise McpFailed("too_large")
        try:
            if self._address is None:
                self._address = (await guard.aresolve(request.url, self._team))[0]
        except guard.EgressRefused:
            raise McpFailed("not_allowed") from None
        except HostUnknown:
            raise McpFailed("unreachable") from None
        return self._address

    def _bounded(self, response: httpx.Response, call: int | str | None) -> httpx.Response:
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_BoundedStream(response, call),
            extensions=response.extensions,
        )


class _BoundedStream(httpx.AsyncByteStream):
    """A response of bounded size.

    The event stream of a call ends with the error of that call: the SDK reads it only if the call
    has no result yet.
    """

    def __init__(self, response: httpx.Response, call: int | str | None) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._response = response
        self._parts = aiter(response.stream)
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = lines = 0
        can_resume = False
        code: FailureCode = "lost"
        try:
            async for data in self._parts:
                size += len(data)
                lines += data.count(b"\n")
                if size > MAX_RESPONSE_BYTES or lines > MAX_EVENT_LINES:
                    code, can_resume = "too_large", False
                    break
                # An event with an id lets the SDK continue the stream by another request.
                can_resume = can_resume or data.startswith(b"id:") or b"\nid:" in data
                yield data
        except httpx.TransportError:
            if self._call is None:
                raise
        if code == "too_large":
            await self._response.aclose()
            if self._call is None:
                raise httpx.ReadError(code)
        if self._call is not None and not can_resume:
            yield b"\n\nevent: message\ndata: " + error_message(self._call, code) + b"\n\n"

    async def aclose(self) -> None:
        """Close the response; read its end first if it is there, so that the connection stays."""
        try:
            if self._call is not None:
                with suppress(TimeoutError, httpx.TransportError):
                    async with asyncio.timeout(END_SECONDS):
                        await anext(self._parts, None)
        finally:
            await self._response.aclose()


def error_message(call: int | str, code: FailureCode) -> bytes:
    """Return the JSON-RPC error of a call."""
    error = {"code": ERROR_CODE, "message": code}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": call, "error": error})


async def _read_answer(response: httpx.Response, call: int | str) -> bytes:
    """Return a complete JSON answer to this call, so that no broken one reaches the SDK."""
    body = bytearray()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        async for data in response.stream:
            body += data
            if len(body) > MAX_RESPONSE_BYTES:
                raise McpFailed("too_large")
    except httpx.TransportError:
        raise McpFailed("lost") from None
    finally:
        await response.aclose()
    try:
        envelope = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise McpFailed("not_mcp") from None
    has_result = envelope.result is not msgspec.UNSET
    if str(envelope.id) != str(call) or has_result == (envelope.error is not msgspec.UNSET):
        raise McpFailed("not_mcp")
    return bytes(body)


def _call_id(request: httpx.Request) -> int | str | None:
    """Return the id of the JSON-RPC request that is sent; None for all other messages."""
    if request.method != "POST":
        return None
    envelope = _decoder.decode(request.content)
    return None if envelope.method is None else envelope.id


def _json_response(body: bytes, received: Mapping[str, str] | None = None) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    if received and SESSION_HEADER in received:
        headers[SESSION_HEADER] = received[SESSION_HEADER]
    return httpx.Response(200, headers=headers, content=body)


def _failure_of(
    response: httpx.Response, request: httpx.Request, *, is_call: bool
) -> McpFailed | None:
    """Return what the status and the headers of a response say against it, or None."""
    status = response.status_code
    if status == 401:
        return McpFailed("unauthorized", challenge=response.headers.get("www-authenticate", ""))
    if status == 404 and SESSION_HEADER in request.headers:
        return McpFailed("expired")
    if status not in ((200,) if is_call else (200, 202, 204)):
        return McpFailed(STATUS_CODES.get(status) or KIND_CODES.get(status // 100, "failed"))
    if str(response.headers.get("content-encoding", "identity")).lower() != "identity":
        return McpFailed("not_mcp")
    return McpFailed("too_large") if _length(response) > MAX_RESPONSE_BYTES else None


def _content_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _length(response: httpx.Response) -> int:
    length = str(response.headers.get("content-length", ""))
    return int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0


def _origin(url: httpx.URL) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host, url.port
