"""The behaviour of CrewAI, outside its public interface, that the engine depends on.

An upgrade of CrewAI that changes one of these would break routing, stopping or privacy.
"""

import asyncio
import logging
import os
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest

from agents.engine.prompt import agent_prompt
from agents.engine_types import Turn
from tests.agents.engine.answers import KEY, PERSONA, ask, persona, user_turn
from tests.provider import Provider


async def _call(provider: Provider, model: str) -> str:
    from agents.engine import crewai_adapter

    llm = crewai_adapter.build_llm(persona(provider.base_url, model))
    return str(await llm.acall([{"role": "user", "content": "Hello?"}]))


async def test_a_sink_gets_the_chunks_and_the_end_of_a_call_in_order(provider: Provider) -> None:
    from agents.engine.crewai_adapter import CallEnded, Chunk, stream_sink

    events: list[Chunk | CallEnded] = []

    with stream_sink(events.append):
        await _call(provider, "tokens-3")

    assert "".join(part.text for part in events[:-1] if isinstance(part, Chunk)) == "t0 t1 t2 "
    assert isinstance(events[-1], CallEnded)
    assert events[-1].finish_reason == "stop"
    assert events[-1].usage is not None


async def test_a_sink_gets_no_events_of_another_task(provider: Provider) -> None:
    from agents.engine.crewai_adapter import stream_sink

    events: list[object] = []
    other = asyncio.create_task(_call(provider, "tokens-20@200"))

    with stream_sink(events.append):
        await other

    assert events == []


async def test_a_sink_gets_no_events_after_its_context(provider: Provider) -> None:
    from agents.engine.crewai_adapter import stream_sink

    events: list[object] = []
    with stream_sink(events.append):
        pass

    await _call(provider, "tokens-3")

    assert events == []


async def test_a_base_exception_in_a_sink_ends_the_call_without_a_retry(
    provider: Provider,
) -> None:
    from agents.engine.crewai_adapter import stream_sink
    from agents.engine.failures import CallAborted
    from agents.engine_types import AnswerFailed

    def halt(_: object) -> None:
        raise CallAborted(AnswerFailed("internal"))

    with stream_sink(halt), pytest.raises(CallAborted):
        await _call(provider, "tokens-3")

    assert len(provider.requests) == 1


async def test_the_event_bus_has_no_other_listeners(provider: Provider) -> None:
    from crewai.events.event_bus import crewai_event_bus

    await ask(persona(provider.base_url, "tokens-3"))

    listeners = [*crewai_event_bus._sync_handlers.values(), *crewai_event_bus._async_handlers]
    assert not any(listeners)


async def test_crewai_records_no_prompt_for_a_trace(provider: Provider) -> None:
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


async def test_locks_of_crewai_leave_no_files(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crewai_core.lock_store import lock
    from crewai_core.user_data import update_user_data

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with lock("name", timeout=1):
        update_user_data({"trace_consent": False})
    await ask(persona(provider.base_url, "tokens-3"))

    assert not os.listdir(tmp_path)  # noqa: PTH208 - no blocking methods of Path in a coroutine


async def test_log_records_of_crewai_do_not_reach_our_log(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await ask(persona(provider.base_url, "fault-error-502"))

    assert not [record for record in caplog.records if "crewai" in record.pathname]


async def test_our_agent_prompt_equals_the_one_of_crewais_agent(provider: Provider) -> None:
    from crewai.utilities.prompts import Prompts, SystemPromptResult

    from agents.engine import crewai_adapter

    agent = crewai_adapter.build_agent(PERSONA, crewai_adapter.build_llm(PERSONA))
    theirs = Prompts(agent=agent, has_tools=False, use_system_prompt=True).task_execution()

    assert isinstance(theirs, SystemPromptResult)
    assert agent_prompt(PERSONA) == theirs.system


async def test_our_request_equals_the_request_of_crewais_agent(provider: Provider) -> None:
    """Compare our request with that of `Agent.kickoff` and an LLM with the same settings.

    Two differences are intended: kickoff wraps the last message in a task, and our system prompt
    goes on after the sentences of the agent.
    """
    from crewai import LLM, Agent
    from crewai.utilities.types import LLMMessage

    spec = persona(provider.base_url, "tokens-3", temperature=0.5, max_output_tokens=70)
    turns = [user_turn("one", author="Alice"), Turn("Dana", "persona", own=True, text="two")]
    await ask(spec, [*turns, user_turn("three", author="Bob")])
    (ours,) = provider.requests
    provider.clear()

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
    history = cast("list[LLMMessage]", ours.messages[1:])
    await asyncio.to_thread(agent.kickoff, history)
    (theirs, *_) = provider.requests

    def settings_of(body: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in body.items() if name != "messages"}

    assert settings_of(ours.body) == settings_of(theirs.body)
    assert ours.messages[0]["content"].startswith(theirs.messages[0]["content"])
    assert ours.messages[1:-1] == theirs.messages[1:-1]
    assert ours.messages[-1]["content"] in theirs.messages[-1]["content"]
