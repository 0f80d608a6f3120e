"""CrewAI as we use it. What is not in its public interface is touched here and nowhere else:
`tests/agents/engine/test_contract.py` fails when an upgrade changes it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final, cast

import crewai
import openai.resources  # noqa: F401  # else loaded in the middle of the first answer: 1 s
from crewai import LLM, Agent, BaseLLM
from crewai.events.event_bus import crewai_event_bus
from crewai.events.stream_context import add_stream_sink, reset_stream_sinks
from crewai.events.types.llm_events import LLMCallCompletedEvent, LLMStreamChunkEvent
from crewai.utilities.types import LLMMessage
from crewai_core.printer import set_suppress_console_output

from agents.egress import guard
from agents.engine.demo import DemoLLM
from agents.engine.http import Doorman
from agents.engine.prompt import Message
from agents.engine_types import MOST_TOKENS, PersonaSpec, Usage

READ_SECONDS: Final = 600.0  # the run's own clock ends it long before
KEPT_LLMS: Final = 256
NO_KEY: Final = "the doorman adds it"  # or CrewAI takes OPENAI_API_KEY
OPENAI_HOST: Final = "api.openai.com"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of text from the model, or of what it writes to a tool, which nobody is shown."""

    text: str
    to_tool: bool = False


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The model has ended a call; no reason means that the stream broke off."""

    finish_reason: str | None
    usage: Usage | None


Heard = Callable[[Chunk | CallEnded], None]
_llms: dict[tuple[object, ...], BaseLLM] = {}
_building = Lock()
_listeners = ExitStack()


@contextmanager
def listening(hear: Heard) -> Iterator[None]:
    """Pass what this context's own calls emit to `hear`, in order, and nothing of any other's."""

    def sink(_source: object, event: object) -> None:
        if isinstance(event, LLMStreamChunkEvent):
            hear(Chunk(event.chunk, to_tool=event.tool_call is not None))
        elif isinstance(event, LLMCallCompletedEvent):
            hear(CallEnded(event.finish_reason, _usage(event.usage)))

    set_suppress_console_output(True)
    token = add_stream_sink(sink)
    try:
        yield
    finally:
        reset_stream_sinks(token)


async def ask(spec: PersonaSpec, messages: list[Message]) -> None:
    """Have the persona's model answer; what it says is heard by listening."""
    llm = await llm_for(spec)
    await llm.acall(cast("list[LLMMessage]", messages), from_agent=agent_for(spec, llm))


async def llm_for(spec: PersonaSpec) -> BaseLLM:
    """Return the LLM of this persona's connection and model, built once: it takes 40 ms.

    Raise EgressRefused where the connection's base URL is no address at all.
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
    return await asyncio.to_thread(_built, key, spec)


def agent_for(spec: PersonaSpec, llm: BaseLLM) -> Agent:
    """Return the persona as CrewAI's agent, new for each run: CrewAI writes into it."""
    return Agent(role=spec.role, goal=spec.goal, backstory=spec.backstory, llm=llm, verbose=False)


def silence() -> None:
    """Take CrewAI's own listeners off its bus for good, and its lines out of the log.

    They print, and they gather the texts of all runs into one buffer without end. Its log lines
    go to the root logger and quote what providers answer.
    """
    _listeners.enter_context(crewai_event_bus.scoped_handlers())
    folder = str(Path(crewai.__file__).parent)
    logging.getLogger().addFilter(lambda record: not record.pathname.startswith(folder))


def _built(key: tuple[object, ...], spec: PersonaSpec) -> BaseLLM:
    """Whoever waited for the same one finds it built, even if its first asker has been stopped."""
    with _building:
        if key not in _llms:
            _llms[key] = _build(spec)
        while len(_llms) > KEPT_LLMS:
            del _llms[next(iter(_llms))]
        return _llms[key]


def _build(spec: PersonaSpec) -> BaseLLM:
    """`provider` keeps CrewAI from guessing it by the model's name, and from cutting `openai/`."""
    if spec.kind == "demo":
        return DemoLLM(model="demo")
    base_url = spec.base_url or f"https://{OPENAI_HOST}/v1"  # or CrewAI asks OPENAI_BASE_URL
    newer = guard.parsed(base_url).host == OPENAI_HOST  # the others know only the older name
    return LLM(
        model=spec.model,
        provider="openai",
        base_url=base_url,
        api_key=NO_KEY,
        temperature=spec.temperature,
        max_completion_tokens=spec.max_output_tokens if newer else None,
        max_tokens=None if newer else spec.max_output_tokens,
        stream=True,
        timeout=READ_SECONDS,
        max_retries=0,
        interceptor=Doorman(),
    )


def _usage(counted: dict[str, Any] | None) -> Usage | None:
    if not counted:
        return None
    return Usage(_tokens(counted.get("prompt_tokens")), _tokens(counted.get("completion_tokens")))


def _tokens(counted: object) -> int:
    return min(max(0, counted), MOST_TOKENS) if isinstance(counted, int) else 0


silence()
