"""The HTTP boundary to the provider: checks requests, sets their headers and checks responses.

CrewAI's LLM objects are shared by many runs and hold no key. Each attempt opens a
`request_context`. `ProviderInterceptor` reads the context from a context variable, checks the
address of the request, sends only the headers listed here, and adds the key last.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import httpx
from crewai.llms.hooks import BaseInterceptor

from agents.egress import guard
from agents.egress.dns import HostUnknown
from agents.engine import failures
from agents.engine.failures import CallAborted
from agents.engine.stream.body import AnswerBody
from agents.engine.stream.chat import ChatNormaliser, ErrorReport
from agents.engine.stream.compression import Decompressor
from agents.engine.stream.json_data import UnreadableData
from agents.engine.stream.sdk_events import SdkEventStream
from agents.engine.stream.sse import EventTooLarge, SseParser
from agents.engine.stream.think_tags import FIRST_HOLD_SECONDS, HOLD_SECONDS, ThinkTagFilter
from agents.engine_types import AnswerFailed, PersonaSpec

CONNECT_SECONDS: Final = 10.0
MAX_ERROR_BYTES: Final = 64 * 1024
ERROR_SECONDS: Final = 2.0
"""How long the body of an error response is read; without it, the status alone decides."""
MAX_MODELS: Final = 1_000
FORWARDED_HEADERS: Final = ("host", "accept", "content-type", "content-length", "transfer-encoding")


@dataclass(slots=True)
class RequestContext:
    """One attempt of a team's run: exactly one request, and the response to it."""

    key: str = field(repr=False)
    team: UUID
    attempt: int = 0
    sent: bool = False
    response: httpx.Response | None = None
    thoughts: ThinkTagFilter = field(default_factory=ThinkTagFilter)
    events: SdkEventStream | None = None

    @property
    def merged(self) -> int:
        """The number of events of the provider that became no event of their own."""
        return self.events.merged if self.events else 0


Model = tuple[UUID, str]
"""A connection and the name of a model."""

_current: ContextVar[RequestContext] = ContextVar("request_context")
_hold_seconds: dict[Model, float | None] = {}
"""How long the first text of a model's next answer is held, after its last answer in this process.

None, until an end tag arrives, if that answer had an end tag of thoughts without a start tag.
"""


@asynccontextmanager
async def request_context(spec: PersonaSpec, attempt: int = 0) -> AsyncIterator[RequestContext]:
    """Set the key of the single call that is made in this context; close its connection on exit.

    `attempt` counts from 0.
    """
    model = (spec.connection_id, spec.model)
    thoughts = ThinkTagFilter(hold_seconds=_hold_seconds.get(model, FIRST_HOLD_SECONDS))
    context = RequestContext(spec.key, spec.team_id, attempt, thoughts=thoughts)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
        if context.response is not None:
            await context.response.aclose()
        if thoughts.has_passed:
            _hold_seconds.pop(model, None)  # the newest last
            _hold_seconds[model] = None if thoughts.has_orphan_end else HOLD_SECONDS
            if len(_hold_seconds) > MAX_MODELS:
                del _hold_seconds[next(iter(_hold_seconds))]


class ProviderInterceptor(BaseInterceptor[httpx.Request, httpx.Response]):
    """Checks and rewrites requests and responses of CrewAI; only `acall` is allowed."""

    def on_outbound(self, message: httpx.Request) -> httpx.Request:
        """Raise CallAborted: the engine sends no blocking requests."""
        raise CallAborted(AnswerFailed("internal"))

    def on_inbound(self, message: httpx.Response) -> httpx.Response:
        """Raise CallAborted: the engine sends no blocking requests."""
        raise CallAborted(AnswerFailed("internal"))

    async def aon_outbound(self, message: httpx.Request) -> httpx.Request:
        """Pin the request to an allowed address, and set our headers and the run's key.

        Raises CallAborted for a second request in one context: it is a retry by the SDK or by
        CrewAI, and only `answer_stream` may retry.
        """
        context = _current.get()
        if context.sent:
            raise CallAborted(AnswerFailed("provider_unavailable"))
        try:
            request = await guard.apin_request(message, context.team, context.attempt)
        except guard.EgressRefused:
            raise CallAborted(AnswerFailed("not_allowed")) from None
        except HostUnknown:
            raise CallAborted(AnswerFailed("provider_unavailable")) from None
        # Forward only listed headers: the SDK also sends the operator's organisation, the version
        # of the SDK and the type of this machine.
        headers = [item for item in request.headers.items() if item[0] in FORWARDED_HEADERS]
        headers += [
            ("User-Agent", "Maru"),
            ("Accept-Encoding", "identity"),  # compression would delay small events
            ("Connection", "close"),  # nothing stays open at the provider after the run
        ]
        if context.key:
            headers.append(("Authorization", f"Bearer {context.key}"))
        request.headers = httpx.Headers(headers)
        timeout = {**request.extensions.get("timeout", {}), "connect": CONNECT_SECONDS}
        request.extensions["timeout"] = timeout
        context.sent = True
        return request

    async def aon_inbound(self, message: httpx.Response) -> httpx.Response:
        """Replace the body by events for the SDK; abort the call for an error response.

        The call is aborted before CrewAI gets the response, so that CrewAI cannot retry.
        """
        context = _current.get()
        context.response = message
        assert isinstance(message.stream, httpx.AsyncByteStream)
        # Several headers of one name are joined. httpx must not decompress a second time.
        encoding = message.headers.pop("content-encoding", "")
        if message.status_code >= 300:
            retry_after = failures.parse_retry_after(message.headers)
            report = await _read_error(message.stream, encoding)
            raise CallAborted(failures.from_error(report, message.status_code, retry_after))
        body = AnswerBody(message.stream, encoding, context.thoughts)
        message.stream = context.events = SdkEventStream(body)
        return message


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
