"""Calls CrewAI. Only this module and the LLMs use parts of CrewAI outside its public interface.

`tests/agents/engine/test_contract.py` fails when an upgrade of CrewAI changes one of these parts.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import crewai
from crewai import Agent, BaseLLM
from crewai.events.event_bus import crewai_event_bus
from crewai.events.stream_context import add_stream_sink, reset_stream_sinks
from crewai.events.types.llm_events import LLMCallCompletedEvent, LLMStreamChunkEvent
from crewai.utilities.types import LLMMessage
from crewai_core.printer import set_suppress_console_output

from agents.engine.demo import DemoLLM
from agents.engine.prompt import Message
from agents.engine.provider_llm import ProviderLLM
from agents.engine_types import PersonaSpec, Usage


@dataclass(frozen=True, slots=True)
class Chunk:
    """Text from the model; with `tool_call`, a part of a tool's arguments, which is not shown.

    `received` is the number of events of the provider so far in this call, if there is a provider.
    """

    text: str
    tool_call: bool = False
    received: int = 0


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The end of a call; without a finish reason, the stream ended early."""

    finish_reason: str | None
    usage: Usage | None


EventHandler = Callable[[Chunk | CallEnded], None]
_bus_scope = ExitStack()


@contextmanager
def stream_sink(handler: EventHandler) -> Iterator[None]:
    """Call `handler` with each event of the calls made in this context (`contextvars`), in order.

    Events of other tasks do not reach it.
    """

    def sink(source: object, event: object) -> None:
        if isinstance(event, LLMStreamChunkEvent):
            handler(Chunk(event.chunk, event.tool_call is not None, received(source)))
        elif isinstance(event, LLMCallCompletedEvent):
            handler(CallEnded(event.finish_reason, _usage(event.usage)))

    set_suppress_console_output(True)
    token = add_stream_sink(sink)
    try:
        yield
    finally:
        reset_stream_sinks(token)


def call_model(
    llm: BaseLLM, spec: PersonaSpec, messages: list[Message], tools: list[dict[str, Any]]
) -> Awaitable[object]:
    """Return the coroutine of one call of the persona's model; its output goes to `stream_sink`.

    Its result is the text, or a list of tool calls in OpenAI's form. `available_functions` is not
    used: CrewAI would execute the first call only, in a blocking way.
    """
    prompt = cast("list[LLMMessage]", messages)
    return llm.acall(prompt, tools=tools or None, from_agent=build_agent(spec, llm))


def received(llm: object) -> int:
    """Return the number of events with output that a provider has sent in the call of this LLM."""
    return llm.received if isinstance(llm, ProviderLLM) else 0


def reasoning(llm: BaseLLM) -> str:
    """Return what the provider wants back with the tool calls as `reasoning_content`."""
    return llm.reasoning if isinstance(llm, ProviderLLM) else ""


def build_llm(spec: PersonaSpec, attempt: int = 0) -> BaseLLM:
    """Return the LLM for one attempt (counted from 0) of a request of this persona."""
    if spec.kind == "demo":
        return DemoLLM(model="demo", connect_url=spec.connect_url)
    return ProviderLLM(spec, attempt)


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


def _usage(reported: dict[str, Any] | None) -> Usage | None:
    """Return the token counts, which `stream.chat` has bounded."""
    if not reported:
        return None
    return Usage(reported["prompt_tokens"], reported["completion_tokens"])


detach_listeners()
