"""The HTTP boundary to the provider: sends one request and judges the response.

The host name is resolved once, every address passes the egress guard, and the connection is pinned
to one of them. A connection serves one request, so nothing stays open at the provider after a run.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import httpx
import msgspec
import structlog

from agents.egress import guard
from agents.egress.dns import HostUnknown
from agents.egress.proxy import open_transport
from agents.egress.tcp import TcpStream
from agents.engine import failures
from agents.engine.stream.body import AnswerBody
from agents.engine.stream.chat import ChatNormaliser, ErrorReport
from agents.engine.stream.compression import Decompressor
from agents.engine.stream.json_data import UnreadableData
from agents.engine.stream.sse import EventTooLarge, SseParser
from agents.engine.thoughts import thought_filter
from agents.engine_types import AnswerFailed, PersonaSpec

OPENAI_HOST: Final = "api.openai.com"
MAX_ERROR_BYTES: Final = 64 * 1024
ERROR_SECONDS: Final = 2.0
"""How long the body of an error response is read; without it, the status alone decides."""
# The time limit of the answer bounds reading.
TIMEOUTS: Final = httpx.Timeout(None, connect=10.0, write=60.0).as_dict()

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_answer(
    spec: PersonaSpec, attempt: int, fields: dict[str, Any]
) -> AsyncIterator[AnswerBody]:
    """Send `fields` to the chat endpoint of the persona's connection; yield the body of the answer.

    `attempt` counts from 0. Raise AnswerFailed for a refused address, a broken connection and an
    error response. The connection is closed when the context ends.
    """
    try:
        request = await guard.apin_request(_request(spec, fields), spec.team_id, attempt)
        with open_transport() as transport:
            response = await transport.handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            await _check(response)
            with thought_filter(spec) as thoughts:
                connection = response.extensions["network_stream"]
                assert isinstance(connection, TcpStream)
                body = AnswerBody(
                    response.stream, _encoding(response), thoughts, connection.collect
                )
                try:
                    yield body
                finally:
                    await body.aclose()
    except guard.EgressRefused:
        raise AnswerFailed("not_allowed") from None
    except (HostUnknown, *failures.TRANSPORT_ERRORS) as error:
        log.info("answer.call_failed", error=type(error).__name__)
        raise AnswerFailed("provider_unavailable") from None


def _request(spec: PersonaSpec, fields: dict[str, Any]) -> httpx.Request:
    url = guard.parse_url(spec.base_url or f"https://{OPENAI_HOST}/v1")
    if url.host == OPENAI_HOST and "max_tokens" in fields:
        # Only OpenAI itself supports the newer name of this parameter.
        fields = fields | {"max_completion_tokens": fields["max_tokens"]}
        del fields["max_tokens"]
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": "Maru",
        "Accept-Encoding": "identity",  # compression would delay small events
        "Connection": "close",
    }
    if spec.key:
        headers["Authorization"] = f"Bearer {spec.key}"
    return httpx.Request(
        "POST",
        url.copy_with(raw_path=url.raw_path.rstrip(b"/") + b"/chat/completions"),
        headers=headers,
        content=msgspec.json.encode(fields),
        extensions={"timeout": TIMEOUTS},
    )


def _encoding(response: httpx.Response) -> str:
    """Return the Content-Encoding; several headers of one name are joined."""
    return str(response.headers.get("content-encoding", ""))


async def _check(response: httpx.Response) -> None:
    """Raise AnswerFailed for a status that is no success; a redirect is none."""
    if response.status_code >= 300:
        retry_after = failures.parse_retry_after(response.headers)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        report = await _read_error(response.stream, _encoding(response))
        raise failures.from_error(report, response.status_code, retry_after)


async def _read_error(stream: httpx.AsyncByteStream, encoding: str) -> ErrorReport:
    """Return the error in the body of a response; an empty report if there is none."""
    decompressor, parser, chat = (
        Decompressor(encoding),
        SseParser(MAX_ERROR_BYTES),
        ChatNormaliser(),
    )
    plain = b""
    with suppress(TimeoutError, httpx.HTTPError, zlib.error):
        async with asyncio.timeout(ERROR_SECONDS):
            async for data in stream:
                for piece in decompressor.feed(data):
                    plain += piece
                    if len(plain) > MAX_ERROR_BYTES:
                        return ErrorReport()
    # A plain body that is labelled as compressed is no zlib data: then the status alone decides.
    with suppress(EventTooLarge, UnreadableData, zlib.error):
        plain += b"".join(decompressor.finish())
        for event in (*parser.feed(plain), *parser.finish()):
            for part in chat.feed(event._replace(type="error")):
                if isinstance(part, ErrorReport):
                    return part
    return ErrorReport()
