"""What the engine takes from CrewAI beyond its public interface. An upgrade that breaks one of
these breaks routing, stopping or privacy, and is stopped here.
"""

import asyncio
import logging
import os
from collections.abc import Iterator
from typing import Any, cast

import pytest
from pytest_django.fixtures import Settings

from agents.engine import warm
from agents.engine.prompt import opening
from agents.engine_types import Turn
from tests.agents.engine.asking import KEY, PERSONA, TEAM, ask, persona, said
from tests.provider import Provider, running


@pytest.fixture(scope="module")
def served() -> Iterator[Provider]:
    with running() as provider:
        yield provider


@pytest.fixture
async def provider(served: Provider, settings: Settings) -> Provider:
    settings.EGRESS_ALLOW = frozenset({served.address})
    served.forget()
    await warm()
    return served


async def _call(provider: Provider, model: str) -> str:
    from agents.engine import crewai_adapter
    from agents.engine.http import exchange

    llm = await crewai_adapter.llm_for(persona(provider.base_url, model))
    async with exchange("key", TEAM):
        return str(await llm.acall([{"role": "user", "content": "Hello?"}]))


async def test_a_sink_hears_chunks_and_the_end_of_calls_in_order(provider: Provider) -> None:
    from agents.engine.crewai_adapter import CallEnded, Chunk, listening

    heard: list[Chunk | CallEnded] = []

    with listening(heard.append):
        await _call(provider, "tokens-3")

    assert "".join(part.text for part in heard[:-1] if isinstance(part, Chunk)) == "t0 t1 t2 "
    assert isinstance(heard[-1], CallEnded)
    assert heard[-1].finish_reason == "stop"
    assert heard[-1].usage is not None


async def test_a_sink_hears_nothing_of_another_task(provider: Provider) -> None:
    from agents.engine.crewai_adapter import listening

    heard: list[object] = []
    other = asyncio.create_task(_call(provider, "tokens-20@200"))

    with listening(heard.append):
        await other

    assert heard == []


async def test_a_sink_hears_nothing_after_its_time(provider: Provider) -> None:
    from agents.engine.crewai_adapter import listening

    heard: list[object] = []
    with listening(heard.append):
        pass

    await _call(provider, "tokens-3")

    assert heard == []


async def test_a_base_exception_in_a_sink_ends_the_call_without_a_retry(
    provider: Provider,
) -> None:
    from agents.engine.crewai_adapter import listening
    from agents.engine.failures import Halt
    from agents.engine_types import AnswerFailed

    def halt(_: object) -> None:
        raise Halt(AnswerFailed("internal"))

    with listening(halt), pytest.raises(Halt):
        await _call(provider, "tokens-3")

    assert len(provider.requests) == 1


async def test_a_stream_without_an_end_has_no_finish_reason(provider: Provider) -> None:
    from agents.engine.crewai_adapter import CallEnded, listening

    heard: list[Any] = []
    with listening(heard.append):
        await _call(provider, "fault-truncated")

    assert isinstance(heard[-1], CallEnded)
    assert heard[-1].finish_reason is None


async def test_nobody_else_listens_on_the_bus(provider: Provider) -> None:
    from crewai.events.event_bus import crewai_event_bus

    await ask(persona(provider.base_url, "tokens-3"))

    listeners = [*crewai_event_bus._sync_handlers.values(), *crewai_event_bus._async_handlers]
    assert not any(listeners)


async def test_no_prompt_is_gathered_for_a_trace(provider: Provider) -> None:
    from crewai.events.listeners.tracing.trace_listener import TraceCollectionListener
    from crewai.events.listeners.tracing.utils import (
        should_auto_collect_first_time_traces,
        should_enable_tracing,
    )

    await ask(persona(provider.base_url, "tokens-3"))

    assert not should_enable_tracing()
    assert not should_auto_collect_first_time_traces()
    assert not TraceCollectionListener().batch_manager.event_buffer


async def test_crewai_keeps_its_files_in_a_folder_of_its_own(provider: Provider) -> None:
    from crewai_core.paths import db_storage_path

    assert db_storage_path() == os.environ["CREWAI_STORAGE_DIR"]
    assert "maru-crewai-" in db_storage_path()


async def test_what_crewai_logs_does_not_reach_our_log(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await ask(persona(provider.base_url, "fault-error-502"))

    assert not [record for record in caplog.records if "crewai" in record.pathname]


async def test_our_opening_is_word_for_word_that_of_crewais_agent(provider: Provider) -> None:
    from crewai.utilities.prompts import Prompts, SystemPromptResult

    from agents.engine import crewai_adapter

    agent = crewai_adapter.agent_for(PERSONA, await crewai_adapter.llm_for(PERSONA))
    own = Prompts(agent=agent, has_tools=False, use_system_prompt=True).task_execution()

    assert isinstance(own, SystemPromptResult)
    assert opening(PERSONA) == own.system


async def test_the_model_is_asked_as_crewais_agent_would_ask_it(provider: Provider) -> None:
    """Our call under the agent's system prompt, beside `Agent.kickoff` with a like LLM.

    Kickoff wraps the last message in a task of its own; all else must be alike, and what we put
    behind the agent's words is ours to say.
    """
    from crewai import LLM, Agent
    from crewai.utilities.types import LLMMessage

    spec = persona(provider.base_url, "tokens-3", temperature=0.5, max_output_tokens=70)
    turns = [said("one", author="Alice"), Turn("Dana", "persona", own=True, text="two")]
    await ask(spec, [*turns, said("three", author="Bob")])
    (ours,) = provider.requests
    provider.forget()

    llm = LLM(
        model=spec.model,
        provider="openai",
        base_url=spec.base_url,
        api_key=KEY,
        temperature=spec.temperature,
        max_tokens=spec.max_output_tokens,
        stream=True,
    )
    agent = Agent(role=spec.role, goal=spec.goal, backstory=spec.backstory, llm=llm)
    said_so_far = cast("list[LLMMessage]", ours.messages[1:])
    await asyncio.to_thread(agent.kickoff, said_so_far)
    (theirs, *_) = provider.requests

    def settings_of(body: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in body.items() if name != "messages"}

    assert settings_of(ours.body) == settings_of(theirs.body)
    assert ours.messages[0]["content"].startswith(theirs.messages[0]["content"])
    assert ours.messages[1:-1] == theirs.messages[1:-1]
    assert ours.messages[-1]["content"] in theirs.messages[-1]["content"]
