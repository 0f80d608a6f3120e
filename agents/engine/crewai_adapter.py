"""Calls CrewAI. Only this module and `demo` use parts of CrewAI outside its public interface.

`tests/agents/engine/test_contract.py` fails when an upgrade of CrewAI changes one of these parts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final, cast

import crewai
import openai.resources  # noqa: F401  # else the first answer waits 1 s for this import
from crewai import LLM, Agent, BaseLLM
from crewai.events.event_bus import crewai_event_bus
from crewai.events.stream_context import add_stream_sink, reset_stream_sinks
from crewai.events.types.llm_events import LLMCallCompletedEvent, LLMStreamChunkEvent
from crewai.utilities.types import LLMMessage
from crewai_core.printer import set_suppress_console_output

from agents.egress import guard
from agents.egress.proxy import use_proxy
from agents.engine.demo import DemoLLM
from agents.engine.http import ProviderInterceptor
from agents.engine.prompt import Message
from agents.engine_types import PersonaSpec, Usage

READ_SECONDS: Final = 600.0  # longer than the time limit of a run, which ends the call first
MAX_CACHED_LLMS: Final = 256
PLACEHOLDER_KEY: Final = "set-by-the-interceptor"  # without a key, CrewAI reads OPENAI_API_KEY
OPENAI_HOST: Final = "api.openai.com"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Text from the model; with `tool_call`, a part of a tool's arguments, which is not shown."""

    text: str
    tool_call: bool = False


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The end of a call; without a finish reason, the stream ended early."""

    finish_reason: str | None
    usage: Usage | None


EventHandler = Callable[[Chunk | CallEnded], None]
_llms: dict[tuple[object, ...], BaseLLM] = {}
_build_lock = Lock()
_bus_scope = ExitStack()


@contextmanager
def stream_sink(handler: EventHandler) -> Iterator[None]:
    """Call `handler` with each event of the calls made in this context (`contextvars`), in order.

    Events of other tasks do not reach it.
    """

    def sink(_source: object, event: object) -> None:
        if isinstance(event, LLMStreamChunkEvent):
            handler(Chunk(event.chunk, tool_call=event.tool_call is not None))
        elif isinstance(event, LLMCallCompletedEvent):
            handler(CallEnded(event.finish_reason, _usage(event.usage)))

    set_suppress_console_output(True)
    token = add_stream_sink(sink)
    try:
        yield
    finally:
        reset_stream_sinks(token)


def call_model(llm: BaseLLM, spec: PersonaSpec, messages: list[Message]) -> Awaitable[object]:
    """Return the coroutine of one call of the persona's model; its output goes to `stream_sink`."""
    return llm.acall(cast("list[LLMMessage]", messages), from_agent=build_agent(spec, llm))


async def get_llm(spec: PersonaSpec) -> BaseLLM:
    """Return the LLM for this connection and model, cached because building one takes 40 ms.

    Raise EgressRefused if the connection's base URL is not a valid address.
    """
    key = (
        spec.kind,
        spec.team_id,
        spec.connection_id,
        spec.base_url,
        spec.model,
        spec.temperature,
        spec.max_output_tokens,
    )
    if key in _llms:
        return _llms[key]
    return await asyncio.to_thread(_build_and_cache, key, spec)


def build_agent(spec: PersonaSpec, llm: BaseLLM) -> Agent:
    """Return the persona as CrewAI's Agent; a new one for each run, because CrewAI changes it."""
    return Agent(role=spec.role, goal=spec.goal, backstory=spec.backstory, llm=llm, verbose=False)


def detach_listeners() -> None:
    """Remove CrewAI's own listeners from its event bus, and drop the log records of CrewAI.

    This lasts until the process exits. The listeners print to the console, and collect the texts of
    all runs in one unbounded buffer. CrewAI logs through the root logger, and its records quote the
    responses of providers.
    """
    _bus_scope.enter_context(crewai_event_bus.scoped_handlers())
    folder = str(Path(crewai.__file__).parent)
    logging.getLogger().addFilter(lambda record: not record.pathname.startswith(folder))


def _build_and_cache(key: tuple[object, ...], spec: PersonaSpec) -> BaseLLM:
    """Build the LLM, unless it is cached. Runs in a thread.

    A second caller for the same key waits for the lock and then finds the LLM in the cache. The
    thread finishes even if the run that started it is cancelled.
    """
    with _build_lock:
        if key not in _llms:
            _llms[key] = _build_llm(spec)
        while len(_llms) > MAX_CACHED_LLMS:
            del _llms[next(iter(_llms))]
        return _llms[key]


def _build_llm(spec: PersonaSpec) -> BaseLLM:
    if spec.kind == "demo":
        return DemoLLM(model="demo")
    base_url = spec.base_url or f"https://{OPENAI_HOST}/v1"  # else CrewAI reads OPENAI_BASE_URL
    # Only OpenAI itself supports the newer name of this parameter, `max_completion_tokens`.
    is_openai = guard.parse_url(base_url).host == OPENAI_HOST
    llm = LLM(
        model=spec.model,
        # Without `provider`, CrewAI derives it from the model's name and strips `openai/`.
        provider="openai",
        base_url=base_url,
        api_key=PLACEHOLDER_KEY,
        temperature=spec.temperature,
        max_completion_tokens=spec.max_output_tokens if is_openai else None,
        max_tokens=None if is_openai else spec.max_output_tokens,
        stream=True,
        timeout=READ_SECONDS,
        max_retries=0,
        interceptor=ProviderInterceptor(),
    )
    # CrewAI builds the client with its own transport and has no parameter for a proxy.
    sdk = cast("Any", llm)._get_async_client()  # noqa: SLF001
    use_proxy(sdk._client._transport)  # noqa: SLF001
    return llm


def _usage(reported: dict[str, Any] | None) -> Usage | None:
    """Return the token counts, which `stream.chat` has bounded."""
    if not reported:
        return None
    return Usage(reported["prompt_tokens"], reported["completion_tokens"])


detach_listeners()
