"""The way to the provider: what leaves, where to, and what is let in.

CrewAI's LLM objects are shared by many runs and hold no key. Each run opens an `exchange`; the
`Doorman` finds it by context, adds the key as the last step, after the address has been judged,
and sends nothing but the headers named here.
"""

from collections.abc import AsyncIterator, Iterator
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
from agents.engine.failures import Halt
from agents.engine.sse_merge import Lines
from agents.engine.sse_stream import EventStream
from agents.engine_types import AnswerFailed

CONNECT_SECONDS: Final = 10.0
SENT_ON: Final = ("host", "accept", "content-type", "content-length", "transfer-encoding")


@dataclass(slots=True)
class Exchange:
    """One request of a team's run, the next after so many, and the provider's answer to it."""

    key: str = field(repr=False)
    team: UUID
    tried: int = 0
    sent: bool = False
    response: httpx.Response | None = None
    lines: Lines = field(default_factory=Lines)


_exchange: ContextVar[Exchange] = ContextVar("exchange")


@asynccontextmanager
async def exchange(key: str, team: UUID, tried: int = 0) -> AsyncIterator[Exchange]:
    """Let the calls made inside carry `key`; the connection is closed on the way out."""
    opened = Exchange(key, team, tried)
    token = _exchange.set(opened)
    try:
        yield opened
    finally:
        _exchange.reset(token)
        if opened.response is not None:
            await opened.response.aclose()


class Doorman(BaseInterceptor[httpx.Request, httpx.Response]):
    """Stands between CrewAI and the network. We call only `acall`: nothing else may pass."""

    def on_outbound(self, message: httpx.Request) -> httpx.Request:
        """No blocking request is ours."""
        raise Halt(AnswerFailed("internal"))

    def on_inbound(self, message: httpx.Response) -> httpx.Response:
        """No blocking request is ours."""
        raise Halt(AnswerFailed("internal"))

    async def aon_outbound(self, message: httpx.Request) -> httpx.Request:
        """Send the request to an address that it may go to, with our headers and the run's key."""
        opened = _exchange.get()
        if opened.sent:  # somebody below us tries again; whether to do that is for us to say
            raise Halt(AnswerFailed("provider_unavailable"))
        try:
            request = await guard.apinned(message, opened.team, opened.tried)
        except guard.EgressRefused:
            raise Halt(AnswerFailed("not_allowed")) from None
        except HostUnknown:
            raise Halt(AnswerFailed("provider_unavailable")) from None
        request.headers = httpx.Headers(list(_headers(request, opened.key)))
        timeout = {**request.extensions.get("timeout", {}), "connect": CONNECT_SECONDS}
        request.extensions["timeout"] = timeout
        opened.sent = True
        return request

    async def aon_inbound(self, message: httpx.Response) -> httpx.Response:
        """Let in a stream of events; anything else ends the call before CrewAI can retry it."""
        opened = _exchange.get()
        opened.response = message
        if message.status_code >= 300:
            wait = failures.seconds_to_wait(message.headers)
            raise Halt(failures.of_status(message.status_code, wait))
        if not _may_be_events(message):
            raise Halt(AnswerFailed("provider_garbled"))
        message.stream = EventStream(message.stream, opened.lines)
        return message


def _headers(request: httpx.Request, key: str) -> Iterator[tuple[str, str]]:
    """The SDK would add the operator's organisation, its version and this machine's kind."""
    yield from ((name, value) for name, value in request.headers.items() if name in SENT_ON)
    yield "User-Agent", "Maru"
    yield "Accept-Encoding", "identity"  # EventStream reads the bytes as they come
    yield "Connection", "close"  # nothing stays open at the provider when a run has ended
    if key:
        yield "Authorization", f"Bearer {key}"


def _may_be_events(response: httpx.Response) -> bool:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    coded = response.headers.get("content-encoding", "identity").lower() != "identity"
    return not coded and kind not in ("text/html", "application/json")
