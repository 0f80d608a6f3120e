"""The HTTP boundary to the provider: checks requests, sets their headers and checks responses.

CrewAI's LLM objects are shared by many runs and hold no key. Each attempt opens a
`request_context`. `ProviderInterceptor` reads the context from a context variable, checks the
address of the request, sends only the headers listed here, and adds the key last.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from agents.engine.sse_merge import EventMerger
from agents.engine.sse_stream import EventStream
from agents.engine_types import AnswerFailed

CONNECT_SECONDS: Final = 10.0
FORWARDED_HEADERS: Final = ("host", "accept", "content-type", "content-length", "transfer-encoding")


@dataclass(slots=True)
class RequestContext:
    """One attempt of a team's run: exactly one request, and the response to it."""

    key: str = field(repr=False)
    team: UUID
    attempt: int = 0
    sent: bool = False
    response: httpx.Response | None = None
    merger: EventMerger = field(default_factory=EventMerger)


_current: ContextVar[RequestContext] = ContextVar("request_context")


@asynccontextmanager
async def request_context(key: str, team: UUID, attempt: int = 0) -> AsyncIterator[RequestContext]:
    """Set the key of the single call that is made in this context; close its connection on exit.

    `attempt` counts from 0.
    """
    context = RequestContext(key, team, attempt)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
        if context.response is not None:
            await context.response.aclose()


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
            ("Accept-Encoding", "identity"),  # EventStream parses the bytes as they arrive
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
        """Accept an event stream and wrap it; abort the call for any other response.

        The call is aborted before CrewAI gets the response, so that CrewAI cannot retry.
        """
        context = _current.get()
        context.response = message
        if message.status_code >= 300:
            retry_after = failures.parse_retry_after(message.headers)
            raise CallAborted(failures.from_status(message.status_code, retry_after))
        if not _may_be_event_stream(message):
            raise CallAborted(AnswerFailed("provider_garbled"))
        message.stream = EventStream(message.stream, context.merger)
        return message


def _may_be_event_stream(response: httpx.Response) -> bool:
    """Return False for HTML, JSON and compressed bodies.

    WHATWG HTML §9.2.3 requires `text/event-stream`, but several providers send other types, so
    the check rejects only types that cannot be a stream.
    """
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoded = response.headers.get("content-encoding", "identity").lower() != "identity"
    return not encoded and media_type not in ("text/html", "application/json")
